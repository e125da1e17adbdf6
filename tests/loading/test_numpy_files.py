"""`.npz` and `.npy`: equal to what numpy reads, headers only until a tensor is asked for."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
import torch

from pe_inspect.errors import UnreadableCheckpoint
from pe_inspect.loading import load

TYPES = ["f2", "f4", "f8", ">f4", ">i2", "i8", "u1", "?", "c8"]


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", TYPES)
def test_every_type_is_read_as_numpy_reads_it(dtype, compressed, tmp_path, npz_bytes):
    values = (np.arange(60) % 7).reshape(3, 4, 5).astype(dtype)
    path = tmp_path / "x.npz"
    path.write_bytes(npz_bytes(compressed, a=values, f=np.asfortranarray(values)))
    ckpt = load(path)
    assert ckpt.format == "npz"
    for key in ("a", "f"):
        read = ckpt.tensor(key)
        assert read.dtype.isnative
        assert read.shape == (3, 4, 5)
        assert np.array_equal(read, values)


def test_bfloat16_arrives_as_two_opaque_bytes_and_is_widened(tmp_path, npz_bytes, equal):
    values = torch.randn(3, 4).to(torch.bfloat16)
    opaque = values.view(torch.int16).numpy().view("V2")
    path = tmp_path / "x.npz"
    path.write_bytes(npz_bytes(pos_embedding=opaque))
    ckpt = load(path)
    assert ckpt.dtype("pos_embedding") == "bfloat16"
    assert equal(ckpt.tensor("pos_embedding"), values)
    assert "1 arrays of opaque 2-byte values (|V2) are read as bfloat16" in ckpt.notes


def test_jax_archives_keep_their_slashes_and_lose_the_optimizer(tmp_path, npz_bytes):
    table = np.arange(26, dtype=np.float32).reshape(1, 13, 2)
    name = "Transformer/posembed_input/pos_embedding"
    plain, nested = tmp_path / "plain.npz", tmp_path / "nested.npz"
    plain.write_bytes(npz_bytes(**{name: table}))
    nested.write_bytes(npz_bytes(**{f"params/{name}": table, f"opt/0/mu/{name}": table * 2}))
    for path in (plain, nested):
        ckpt = load(path)
        assert ckpt.keys == (name,)
        assert np.array_equal(ckpt.tensor(name), table)
    assert load(nested).stored_key(name) == f"params/{name}"


def test_a_lone_array_is_taken_for_the_table(tmp_path):
    values = np.arange(24, dtype=np.float16).reshape(12, 2)
    np.save(tmp_path / "table.npy", values)
    ckpt = load(tmp_path / "table.npy")
    assert ckpt.format == "npy"
    assert np.array_equal(ckpt.tensor("pos_embed"), values.astype(np.float32))
    assert ckpt.notes == ("a .npy file holds one array without a name; it is taken for pos_embed",)


def test_text_in_an_archive_is_listed_and_refuses_to_be_numbers(tmp_path, npz_bytes):
    path = tmp_path / "x.npz"
    path.write_bytes(npz_bytes(words=np.array(["a", "bc"]), pos_embed=np.ones((3, 4))))
    ckpt = load(path)
    assert ckpt.shape("pos_embed") == (3, 4)
    with pytest.raises(UnreadableCheckpoint, match="values of type <U2"):
        ckpt.tensor("words")


@pytest.mark.parametrize("suffix", ["npz", "npy"])
def test_pickled_objects_are_refused(suffix, tmp_path, npz_bytes):
    path, objects = tmp_path / f"x.{suffix}", np.array([{"a": 1}], dtype=object)
    if suffix == "npz":
        path.write_bytes(npz_bytes(a=objects))
    else:
        np.save(path, objects, allow_pickle=True)
    with pytest.raises(UnreadableCheckpoint, match="holds pickled Python objects, which could"):
        load(path)


def test_a_truncated_array_is_caught_at_every_length(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.ones((3, 4), dtype=np.float32))
    whole = path.read_bytes()
    for length in range(0, len(whole), 5):
        path.write_bytes(whole[:length])
        with pytest.raises(UnreadableCheckpoint):
            load(path)


def test_a_truncated_archive_is_caught_at_every_length(tmp_path, npz_bytes):
    path, whole = tmp_path / "x.npz", npz_bytes(a=np.ones((3, 4)), b=np.ones(5))
    for length in range(0, len(whole), 17):
        path.write_bytes(whole[:length])
        with pytest.raises(UnreadableCheckpoint):
            load(path)


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4)}",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (-3,)}",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (2**70, 0)}",
        b"__import__('os').system('touch canary')",
        b"(" * 5000,
    ],
)
def test_a_header_that_lies_is_one_plain_line(header, tmp_path):
    path = tmp_path / "x.npy"
    text = header.ljust(118) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(8))
    with pytest.raises(UnreadableCheckpoint, match="Copy or download it again"):
        load(path)


def test_an_archive_that_lies_about_a_member_is_one_plain_line(tmp_path, npz_bytes):
    path = tmp_path / "x.npz"
    content = npz_bytes(a=np.arange(2000.0))
    path.write_bytes(content.replace(b"PK\x03\x04", b"PK\x03\x05", 1))
    with pytest.raises(UnreadableCheckpoint):
        load(path)


def test_a_member_that_claims_to_unpack_to_terabytes_is_caught(tmp_path, npz_bytes):
    path = tmp_path / "x.npz"
    content = bytearray(npz_bytes(True, a=np.zeros(20)))
    directory = content.index(b"PK\x01\x02")
    content[directory + 24 : directory + 28] = (2**31).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(UnreadableCheckpoint, match=r"a\.npy claims to unpack to 2147483648 bytes"):
        load(path)


def test_an_encrypted_member_is_named(tmp_path):
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.npy", b"\x93NUMPY")
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(UnreadableCheckpoint, match="encrypted"):
        load(path)
