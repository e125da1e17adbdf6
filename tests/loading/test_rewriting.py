"""A copy of a file with tensors replaced: the rest is the same to the last bit, read by torch."""

from __future__ import annotations

import argparse
import io
import re
import struct
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from pe_inspect.errors import UnreadableCheckpoint, UsageError
from pe_inspect.loading import load
from pe_inspect.loading.byte_source import LocalFile
from pe_inspect.loading.dtypes import decode
from pe_inspect.loading.encoding import encode
from pe_inspect.loading.formats import SourceFile, formats
from pe_inspect.loading.rewriting import TensorEdit, _zip_writer, rewriters, written_as
from pe_inspect.loading.rewriting._pickle_walk import walk

NEW = np.arange(21 * 8, dtype=np.float32).reshape(1, 21, 8) / 7
SHAPES = {"zip": {}, "legacy": {"_use_new_zipfile_serialization": False}}


@pytest.fixture
def training():
    """A training script's file: views of one storage, tied weights, an average, arguments."""
    rng = torch.Generator().manual_seed(3)
    whole = torch.randn(10, 4, generator=rng)
    state = OrderedDict(
        pos_embed=torch.randn(1, 13, 8, generator=rng).half(),
        head=torch.randn(3, 5, generator=rng).bfloat16(),
        part=whole[2:5],
        whole=whole,
        steps=torch.tensor(3),
    )
    state["tied"] = state["head"]
    return {
        "model": state,
        "average": {"pos_embed": torch.nn.Parameter(torch.randn(1, 13, 8, generator=rng))},
        "args": argparse.Namespace(input_size=224, lr=1e-3),
        "optimizer": {"state": {0: {"exp_avg": torch.randn(1, 13, 8, generator=rng)}}},
        "epoch": 299,
    }


def rewritten(source, target, edits):
    place = LocalFile(source)
    _, rewrite = written_as(place)
    with target.open("wb") as out:
        rewrite(SourceFile(place), edits, out)
    return target


def same_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(
        a.contiguous().view(torch.uint8) if a.ndim else a, b.contiguous().view(torch.uint8)
        if b.ndim else b,
    )  # fmt: skip


@pytest.mark.parametrize("form", SHAPES)
@pytest.mark.parametrize("key", ["pos_embed", "part", "whole", "head", "steps"])
def test_torch_reads_the_new_tensor_and_all_others_as_they_were(form, key, training, tmp_path):
    source = tmp_path / "a.pth"
    torch.save(training, source, **SHAPES[form])
    values = NEW.astype(int) if key == "steps" else NEW
    made = rewritten(source, tmp_path / "b.pth", [TensorEdit(load(source).tensors[key], values)])
    found = torch.load(made, weights_only=False)
    changed = {"head", "tied"} if key == "head" else {key}
    for name, old in training["model"].items():
        wanted = torch.tensor(values).to(old.dtype) if name in changed else old
        assert same_bits(found["model"][name], wanted), name
    assert same_bits(found["average"]["pos_embed"], training["average"]["pos_embed"].data)
    assert isinstance(found["average"]["pos_embed"], torch.nn.Parameter)
    momentum = training["optimizer"]["state"][0]["exp_avg"]
    assert same_bits(found["optimizer"]["state"][0]["exp_avg"], momentum)
    assert vars(found["args"]) == vars(training["args"])
    assert found["epoch"] == 299


def test_the_strict_reader_and_memory_mapping_take_the_new_archive(training, tmp_path):
    source = tmp_path / "a.pth"
    del training["args"]
    torch.save(training, source)
    made = rewritten(
        source, tmp_path / "b.pth", [TensorEdit(load(source).tensors["pos_embed"], NEW)]
    )
    for how in ({"weights_only": True}, {"weights_only": True, "mmap": True}):
        assert torch.load(made, **how)["model"]["pos_embed"].shape == (1, 21, 8)
    with zipfile.ZipFile(made) as archive, made.open("rb") as file:
        assert archive.testzip() is None
        for info in archive.infolist():
            file.seek(info.header_offset + 26)
            lengths = np.frombuffer(file.read(4), "<u2")
            assert (info.header_offset + 30 + int(lengths.sum())) % 64 == 0
        assert archive.namelist() == zipfile.ZipFile(source).namelist()


