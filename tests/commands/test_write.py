"""`interpolate --write`: what is printed, what is written, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file


@pytest.fixture
def vit(here):
    """A table of 3×4 patches of 4 pixels, and a kernel."""
    rng = np.random.default_rng(0)
    state = {
        "cls_token": np.ones((1, 1, 8), np.float32),
        "pos_embed": rng.normal(size=(1, 13, 8)).astype(np.float32),
        "patch_embed.proj.weight": rng.normal(size=(8, 3, 4, 4)).astype(np.float32),
        "blocks.0.norm1.weight": np.ones(8, np.float32),
    }
    save_file(state, here / "vit.safetensors")
    return ("vit.safetensors", "--grid-size", "3x4")


def test_the_last_line_names_the_new_file(run, vit):
    done = run("interpolate", *vit, "--res", "20x28", "--write", "new.safetensors", "--no-figures")
    assert done.code == 0
    assert done.out.splitlines()[-1] == "Wrote new.safetensors"
    assert "Note: no table stores its grid: read the new file with --grid-size 5x7" in done.err
    assert load_file("new.safetensors")["pos_embed"].shape == (1, 36, 8)


def test_json_tells_every_tensor_that_changed(run, vit):
    done = run("interpolate", *vit, "--grid", "5x7", "--write", "new.safetensors", "--json",
               "--no-figures")  # fmt: skip
    assert done.json["written"] == ["new.safetensors"]
    assert done.json["baked"]["tensors"] == {"pos_embed": {"from": [1, 13, 8], "to": [1, 36, 8]}}
    assert done.json["baked"]["from_grid_size"] == [3, 4]


def test_another_patch_size_resizes_the_kernel(run, vit):
    done = run("interpolate", *vit, "--res", "20x28", "--patch-size", 2, "--write",
               "new.safetensors", "--no-figures")  # fmt: skip
    assert done.code == 0
    found = load_file("new.safetensors")
    assert found["patch_embed.proj.weight"].shape == (8, 3, 2, 2)
    assert found["pos_embed"].shape == (1, 141, 8)
    assert "PI-resized from 4×4 to 2×2 pixels" in done.err


def test_what_needs_nothing_ends_with_0_and_no_file(run, here):
    kernel = np.ones((8, 1, 3, 3), np.float32)
    state = {"pos_block.0.proj.0.weight": kernel, "blocks.0.0.norm1.weight": np.ones(8, np.float32)}
    save_file(state, here / "peg.safetensors")
    done = run("interpolate", "peg.safetensors", "--grid-size", "3x4", "--grid", "5x7", "--write",
               "new.safetensors")  # fmt: skip
    assert done.code == 0
    assert "nothing to change: no file was written" in done.err
    assert not (here / "new.safetensors").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--write", "vit.safetensors"), "is the input itself"),
        (("--write", "new.pth"), "its name ends in .safetensors. Pass --write new.safetensors."),
        (("--renormalise",), "--renormalise is about the file that --write makes"),
    ],
)
def test_bad_requests_end_with_2(run, vit, words, said):
    done = run("interpolate", *vit, "--grid", "5x7", *words)
    assert done.code == 2
    assert said in done.err
