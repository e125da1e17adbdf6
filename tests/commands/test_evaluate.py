"""`pe-inspect evaluate`: what is printed, written and refused."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pe_inspect.analysis.evaluate import COLUMNS
from pe_inspect.commands.shell.parsing import numbers
from pe_inspect.commands.shell.progress_bar import ProgressBar
from pe_inspect.errors import UsageError
from pe_inspect.models.config import ViTConfig
from pe_inspect.models.vit import VisionTransformer

ASKED = ("--limit", 20, "--dpi", 20)


@pytest.fixture
def digits(here):
    """A function that saves a small model of the digits, as our trainer does; 2×4-pixel patches."""

    def save(scheme="learned", data="digits", name="tiny"):
        torch.manual_seed(0)
        config = ViTConfig(
            img_size=(8, 8), patch_size=(2, 4), in_chans=1, num_classes=10, embed_dim=8, depth=1,
            num_heads=2, mlp_ratio=1.0, scheme=scheme,
        )  # fmt: skip
        folder = here / "checkpoints" / name
        folder.mkdir(parents=True)
        save_file(VisionTransformer(config).state_dict(), folder / "model.safetensors")
        saved = {"model": config.to_dict()}
        if data:
            saved["data"] = {"name": data, "mean": [0.3], "std": [0.4]}
        (folder / "config.json").write_text(json.dumps(saved))
        return folder

    return save


def test_rows_are_printed_between_what_was_found_and_what_was_written(
    run, digits, here, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "140")
    done = run("evaluate", digits(), *ASKED, "--res", "4x8,8,16", "--remove", "--alpha", "1,0.5")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0].startswith("learned_absolute · 4×2 + 1 prefix · D=8 · 1 layer")
    assert lines[1] == (
        "  N = 20 test images of digits (scikit-learn) · mean 0.3 · std 0.4 (config.json) · crop 1"
    )
    assert [head.strip() for head in lines[2].split("  ") if head] == [
        "condition", "pixels", "method", "top-1 (%)", "top-5 (%)", "loss (nats)",
        "fragility score", "over plain (points)",
    ]  # fmt: skip
    begun = [" ".join(line.split()[:3]) for line in lines[3:9]]
    assert begun == [
        "plain 8×8 native", "scaled by 1", "scaled by 0.5", "removed 8×8 native",
        "plain 4×8 native", "plain 16×16 native",
    ]  # fmt: skip
    assert lines[-2:] == [
        "Wrote reports/tiny/evaluate.png", "Wrote reports/tiny/evaluate_ablations.png"
    ]  # fmt: skip
    assert all(re.search(r"\d \[\d+\.\d, \d+\.\d\] ", line) for line in lines[3:9])
    assert all(re.search(r"\[[−+]\d+\.\d, [−+]\d+\.\d\]$", line) for line in lines[4:9])
    legend = "\n".join(lines[9:-2])
    for said in ("Wilson's", "Newcombe's for pairs", "the plain model at 8×8, on the same images",
                 "fragility score: 1 −"):  # fmt: skip
        assert said in legend
    assert "Note: 20 of 359 test images were drawn (--limit)" in done.err
    assert (here / "reports/tiny/evaluate.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("columns", [40, 60])
def test_a_narrow_terminal_has_a_table_in_parts_or_rows_below_their_names(
    run, digits, monkeypatch, columns
):
    wide = run("evaluate", digits(), *ASKED, "--alpha", "0.5", "--no-figures").out.splitlines()
    monkeypatch.setenv("COLUMNS", str(columns))
    done = run("evaluate", "checkpoints/tiny", *ASKED, "--alpha", "0.5", "--no-figures")
    lines = done.out.splitlines()[1:]
    if columns == 40:
        first = lines.index("  plain · 8×8 · native")
        assert "  scaled by 0.5 · 8×8 · native" in lines
        assert lines[first + 1].startswith("    top-1 (%) ")
    assert max(map(len, lines)) <= columns
    heads = [line for line in wide if line.startswith("  condition ")]
    assert heads
    words = " ".join(line for line in wide[1:] if line not in heads)
    assert set(words.split()) <= set(done.out.split())


def test_json_holds_every_row_and_what_it_was_made_with(run, digits):
    done = run("evaluate", digits(), *ASKED, "--res", "16", "--method", "all", "--json", "--quiet",
               "--no-figures")  # fmt: skip
    assert (done.code, done.err) == (0, "")
    found = done.json
    assert (found["question"], found["num_classes"]) == ("evaluate", 10)
    assert found["dataset"] == "digits (scikit-learn)"
    assert found["parameters"]["normalised_by"] == "config.json"
    assert set(found["rows"][0]) == set(COLUMNS)
    assert found["rows"][0]["fs"] is None  # JSON knows no NaN
    assert {"native", "bicubic", "spline"} <= {row["method"] for row in found["rows"]}
    assert found["summary"]["top1"] == found["rows"][0]["top1"]
    assert len(found["sha256"]) == 64
    assert found["written"] == []


def test_csv_has_the_documented_columns(run, digits, here):
    run("evaluate", digits(), "--permute-patches", "--save-data", "--no-figures")
    with (here / "reports/tiny/evaluate.csv").open(newline="") as file:
        plain, permuted = csv.DictReader(file)
    assert list(plain) == list(COLUMNS)
    assert (plain["condition"], plain["fs"]) == ("plain", "")
    kept = float(permuted["top1"]) / float(plain["top1"])
    np.testing.assert_allclose(float(permuted["fs"]), 1 - kept)


def test_the_arrays_have_the_names_of_the_columns(run, digits, here):
    run("evaluate", digits(), *ASKED, "--remove", "--save-data", "--no-figures")
    with np.load(here / "reports/tiny/evaluate.npz") as saved:
        assert list(saved) == list(COLUMNS)
        assert saved["condition"].tolist() == ["plain", "removed"]
        assert saved["count"].tolist() == [20, 20]
    with (here / "reports/tiny/evaluate.csv").open(newline="") as file:
        told = [float(row["top1"]) for row in csv.DictReader(file)]
    with np.load(here / "reports/tiny/evaluate.npz") as saved:
        np.testing.assert_allclose(saved["top1"], told)


def test_a_model_without_positions_is_evaluated_all_the_same(run, digits):
    done = run("evaluate", digits("none"), *ASKED, "--remove", "--no-figures")
    assert done.code == 0
    assert done.out.splitlines()[1].split()[:2] == ["condition", "pixels"]
    assert "removed at 8×8: not evaluated: this model has no position embedding" in done.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--res", "18"], "--res 18 is no whole number of 2x4-pixel patches"),
        (["--res", "16,abc"], "--res 'abc' is not a number, or rows and columns"),
        (["--method", "bicubik"], "Unknown method 'bicubik'. Did you mean"),
        (["--method", "bicubic"], "Pass --res 24,32,48 with it, or leave --method out."),
        (["--res", "16", "--method", "levit"], "--method levit is for bias, and this embedding"),
        (["--alpha", "1,x"], "--alpha '1,x' is not numbers with commas between"),
        (["--mean", "0.5"], "Pass --mean and --std together"),
        (["--crop-pct", "0.5"], "--crop-pct 0.5 is for images that are read from files of their"),
        (["--limit", "0"], "--limit 0 is not a whole number of at least 1"),
        (["--data", "digitz"], "digitz"),
        (["--data", "imagefolder:nowhere"], "nowhere is no folder"),
        (["--device", "gpu"], "device 'gpu' cannot be used here"),
    ],
)
def test_bad_input_is_one_plain_line_and_code_2(run, digits, words, message):
    done = run("evaluate", digits(), *words)
    assert done.code == 2
    assert message in done.err
    assert "Traceback" not in done.err


def test_a_checkpoint_that_names_no_images_asks_for_them(run, digits):
    done = run("evaluate", digits(data=None))
    assert done.code == 2
    assert "does not say which images it is for. Pass --data NAME[:PATH]" in done.err
    assert run("evaluate", digits(data=None, name="b"), *ASKED, "--data", "digits").code == 0


@pytest.fixture
def streamed(run, here):
    """A folder of images of 40×40 pixels, and a small model trained on its files; 8×16 patches."""
    from PIL import Image

    random = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("cat", "dog", "emu"):
            (here / "pets" / split / name).mkdir(parents=True)
            for k in range(4):
                pixels = random.integers(0, 256, (40, 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(here / "pets" / split / name / f"{k}.png")
    settings = {"data": "imagefolder:pets", "stream": "on", "shift": 0, "img_size": 32,
                "patch_size": "8x16", "in_chans": 3, "num_classes": 3, "batch_size": 6,
                "epochs": 1, "depth": 1}  # fmt: skip
    words = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    assert run("train", "digits-lape", *words, "--out", "made", "--quiet").code == 0
    return here


def test_a_model_trained_on_files_is_evaluated_as_its_training_did(run, streamed):
    trained = json.loads((streamed / "made/config.json").read_text())["metrics"]
    found = run("evaluate", "made", "--json", "--no-figures").json
    assert found["rows"][0]["loss"] == pytest.approx(trained["test_loss"], abs=1e-4)
    assert found["rows"][0]["top1"] == pytest.approx(trained["test_accuracy"], abs=1e-4)
    assert found["parameters"]["crop_pct"] == 0.875
    cropped = run("evaluate", "made", "--json", "--no-figures", "--crop-pct", "0.3").json
    assert cropped["rows"][0]["loss"] != pytest.approx(trained["test_loss"], abs=1e-3)


def test_a_corrupt_file_is_named_skipped_and_counted(run, streamed):
    (streamed / "pets/test/dog/2.png").write_bytes(b"no image")
    done = run("evaluate", "made", "--no-figures")
    assert done.code == 0
    assert (
        "Note: 1 of 12 images of the test split cannot be read and were left out: "
        "pets/test/dog/2.png (its content is of no known kind)"
    ) in done.err


def test_foreign_files_stop_it_before_anything_runs(run, digits, here, monkeypatch):
    monkeypatch.setattr("pe_inspect.evaluation.run._count", None)
    (here / "reports/tiny").mkdir(parents=True)
    (here / "reports/tiny/evaluate.csv").write_text("mine")
    done = run("evaluate", digits(), "--save-data")
    assert done.code == 2
    assert "was not made by pe-inspect" in done.err
    (here / "reports/tiny/evaluate_ablations.png").write_text("mine")
    done = run("evaluate", here / "checkpoints/tiny")
    assert "evaluate_ablations.png exists and was not made by pe-inspect. Pass" in done.err


def test_a_foreign_file_that_it_would_not_write_is_left_alone(run, digits, here):
    (here / "reports/tiny").mkdir(parents=True)
    (here / "reports/tiny/evaluate.csv").write_text("mine")
    assert run("evaluate", digits(), *ASKED).code == 0
    assert (here / "reports/tiny/evaluate.csv").read_text() == "mine"


@pytest.mark.parametrize("given", ["", "1,,2", "nan", "1;2", "inf"])
def test_numbers_are_finite_and_between_commas(given):
    assert numbers("--alpha", "1, 0.5") == (1.0, 0.5)
    assert numbers("--alpha", None) is None
    with pytest.raises(UsageError, match="is not numbers with commas between"):
        numbers("--alpha", given)


def test_progress_says_the_share_and_the_time_left(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    told = ProgressBar("evaluate", moving=False)
    for share in (0.0, 0.05, 0.3, 0.31, 0.9):
        told("plain", share)
        now[0] += 60
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "evaluate: 30% · plain · 5 min left", "evaluate: 90% · plain · 27 s left"
    ]  # fmt: skip
    ProgressBar("evaluate", moving=False, quiet=True)("plain", 0.9)
    assert capsys.readouterr().err == ""
