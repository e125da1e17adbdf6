"""Today's torch archives: read without torch, equal to what torch reads."""

from __future__ import annotations

import argparse
import collections
import datetime
import io
import pathlib
import subprocess
import sys
import textwrap
import types
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pe_inspect.errors import UnreadableCheckpoint
from pe_inspect.loading import load

DTYPES = [
    *("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8"),
    *("bool", "complex64", "complex128", "uint16", "uint32", "uint64"),
    *("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"),
]


@pytest.mark.parametrize("name", DTYPES)
def test_every_type_is_read_as_torch_reads_it(name, saved, equal):
    values = (torch.arange(60) % 7).reshape(3, 4, 5).to(getattr(torch, name))
    ckpt = load(saved({"pos_embed": values}))
    assert ckpt.dtype("pos_embed") == name
    assert ckpt.shape("pos_embed") == (3, 4, 5)
    assert equal(ckpt.tensor("pos_embed"), values)


def test_strides_offsets_and_shared_storages_are_honoured(saved, equal):
    base = torch.arange(840, dtype=torch.float32).reshape(7, 8, 15)
    views = {
        "whole": base,
        "transposed": base.transpose(0, 2),
        "slice": base[2:5, 1::3, 4:],
        "row": base[3, 4],
        "scalar": base[1, 2, 3],
        "expanded": base[0, :1, :3].expand(6, 3),
        "empty": base[:0],
        "diagonal": base[0].diagonal(),
    }
    ckpt = load(saved(views))
    assert all(equal(ckpt.tensor(key), value) for key, value in views.items())
    assert len({ckpt.tensors[key].storage[0] for key in views}) == 1


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_view_of_a_storage_equals_torchs(data, tmp_path_factory):
    base = torch.arange(24 * 25, dtype=torch.float32)
    shape = data.draw(st.lists(st.integers(0, 4), max_size=3))
    strides = data.draw(st.lists(st.integers(0, 40), min_size=len(shape), max_size=len(shape)))
    view = base.as_strided(shape, strides, data.draw(st.integers(0, 200)))
    path = tmp_path_factory.mktemp("views") / "view.pth"
    torch.save({"pos_embed": view}, path)
    assert np.array_equal(load(path).tensor("pos_embed"), view.numpy())


def test_parameters_modules_and_subclass_attributes_are_tensors(saved, equal):
    parameter = torch.nn.Parameter(torch.arange(12.0).reshape(3, 4))
    marked = torch.arange(5.0)
    marked.note = "an attribute of its own"
    ckpt = load(saved({"weight": parameter, "marked": marked}))
    assert equal(ckpt.tensor("weight"), parameter)
    assert equal(ckpt.tensor("marked"), marked)


def test_an_archive_of_a_big_endian_machine_is_read(archive, saved, equal):
    values = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    with zipfile.ZipFile(saved({"pos_embed": values})) as file:
        pickled = file.read("ckpt/data.pkl")
    swapped = values.numpy().astype(">f4").tobytes()
    ckpt = load(archive(pickled, {"0": swapped}, byteorder=b"big"))
    assert equal(ckpt.tensor("pos_embed"), values)


def test_a_recompressed_archive_is_read(saved, tmp_path, vit, equal):
    path = tmp_path / "deflated.pth"
    with (
        zipfile.ZipFile(saved(vit)) as stored,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as deflated,
    ):
        for name in stored.namelist():
            deflated.writestr(name, stored.read(name))
    ckpt = load(path)
    assert all(equal(ckpt.tensor(key), value) for key, value in vit.items())


HARMLESS = {
    "namespace": argparse.Namespace(lr=0.1, blocks=[1, 2]),
    "simple": types.SimpleNamespace(a=1),
    "ordered": collections.OrderedDict(a=1),
    "default": collections.defaultdict(list, {"a": [1]}),
    "counter": collections.Counter("aab"),
    "deque": collections.deque([1, 2], maxlen=3),
    "posix": pathlib.PurePosixPath("/data/imagenet"),
    "windows": pathlib.PureWindowsPath("C:/data"),
    "set": {1, 2},
    "frozenset": frozenset({"a"}),
    "slice": slice(1, 2),
    "range": range(3),
    "complex": 1 + 2j,
    "bytes": b"\x00\xff",
    "bytearray": bytearray(b"ab"),
    "datetime": datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
    "timedelta": datetime.timedelta(days=2),
    "np_scalar": np.float64(0.25),
    "np_int": np.int64(3),
    "np_bool": np.bool_(True),
    "np_dtype": np.dtype("float32"),
    "np_type": np.float32,
    "np_array": np.arange(6.0).reshape(2, 3),
    "np_fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "np_text": np.array(["a", "b"]),
    "np_object": np.array([None, 1], dtype=object),
    "torch_dtype": torch.bfloat16,
    "torch_size": torch.Size([3, 4]),
    "torch_device": torch.device("cuda", 1),
    "builtin_type": int,
}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("kind", HARMLESS)
def test_harmless_globals_are_read_beside_the_weights(kind, protocol, saved, vit, equal):
    value = argparse.Namespace(value=HARMLESS[kind], after="still here")
    path = saved({"model": vit, "args": value}, pickle_protocol=protocol)
    ckpt = load(path)
    assert equal(ckpt.tensor("pos_embed"), vit["pos_embed"])
    assert ckpt.metadata["args"]["after"] == "still here"


