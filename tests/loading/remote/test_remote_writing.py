"""Another resolution of a file that lies elsewhere: the whole file is fetched, and copied here."""

from __future__ import annotations

import json

import pytest
import torch
from closeness import assert_close
from safetensors.torch import load, load_file
from timm.layers import resample_abs_pos_embed

import pe_inspect as pei

GRID = {"grid_size": (3, 4)}


def test_a_url_is_written_here_with_its_table_on_the_new_grid(server, safetensors, tmp_path):
    url = server.put("/runs/tiny.safetensors", safetensors)
    made = pei.bake(pei.load(url, **GRID), tmp_path / "b.safetensors", res=(20, 28))
    assert (made.before, made.grid_size) == ((3, 4), (5, 7))
    old, found = load(safetensors), load_file(tmp_path / "b.safetensors")
    theirs = resample_abs_pos_embed(old["pos_embed"], [5, 7], [3, 4], num_prefix_tokens=1)
    assert_close(found.pop("pos_embed"), theirs)
    for key, value in found.items():
        assert torch.equal(value, old[key]), key


def test_nothing_is_fetched_for_a_file_that_stands_already(server, safetensors, tmp_path):
    checkpoint = pei.load(server.put("/runs/tiny.safetensors", safetensors), **GRID)
    (tmp_path / "b.safetensors").write_bytes(b"mine")
    sent = server.sent
    with pytest.raises(pei.OutputError, match=r"exists\. Pass --force"):
        pei.bake(checkpoint, tmp_path / "b.safetensors", grid=(5, 7))
    assert server.sent == sent
    assert (tmp_path / "b.safetensors").read_bytes() == b"mine"


def test_a_url_may_be_read_by_the_name_that_is_typed(
    server, safetensors, tmp_path, capsys, monkeypatch
):
    from pe_inspect.commands.shell.program import program

    monkeypatch.chdir(tmp_path)
    url = server.put("/runs/tiny.safetensors", safetensors)
    words = ["interpolate", url, "--grid-size", "3x4", "--grid", "5x7", "--write",
             "b.safetensors", "--no-figures", "--json"]  # fmt: skip
    assert program()(args=words, standalone_mode=False) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["written"] == ["b.safetensors"]
    assert load_file("b.safetensors")["pos_embed"].shape == (1, 36, 64)


def test_a_format_that_would_be_another_is_refused(server, safetensors, tmp_path):
    checkpoint = pei.load(server.put("/runs/tiny.safetensors", safetensors), **GRID)
    with pytest.raises(pei.UsageError, match=r"its name ends in \.safetensors"):
        pei.bake(checkpoint, tmp_path / "b.pth", grid=(5, 7))
