"""Files that are no checkpoints: one plain line each, never a traceback, exit code 3."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pe_inspect.errors import PEInspectError, UnreadableCheckpoint
from pe_inspect.loading import load


def _picture(kind):
    buffer = io.BytesIO()
    Image.new("RGB", (5, 7)).save(buffer, kind)
    return buffer.getvalue()


def _zip(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def _tar():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        file.addfile(tarfile.TarInfo("weights"))
    return buffer.getvalue()


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
OTHERS = {
    "empty": (b"", "is empty"),
    "lfs": (LFS, "Git LFS pointer.*run `git lfs pull`"),
    "html": (b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "is a web page.*log-in"),
    "html lower": (b"<html>", "is a web page"),
    "json": (json.dumps({"model_type": "vit"}).encode(), "is JSON, not weights"),
    "json that looks like a header": (b'{"abc": {"x": 1}}', "is JSON, not weights"),
    "json list": (b"[1, 2, 3]", "is JSON, not weights"),
    "gzip": (gzip.compress(b"weights"), "is a gzip archive.*unpack"),
    "tar": (_tar(), "is a tar archive.*unpack"),
    "xz": (b"\xfd7zXZ\x00\x00", "is a compressed archive"),
    "jpeg": (_picture("JPEG"), "is a JPEG picture"),
    "png": (_picture("PNG"), "is a picture"),
    "pdf": (b"%PDF-1.4\n", "is a PDF document"),
    "hdf5": (b"\x89HDF\r\n\x1a\n", "is no HDF5 file, truncated or damaged"),
    "msgpack": (b"\x81\xa6params\x81\xa5Dense", "is truncated, or no file of Flax"),
    "zip": (_zip(**{"readme.txt": b"hello"}), "zip archive without a PyTorch pickle"),
    "empty zip": (_zip(), "zip archive without a PyTorch pickle"),
    "noise": (bytes(range(200, 256)), "is of no kind that pe-inspect knows"),
    "text": (b"hello world, this is no checkpoint", "is of no kind that pe-inspect knows"),
}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".npz"])
@pytest.mark.parametrize("kind", OTHERS)
def test_a_file_of_another_kind_is_named_whatever_it_is_called(kind, suffix, tmp_path):
    content, said = OTHERS[kind]
    path = tmp_path / f"ckpt{suffix}"
    path.write_bytes(content)
    if kind in ("noise", "text") and suffix == ".safetensors":
        said = "is no safetensors file, or its start is damaged"
    with pytest.raises(UnreadableCheckpoint, match=said) as error:
        load(path)
    assert error.value.exit_code == 3
    assert str(path) in str(error.value)
    is_of_a_format = kind in ("hdf5", "msgpack")
    assert is_of_a_format or "Expected a PyTorch file" in str(error.value)


@pytest.mark.parametrize("name", ["ckpt.index", "ckpt.data-00000-of-00001"])
def test_tensorflows_files_are_named(name, tmp_path):
    (tmp_path / name).write_bytes(b"\x01\x02\x03 some table")
    with pytest.raises(UnreadableCheckpoint, match="TensorFlow checkpoint"):
        load(tmp_path / name)


def test_a_renamed_file_is_read_by_its_content_with_a_note(saved, vit, tmp_path, equal):
    from safetensors.torch import save_file

    save_file(vit, tmp_path / "a.safetensors")
    np.savez(tmp_path / "a.npz", **{key: value.numpy() for key, value in vit.items()})
    renamed = {
        saved(vit, "was_pth.safetensors"): "is pytorch by content, not safetensors",
        (tmp_path / "a.safetensors").rename(tmp_path / "b.pth"): "is safetensors by content, not",
        (tmp_path / "a.npz").rename(tmp_path / "c.bin"): "is npz by content, not pytorch",
    }
    for path, said in renamed.items():
        ckpt = load(path)
        assert equal(ckpt.tensor("pos_embed"), vit["pos_embed"])
        assert said in ckpt.notes[0]


def test_a_usual_name_is_worth_no_note(saved, vit):
    for name in ("a.pth", "a.pt", "a.bin", "a.ckpt", "a.pth.tar", "a"):
        assert load(saved(vit, name)).notes == ()


def test_a_missing_file_is_answered_with_near_names(saved, vit, tmp_path):
    saved(vit, "deit_t_lape.pth")
    with pytest.raises(
        UnreadableCheckpoint, match=r"No file or folder at .*Did you mean 'deit_t_l"
    ):
        load(tmp_path / "deit_t_lpae.pth")
    with pytest.raises(UnreadableCheckpoint, match=r"No file or folder at .* Check the path\."):
        load(tmp_path / "nowhere" / "x.pth")


@pytest.mark.parametrize("source", ["", "a\x00b", "x" * 5000])
def test_what_can_be_no_path_is_one_line(source):
    with pytest.raises(UnreadableCheckpoint):
        load(source)


def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.pth")
    with pytest.raises(UnreadableCheckpoint, match="neither a file nor a folder"):
        load(tmp_path / "pipe.pth")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_one_line(saved, vit):
    path = saved(vit)
    path.chmod(0)
    with pytest.raises(UnreadableCheckpoint, match="Permission denied"):
        load(path)


def test_a_truncated_archive_is_caught_at_every_length(saved, vit, tmp_path):
    whole = saved({"model": vit}).read_bytes()
    path = tmp_path / "cut.pth"
    for length in [*range(0, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(UnreadableCheckpoint):
            load(path)


def test_a_file_that_shrinks_after_it_was_opened_is_one_line(saved, vit):
    path = saved(vit)
    ckpt = load(path)
    path.write_bytes(b"")
    with pytest.raises(UnreadableCheckpoint, match=r"changed after it was opened\."):
        ckpt.tensor("head.weight")
    path.unlink()
    with pytest.raises(UnreadableCheckpoint, match="cannot be read"):
        ckpt.tensor("head.weight")


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(st.tuples(st.integers(0, 50_000), st.integers(0, 255)), min_size=1, max_size=4),
    legacy=st.booleans(),
)
def test_a_damaged_file_does_not_raise_but_to_refuse_it(edits, legacy, tmp_path_factory):
    path = tmp_path_factory.mktemp("fuzz", numbered=True) / "x.pth"
    contents = {"model": {"pos_embed": torch.ones(3, 4), "n": torch.arange(3)}, "lr": 0.5}
    torch.save(contents, path, _use_new_zipfile_serialization=not legacy)
    damaged = bytearray(path.read_bytes())
    for position, byte in edits:
        damaged[position % len(damaged)] = byte
    path.write_bytes(damaged)
    try:
        ckpt = load(path)
        for key in ckpt.keys:
            ckpt.tensor(key)
    except PEInspectError:
        return
