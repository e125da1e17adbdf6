"""`.safetensors`: equal to what the library reads, and no word of a header believed unchecked."""

from __future__ import annotations

import json
import pickle
import struct

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from pe_inspect.errors import UnreadableCheckpoint
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding
from pe_inspect.loading import load
from pe_inspect.loading.byte_source import LocalFile
from pe_inspect.loading.formats import SourceFile, formats

DTYPES = [
    *("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8"),
    *("bool", "complex64", "uint16", "uint32", "uint64"),
    *("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"),
]


def _written(path, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def _entry(dtype="F32", shape=(3,), offsets=(0, 12)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.mark.parametrize("name", DTYPES)
def test_every_type_is_read_exactly(name, tmp_path, equal):
    values = (torch.arange(60) % 7).reshape(3, 4, 5).to(getattr(torch, name))
    save_file({"pos_embed": values}, tmp_path / "x.safetensors")
    ckpt = load(tmp_path / "x.safetensors")
    assert ckpt.format == "safetensors"
    assert ckpt.dtype("pos_embed") == name
    assert equal(ckpt.tensor("pos_embed"), values)


def test_many_tensors_and_metadata_come_as_the_library_reads_them(vit, tmp_path, equal):
    path = tmp_path / "vit.safetensors"
    save_file(vit, path, metadata={"format": "pt", "author": "someone"})
    ckpt = load(path)
    with safe_open(str(path), "pt") as file:
        assert set(ckpt.keys) == set(file.keys())
        assert all(equal(ckpt.tensor(key), file.get_tensor(key)) for key in ckpt.keys)
    assert ckpt.metadata["author"] == "someone"
    assert ckpt.num_parameters == sum(value.numel() for value in vit.values())


def test_an_empty_and_a_scalar_tensor_are_read(tmp_path):
    save_file({"none": torch.ones(0, 3), "one": torch.tensor(2.5)}, tmp_path / "x.safetensors")
    ckpt = load(tmp_path / "x.safetensors")
    assert ckpt.tensor("none").shape == (0, 3)
    assert ckpt.tensor("one") == 2.5


def test_a_saved_extraction_is_known_by_its_header(tmp_path):
    table = LayerPE("input", np.arange(24, dtype=np.float32).reshape(12, 2), (3, 4))
    pe = PositionEmbedding("learned_absolute", "vectors", "input", (table,))
    ckpt = load(pe.save(tmp_path / "t.pe.safetensors"))
    assert ckpt.format == "pe"
    (name,) = ckpt.keys
    assert np.array_equal(ckpt.tensor(name), table.values)


LIES = {
    "overlap": ({"a": _entry(), "b": _entry(offsets=(8, 20))}, 20, "b overlaps the tensor before"),
    "hole": ({"a": _entry(), "b": _entry(offsets=(16, 28))}, 28, "b leaves a hole before it"),
    "beyond the end": ({"a": _entry()}, 8, "a ends at byte 12 of 8"),
    "backwards": ({"a": _entry(offsets=(12, 0))}, 12, "a ends at byte 0 of 12"),
    "too few bytes": ({"a": _entry(shape=(4,))}, 12, r"a is F32 of shape \[4\], which is not 12"),
    "negative shape": ({"a": _entry(shape=(-3,))}, 12, "makes no sense for 'a'"),
    "fractional shape": ({"a": _entry(shape=(3.0,))}, 12, "makes no sense for 'a'"),
    "true shape": ({"a": _entry(shape=(True, 3))}, 12, "makes no sense for 'a'"),
    "huge shape": ({"a": _entry(shape=(0, 2**40), offsets=(0, 0))}, 0, "impossible shape"),
    "many axes": ({"a": _entry(shape=[1] * 70 + [3])}, 12, "makes no sense"),
    "no dtype": ({"a": {"shape": [3], "data_offsets": [0, 12]}}, 12, "makes no sense for 'a'"),
    "no entry": ({"a": 3}, 12, "makes no sense for 'a'"),
    "three offsets": ({"a": _entry(offsets=(0, 1, 12))}, 12, "makes no sense for 'a'"),
    "bytes after the last": ({"a": _entry()}, 15, "holds 3 bytes after the last tensor"),
    "twice": (
        b'{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},'
        b'"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}',
        0,
        "'a' is named twice",
    ),
    "no JSON": (b"{'a': 1}", 0, "header that is no JSON"),
    "deep": (b"{" + b'"a":{' * 100_000, 0, "header that is no JSON"),
    "no text": (b'{"\xff":1}', 0, "header that is no JSON"),
    "odd metadata": ({"__metadata__": [1]}, 0, "__metadata__ that is no dictionary"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_header_that_lies_is_caught(lie, tmp_path):
    header, nbytes, said = LIES[lie]
    path = _written(tmp_path / "x.safetensors", header, bytes(nbytes))
    with pytest.raises(UnreadableCheckpoint, match=said) as error:
        load(path)
    assert str(path) in str(error.value)
    assert "Copy or download it again" in str(error.value)


@pytest.mark.parametrize("length", [2**60, 2**63, 2**64 - 1, 5000])
def test_a_header_length_beyond_the_file_is_caught(length, tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", length) + b'{"a": 1}')
    with pytest.raises(UnreadableCheckpoint, match=f"claims {length} bytes, the file has 16"):
        load(path)


def test_a_truncated_file_is_caught_at_every_length(vit, tmp_path):
    path = tmp_path / "x.safetensors"
    save_file(vit, path)
    whole = path.read_bytes()
    for length in [*range(0, 700, 23), len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(UnreadableCheckpoint):
            load(path)


def test_a_number_type_of_the_future_is_listed_and_refuses_alone(tmp_path):
    header = {"new": _entry("F6_E3M2", (16,), (0, 12)), "pos_embed": _entry(offsets=(12, 24))}
    ckpt = load(_written(tmp_path / "x.safetensors", header, bytes(24)))
    assert ckpt.shape("new") == (16,)
    assert np.array_equal(ckpt.tensor("pos_embed"), np.zeros(3))
    with pytest.raises(UnreadableCheckpoint, match="numbers of type F6_E3M2"):
        ckpt.tensor("new")


def test_every_length_of_a_header_is_read(tmp_path):
    """That of 640, 896, … bytes begins as a pickle does."""
    text = json.dumps({"pos_embed": _entry()}).encode()
    for length in [*range(128, 2048, 32), 640 + 2**16, 1408 + 2**16]:
        path = _written(tmp_path / "x.safetensors", text.ljust(length), bytes(12))
        with safe_open(str(path), "np") as file:
            assert names_in(file) == ["pos_embed"]
        assert load(path).format == "safetensors", length


def test_a_pickle_with_a_brace_in_its_place_is_no_safetensors(tmp_path):
    """Python 2 wrote a short key so that its second letter is the ninth byte of the file."""
    pickled = pickle.dumps({"a{": np.ones((3, 4), np.float32)}, 2)
    path = tmp_path / "x.pkl"
    path.write_bytes(pickled.replace(b"X\x02\0\0\0a{", b"U\x02a{"))
    assert path.read_bytes()[8:9] == b"{"
    assert load(path).shape("a{") == (3, 4)
    assert not formats["safetensors"].recognises(SourceFile(LocalFile(path)))


def names_in(file):
    return list(file.keys())


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_what_the_library_refuses_is_refused_and_never_with_a_traceback(
    position, byte, tmp_path_factory
):
    folder = tmp_path_factory.mktemp("fuzz", numbered=True)
    path = folder / "x.safetensors"
    save_file({"pos_embed": torch.ones(3, 4), "norm.weight": torch.ones(4)}, path)
    content = bytearray(path.read_bytes())
    content[position % len(content)] = byte
    path.write_bytes(content)
    try:
        ckpt = load(path)
        values = {key: ckpt.tensor(key) for key in ckpt.keys}
    except UnreadableCheckpoint:
        return
    try:
        with safe_open(str(path), "np") as file:
            expected = {key: file.get_tensor(key) for key in names_in(file)}
    except (SafetensorError, TypeError):
        return
    assert all(
        np.array_equal(values[ckpt_key], expected[ckpt.stored_key(ckpt_key)], equal_nan=True)
        for ckpt_key in values
    )