def test_a_tensor_that_shares_its_storage_gets_one_of_its_own(training, tmp_path):
    source = tmp_path / "a.pth"
    torch.save(training, source)
    made = rewritten(source, tmp_path / "b.pth", [TensorEdit(load(source).tensors["part"], NEW)])
    found = torch.load(made, weights_only=False)["model"]
    assert found["part"].untyped_storage().nbytes() == NEW.nbytes
    assert torch.equal(found["whole"], training["model"]["whole"])


@pytest.mark.parametrize("form", SHAPES)
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("kind", ["same", "detached", "parameters"])
def test_tensors_that_are_one_stay_one(form, protocol, kind, training, tmp_path):
    table = training["average"]["pos_embed"].data
    pair = {
        "same": (table, table), "detached": (table.detach(), table.detach()),
        "parameters": (torch.nn.Parameter(table), torch.nn.Parameter(table)),
    }[kind]  # fmt: skip
    state = {"a": pair[0], "whole": training["model"]["whole"], "b": pair[1]}
    source = tmp_path / "a.pth"
    torch.save(state, source, pickle_protocol=protocol, **SHAPES[form])
    tensors = load(source).tensors
    edits = [TensorEdit(tensors[name], NEW.copy()) for name in "ab"]
    found = torch.load(rewritten(source, tmp_path / "b.pth", edits), weights_only=False)
    assert found["a"].data_ptr() == found["b"].data_ptr()
    assert all(same_bits(found[name].data, torch.tensor(NEW)) for name in "ab")
    assert same_bits(found["whole"], state["whole"])


def test_tensors_that_are_one_cannot_become_two(tmp_path):
    source, table = tmp_path / "a.pth", torch.ones(1, 13, 8)
    torch.save({"a": table, "b": table.detach()}, source)
    tensors = load(source).tensors
    edits = [TensorEdit(tensors["a"], NEW), TensorEdit(tensors["b"], NEW + 1)]
    with pytest.raises(UsageError, match="a and b are one tensor in the file, and would become"):
        rewritten(source, tmp_path / "b.pth", edits)


@pytest.mark.parametrize("protocol", [2, 4])
def test_framed_pickles_are_rewritten_too(protocol, training, tmp_path):
    source = tmp_path / "a.pth"
    torch.save(training["model"], source, pickle_protocol=protocol)
    made = rewritten(
        source, tmp_path / "b.pth", [TensorEdit(load(source).tensors["pos_embed"], NEW)]
    )
    assert torch.load(made, weights_only=False)["pos_embed"].shape == (1, 21, 8)


def test_safetensors_keeps_names_order_metadata_and_bits(training, tmp_path):
    state = {k: v.clone() for k, v in training["model"].items() if k != "tied"}
    source = tmp_path / "a.safetensors"
    save_file(state, source, metadata={"format": "pt", "note": "é"})
    checkpoint = load(source)
    made = rewritten(
        source, tmp_path / "b.safetensors",
        [TensorEdit(checkpoint.tensors["pos_embed"], NEW),
         TensorEdit(checkpoint.tensors["part"], NEW[0, :2])],
    )  # fmt: skip
    found = load_file(made)
    assert set(found) == set(state)
    for name, old in state.items():
        wanted = {"pos_embed": torch.tensor(NEW).half(), "part": torch.tensor(NEW[0, :2])}
        assert same_bits(found[name], wanted.get(name, old)), name
    with safe_open(made, "np") as file:
        assert file.metadata() == {"format": "pt", "note": "é"}
    assert load(made).keys == checkpoint.keys


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_keeps_members_and_their_packing(save, tmp_path):
    source, bits = tmp_path / "a.npz", np.arange(26, dtype="<u2")
    arrays = {
        "Transformer/posembed_input/pos_embedding": np.ones((1, 13, 8), np.float32),
        "half": bits.view("|V2"), "head/kernel": np.asfortranarray(np.eye(3, 4)),
    }  # fmt: skip
    save(source, **arrays)
    checkpoint = load(source)
    table = checkpoint.tensors["Transformer/posembed_input/pos_embedding"]
    half = checkpoint.tensors["half"]
    made = rewritten(
        source, tmp_path / "b.npz", [TensorEdit(table, NEW), TensorEdit(half, NEW[0, 0])]
    )
    with np.load(made) as found:
        np.testing.assert_array_equal(found[table.key], NEW)
        np.testing.assert_array_equal(found["head/kernel"], arrays["head/kernel"])
        assert found["half"].dtype == np.dtype("|V2")
    kinds = [[i.compress_type for i in zipfile.ZipFile(p).infolist()] for p in (source, made)]
    assert kinds[0] == kinds[1]