def test_what_a_namespace_says_becomes_plain_values(saved, vit):
    inner = argparse.Namespace(size=np.int64(3), where=pathlib.PurePosixPath("/a/b"))
    args = argparse.Namespace(model="deit_t", inner=inner, pair=(1, 2.5), lr=np.float32(0.5))
    ckpt = load(saved({"model": vit, "args": args, "epoch": 3}))
    assert ckpt.metadata["args"] == {
        "model": "deit_t",
        "inner": {"size": 3, "where": "/a/b"},
        "pair": [1, 2.5],
        "lr": 0.5,
    }
    assert ckpt.metadata["epoch"] == 3


def test_numpy_arrays_in_the_pickle_are_tensors(saved):
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    ckpt = load(saved({"pos_embed": values, "t": np.asfortranarray(values)}))
    assert np.array_equal(ckpt.tensor("pos_embed"), values)
    assert np.array_equal(ckpt.tensor("t"), values)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: torch.eye(3).to_sparse(), "a sparse layout"),
        (lambda: torch.eye(3).to_sparse_csr(), "a sparse layout"),
        (lambda: torch.quantize_per_tensor(torch.eye(3), 0.1, 0, torch.qint8), "quantized numbers"),
        (lambda: torch.empty(3, 3, device="meta"), "no numbers"),
    ],
)
def test_a_tensor_that_cannot_be_read_refuses_alone(make, why, saved, equal):
    ckpt = load(saved({"odd": make(), "pos_embed": torch.ones(3, 4)}))
    assert ckpt.shape("odd") == (3, 3)
    assert equal(ckpt.tensor("pos_embed"), torch.ones(3, 4))
    with pytest.raises(UnreadableCheckpoint, match=why):
        ckpt.tensor("odd")


def test_a_shape_that_needs_more_than_its_storage_is_refused(archive, saved):
    with zipfile.ZipFile(saved({"pos_embed": torch.ones(3, 4)})) as file:
        pickled = file.read("ckpt/data.pkl")
    with pytest.raises(UnreadableCheckpoint, match=r"needs 48 bytes; its storage holds 40"):
        load(archive(pickled, {"0": bytes(40)}))
    with pytest.raises(UnreadableCheckpoint, match="no such member"):
        load(archive(pickled))


def test_a_tensor_that_repeats_a_number_forever_is_refused_when_read(saved):
    ckpt = load(saved({"pos_embed": torch.zeros(1).expand(1 << 30)}))
    with pytest.raises(UnreadableCheckpoint, match="repeats 1 stored elements"):
        ckpt.tensor("pos_embed")


@pytest.mark.subprocess
@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_reading_needs_no_torch(is_zip, saved, vit):
    path = saved({"model": vit}, _use_new_zipfile_serialization=is_zip)
    script = f"""
        import sys
        from pe_inspect.loading import load
        ckpt = load({str(path)!r})
        assert not {{"torch", "timm", "pandas", "safetensors"}} & set(sys.modules)
        print(ckpt.tensor("pos_embed").shape)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "(1, 13, 8)\n"


def test_only_the_bytes_of_the_tensor_are_read(saved, vit, monkeypatch):
    big = torch.zeros(1_000_000)
    path = saved({**vit, "big": big})
    ckpt, counts = load(path), []
    real = io.BufferedReader.readinto

    class Counting(io.BufferedReader):
        def readinto(self, buffer):
            counts.append(len(buffer))
            return real(self, buffer)

    monkeypatch.setattr(
        pathlib.Path, "open", lambda self, mode="r": Counting(io.FileIO(self, mode.strip("b")))
    )
    ckpt.tensor("pos_embed")
    assert counts == [13 * 8 * 4]
