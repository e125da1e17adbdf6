"""A file behind a URL is read as the same file here is, and only what is asked for comes."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest
import torch
from safetensors.torch import save

from pe_inspect.families import extract
from pe_inspect.loading import Hints, load


def _pth(state, **options):
    buffer = io.BytesIO()
    torch.save({"model": state, "epoch": 3}, buffer, **options)
    return buffer.getvalue()


def _npz(state):
    buffer = io.BytesIO()
    np.savez(buffer, **{key: value.numpy() for key, value in state.items()})
    return buffer.getvalue()


def _npz_compressed(state):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{key: value.numpy() for key, value in state.items()})
    return buffer.getvalue()


def _legacy(state):
    return _pth(state, _use_new_zipfile_serialization=False)


KINDS = {
    "x.safetensors": (save, "safetensors"),
    "x.pth": (_pth, "pytorch"),
    "legacy.pth": (_legacy, "pytorch"),
    "x.npz": (_npz, "npz"),
    "compressed.npz": (_npz_compressed, "npz"),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_format_is_read_as_the_file_here_is(name, server, large_vit, equal):
    write, word = KINDS[name]
    content = write(large_vit)
    ckpt = load(server.put(f"/models/{name}", content))
    assert ckpt.format == word
    assert ckpt.path is None
    assert set(ckpt.keys) == set(large_vit)
    assert all(equal(ckpt.tensor(key), value) for key, value in large_vit.items())


@pytest.mark.parametrize("name", ["x.safetensors", "x.pth", "legacy.pth", "x.npz"])
def test_only_what_is_asked_for_comes(name, server, large_vit):
    content = KINDS[name][0](large_vit)
    ckpt = load(server.put(f"/{name}", content))
    for key in large_vit:
        if "fc1" not in key:
            ckpt.tensor(key)
    assert len(content) > 6_000_000
    assert server.sent < 1_500_000
    assert len(server.requests) < 24
    assert all(request.stop is not None for request in server.requests)


def test_neighbouring_tensors_come_in_one_request(server, safetensors):
    ckpt = load(server.put("/x.safetensors", safetensors))
    ckpt.tensor("blocks.1.norm1.bias")
    before = len(server.requests)
    ckpt.tensor("blocks.1.norm1.weight")
    assert len(server.requests) == before


def test_info_of_a_remote_file_is_that_of_the_file_here(server, safetensors, tmp_path):
    (tmp_path / "x.safetensors").write_bytes(safetensors)
    grid = Hints(grid_size=(3, 4))
    (here,) = extract(load(tmp_path / "x.safetensors", hints=grid))
    (there,) = extract(load(server.put("/x.safetensors", safetensors), hints=grid))
    assert there.headline == here.headline
    assert np.array_equal(there.tables[0].values, here.tables[0].values)
    assert there.source == server.url + "/x.safetensors"


def test_a_small_file_comes_whole_and_is_hashed(server, vit):
    content = save(vit)
    ckpt = load(server.put("/small.safetensors", content))
    assert len(server.requests) == 1
    assert ckpt.sha256 == hashlib.sha256(content).hexdigest()


def test_a_large_file_is_not_downloaded_for_its_hash(server, safetensors):
    ckpt = load(server.put("/x.safetensors", safetensors))
    before = len(server.requests)
    assert ckpt.sha256 == ""
    assert len(server.requests) == before
    said = "sha256 is empty: the server does not state it, and the file was not downloaded"
    assert said in ckpt.notes


def test_a_saved_extraction_is_opened_from_a_url(server, vectors, tmp_path):
    pe = vectors()
    pe.save(tmp_path / "x.pe.safetensors")
    url = server.put("/x.pe.safetensors", (tmp_path / "x.pe.safetensors").read_bytes())
    (read,) = extract(load(url))
    assert np.array_equal(read.tables[0].values, pe.tables[0].values)


def test_a_trusted_pickle_is_downloaded_whole(server, large_vit, equal):
    ckpt = load(server.put("/x.pth", _pth(large_vit)), trust_pickle=True)
    assert all(equal(ckpt.tensor(key), value) for key, value in large_vit.items())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>log in", "is a web page"),
        (b"\xff\xd8\xff\xe0 a picture", "is a JPEG picture"),
    ],
)
def test_a_file_of_another_kind_is_named(server, content, said):
    with pytest.raises(Exception, match=f"{server.url}/x.pth {said}"):
        load(server.put("/x.pth", content))


def test_a_config_beside_the_file_is_read(server, safetensors):
    config = b'{"architecture": "vit_tiny_patch16_224", "num_heads": 3}'
    server.put("/run/config.json", config)
    ckpt = load(server.put("/run/model.safetensors", safetensors))
    assert ckpt.hints.arch == "vit_tiny_patch16_224"
    assert "config.json beside model.safetensors was read" in ckpt.notes


def test_a_page_in_place_of_a_config_is_passed_over(server, safetensors):
    server.put("/run/config.json", b"<html>nothing here</html>")
    ckpt = load(server.put("/run/model.safetensors", safetensors))
    assert "config" not in ckpt.metadata