def test_npy_is_written_in_its_own_type(tmp_path):
    source = tmp_path / "a.npy"
    np.save(source, np.ones((13, 8), np.float16))
    made = rewritten(
        source, tmp_path / "b.npy", [TensorEdit(load(source).tensors["pos_embed"], NEW[0])]
    )
    np.testing.assert_array_equal(np.load(made), NEW[0].astype(np.float16))


def test_every_format_of_one_file_has_its_rewriter_or_says_what_to_do():
    refused = {name for name, each in formats.items() if each.way}
    assert set(rewriters) | refused == set(formats) - {"huggingface", "pickle"}
    assert not refused & set(rewriters)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float8_e4m3fn", "float8_e5m2"])
@given(values=st.lists(st.floats(-400, 400, width=32), min_size=1, max_size=20))
def test_narrow_floats_are_rounded_as_torch_rounds(dtype, values):
    wanted = torch.tensor(values, dtype=torch.float32).to(getattr(torch, dtype))
    found = decode(encode(np.array(values, np.float32), dtype), dtype)
    np.testing.assert_array_equal(found, wanted.float().numpy())


def test_nan_stays_nan_and_infinity_infinite():
    values = np.array([np.nan, np.inf, -np.inf, 1.0], np.float32)
    for dtype in ("bfloat16", "float16", "float32"):
        np.testing.assert_array_equal(decode(encode(values, dtype), dtype), values)


def test_a_value_beyond_the_stored_type_is_refused():
    said = "1 new values, up to 1e+06, are beyond what float16 (16 bits) holds."
    with pytest.raises(UsageError, match=re.escape(said)):
        encode(np.array([1.0, 1e6], np.float32), "float16")


def test_a_storage_reference_that_two_tensors_share_is_refused(tmp_path):
    source = tmp_path / "a.pth"
    torch.save({"pos_embed": torch.ones(1, 13, 8)}, source)
    tensor = load(source).tensors["pos_embed"]
    odd = TensorEdit(
        type(tensor)("pos_embed", (1, 12, 8), "float32", tensor.read, tensor.storage), NEW
    )
    with pytest.raises(UsageError, match="its pickle does not describe it as"):
        rewritten(source, tmp_path / "b.pth", [odd])


def test_a_damaged_pickle_is_one_line():
    with pytest.raises(UnreadableCheckpoint, match="Its pickle is damaged"):
        walk(b"\x80\x02\x87.")


def test_an_archive_beyond_4_gib_has_zip64_records(tmp_path, monkeypatch):
    monkeypatch.setattr(_zip_writer, "LARGE", 100)
    out = io.BytesIO()
    writer = _zip_writer.ZipWriter(out, alignment=64)
    for name in ("a", "b"):
        writer.add(zipfile.ZipInfo(name), name.encode() * 300)
    writer.close()
    with zipfile.ZipFile(out) as archive:
        directory = archive.start_dir
        assert archive.namelist() == ["a", "b"]
    assert out.getvalue()[directory:].count(struct.pack("<HH", 1, 24)) == 1  # sizes and offset
    assert b"PK\x06\x06" in out.getvalue()
    assert b"PK\x06\x07" in out.getvalue()
