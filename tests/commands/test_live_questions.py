"""`attention`, `contribution`, `probe`: what is printed, written and refused, on tiny models."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import timm
import torch
from made_models import SHAPE, save_native
from PIL import Image
from transformers import AutoModel, models

from pe_inspect.commands.shell.parsing import memory
from pe_inspect.errors import UsageError
from pe_inspect.extras import MissingLibrary

OFF = ("--no-figures", "--num-images", 6)
ATTENTION = {
    **dict.fromkeys(("distance_renormalised", "distance_raw", "entropy_all_keys"), ("L", "H")),
    **dict.fromkeys(("entropy_renormalised", "position_nats", "content_nats"), ("L", "H")),
    **dict.fromkeys(("offset_share", "prefix_share"), ("L", "H")),
    "offset_profile": ("L", "H", 5, 9), "logit_share": ("L", "H", 3, 3),
    "logit_share_block": ("L", 3, 3), "cls_map": ("L", "H", "N"),
    "layer_names": ("L",), "grid_size": (2,), "num_images": (),
}  # fmt: skip
CONTRIBUTION = {
    **dict.fromkeys(("omega2", "eta2", "omega2_null"), ("P",)), "omega2_after_norm": ("L",),
    "lambda": ("L", 2), "position_maps": ("P", "N", "D"), "causal_names": (7,),
    "causal_cls_cosine": (7, "P"), "causal_patch_cosine": (7, "P"),
}  # fmt: skip  # 3×5 patches are not transposed
PROBE = {
    **dict.fromkeys(("r2", "r2_images", "r2_permuted", "r2_null"), ("P", 2)),
    "plane_share": ("P", "D"),
}  # fmt: skip


def save_dinov2(here):
    torch.manual_seed(0)
    config = models.dinov2.Dinov2Config(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=48,
        image_size=32, patch_size=8,
    )  # fmt: skip
    AutoModel.from_config(config).save_pretrained(here / "dinov2")
    return here / "dinov2"


def save_timm(here):
    torch.manual_seed(0)
    torch.save(timm.create_model("test_vit").state_dict(), here / "plain.pth")
    return here / "plain.pth"


MODELS = {  # how it is saved, what is typed, layers, heads, channels, first words
    "native": (save_native, (), 2, 2, 16, "VisionTransformer (native) at 12×20 pixels"),
    "transformers": (save_dinov2, ("--res", "24x40"), 2, 3, 24, "Dinov2Model (transformers) at"),
    "timm": (
        save_timm, ("--arch", "timm:test_vit", "--res", "48x80"), 6, 2, 64, "VisionTransformer",
    ),
}  # fmt: skip


def shaped(keys, **sides):
    sides = {"N": 15, **sides}
    return {name: tuple(sides.get(s, s) for s in shape) for name, shape in keys.items()}


@pytest.mark.parametrize("library", MODELS)
@pytest.mark.parametrize(
    ("question", "keys"),
    [("attention", ATTENTION), ("contribution", CONTRIBUTION), ("probe", PROBE)],
)
def test_every_library_writes_the_keys_of_the_contract_in_their_order(
    run, here, library, question, keys
):
    save, typed, depth, heads, width, said = MODELS[library]
    done = run(question, save(here), *typed, *OFF, "--save-data", "--out", "out")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0].startswith("learned_absolute · ")
    assert lines[1].startswith(f"  {said}")
    assert "3×5 patches" in lines[1]
    assert lines[2].startswith("  6 images: seeded crops of scikit-learn's two photographs")
    assert lines[-2:] == [f"Wrote out/{question}.npz", f"Wrote out/{question}.csv"]
    with np.load(here / f"out/{question}.npz") as saved:
        found = {name: saved[name].shape for name in saved.files}
    expected = shaped(keys, L=depth, H=heads, P=depth + 2, D=width)
    assert list(found)[: len(expected)] == list(expected)
    assert {name: found[name] for name in expected} == expected
    with (here / f"out/{question}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == (depth * heads if question == "attention" else depth + 2)


def test_one_json_object_has_the_finding_the_numbers_and_what_they_are(run, here):
    done = run("attention", save_native(here), *OFF, "--json", "--quiet")
    assert (done.code, done.err) == (0, "")
    found = done.json
    assert found["question"] == "attention"
    assert found["summary"]["num_heads"] == len(found["rows"]) == 4
    assert set(found["definitions"]) == set(found["summary"])
    assert found["finding"].endswith("(6 images).")
    assert found["parameters"]["res"] == [12, 20]
    assert found["parameters"]["preprocessing"].endswith("config.json")
    assert len(found["sha256"]) == 64
    assert any("ln 6 nats" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("question", "stems"),
    [
        ("attention", ["attention", "attention_depth", "attention_budget", "attention_logits",
                       "attention_maps", "attention_blocks.1_head0"]),
        ("contribution", ["contribution", "contribution_maps", "contribution_similarity",
                          "contribution_norms", "contribution_mixing", "contribution_edits",
                          "contribution_maps_h1", "contribution_similarity_h1"]),
        ("probe", ["probe", "probe_ramps", "probe_ramps_h1"]),
    ],
)  # fmt: skip
def test_figures_are_of_the_layer_that_was_chosen(run, here, question, stems):
    done = run(
        question, save_native(here), "--num-images", 5, "--dpi", 20, "--each", "--layer",
        "blocks.1", *(("--head", 0) if question == "attention" else ()), "--out", "out",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert [line for line in done.out.splitlines() if line.startswith("Wrote")] == [
        f"Wrote out/{stem}.png" for stem in stems
    ]


def pictures(folder, count, size=(9, 7)):
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for k in range(count):
        pixels = random.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{k}.png")
    return folder


def test_images_of_class_folders_are_taken_in_turn_and_broken_ones_named(run, here):
    pictures(here / "set/b", 3)
    Image.new("L", (5, 4), 90).save(pictures(here / "set/a", 2) / "grey.png")
    (here / "set/b/torn.png").write_bytes(b"no image")
    done = run("contribution", save_native(here), "--no-figures", "--images", "set")
    assert done.code == 0, done.err
    assert "  6 images: set; resized directly" in done.out
    assert "Note: 1 of 7 images cannot be read and were left out: set/b/torn.png: its" in done.err
    few = run("attention", "native", "--no-figures", "--images", "set", "--num-images", 2)
    assert "  2 images: set, the first 2 of 7; resized" in few.out


def test_a_dataset_is_named_and_a_grey_model_gets_grey_images(run, here):
    folder = save_native(here, mean=(0.3,), in_chans=1)
    done = run("attention", folder, *OFF, "--images", "digits")
    assert done.code == 0, done.err
    assert "6 images: digits (scikit-learn), test images, classes in turn, the first 6" in done.out
    assert run("attention", folder, *OFF).code == 0


def test_a_model_without_a_cls_token_says_so(run, here):
    folder = save_native(here, class_token=False, reg_tokens=0, global_pool="avg")
    done = run("attention", folder, *OFF, "--save-data", "--out", "out")
    assert done.code == 0, done.err
    assert "Note: there is no CLS token, and so no cls_map" in done.err
    with np.load("out/attention.npz") as saved:
        assert "cls_map" not in saved.files


def test_one_image_has_no_share_of_position_and_a_probe_needs_some(run, here):
    folder = save_native(here)
    done = run("contribution", folder, "--no-figures", "--num-images", 1)
    assert done.code == 0
    assert "The share of position is undefined: it takes two images and two patches." in done.out
    few = run("probe", folder, "--num-images", 3)
    assert few.code == 2
    assert "A probe takes at least 4 images, one a fold, and 64 for late layers;" in few.err


def test_what_is_no_model_says_why_and_which_questions_still_run(run, checkpoint):
    done = run("attention", checkpoint, "--grid-size", "3x4")
    assert done.code == 2
    assert done.out.splitlines()[0].startswith("learned_absolute · 3×4")
    assert "cannot be rebuilt" in done.err or "architecture" in done.err
    assert "`pe-inspect similarity`, `layernorm` and `interpolate` ask the weights" in done.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["--max-memory", "plenty"],
            "--max-memory plenty is no size of memory: pass 500MB or more",
        ),
        (["--num-images", "0"], "--num-images 0 is not a whole number of at least 1."),
        (["--res", "24,32"], "--res 24,32 is 2 sizes, and this takes one"),
        (["--token", "7"], "--token '7' is not a row and a column."),
    ],
)
def test_options_are_checked_before_a_file_is_opened(run, here, options, said):
    done = run("attention", "there-is-no-such-file.pth", *options)
    assert done.code == 2
    assert said in done.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--layer", "5"], "--layer 5 is outside 0–1: blocks.0 … blocks.1."),
        (["--layer", "blocks.7"], "Unknown layer 'blocks.7'."),
        (["--token", "3,0"], "--token 3,0 is outside the grid of 3×5 patches"),
        (["--head", "4"], "--head 4 is outside 0–1: blocks have 2 heads."),
        (["--device", "cuda:77"], "device 'cuda:77' cannot be used here"),
        (["--images", "nowhere"], "nowhere is no folder, and no dataset (cifar10, "),
        (["--res", "13x20"], "13"),
    ],
)
def test_what_the_model_does_not_have_is_refused(run, here, options, said):
    done = run("attention", save_native(here), *options)
    assert done.code == 2
    assert said in done.err


def test_places_go_by_name_number_or_the_block_that_they_enter(run, here):
    done = run("probe", save_native(here), *OFF, "--layer", "h9")
    assert done.code == 2
    assert "Unknown layer 'h9'" in done.err


def test_a_library_that_is_not_installed_is_named_with_its_extra(run, here, monkeypatch):
    def missing(*_, **__):
        raise ModuleNotFoundError("No module named 'transformers'", name="transformers")

    monkeypatch.setattr("pe_inspect.live.trace.rebuild", missing)
    done = run("attention", save_native(here))
    assert done.code == MissingLibrary.exit_code == 2
    assert "needs the package transformers, which is not installed: `pip install" in done.err
    assert "pe-inspect[hf]" in done.err


def test_sizes_of_memory_are_read_as_people_write_them():
    assert [memory(t) for t in ("2GB", "500 MB", "1.5GiB", "7000000", "3000k")] == [
        2 * 10**9, 500 * 10**6, 1610612736, 7 * 10**6, 3 * 10**6,
    ]  # fmt: skip
    with pytest.raises(UsageError, match="no size of memory"):
        memory("-1GB")


def test_the_grid_of_these_tests_is_oblong():
    rows, columns = (side // 4 for side in SHAPE["img_size"])
    assert (rows, columns) == (3, 5)
