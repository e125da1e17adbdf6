"""`pe-inspect evolution`: a run's folder, a folder of checkpoints, and folders that are neither."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pe_inspect.families import extract
from pe_inspect.files import MANIFEST
from pe_inspect.front.snapshots import natural, numbers, snapshots_in
from pe_inspect.loading import load

GRID = ("--grid-size", "3x4")


@pytest.fixture
def run_of(save_vit, here):
    """Save a run's folder with snapshots of these epochs."""

    def make(*epochs: int) -> Path:
        pe = extract(load(str(save_vit("tiny.safetensors", rows=4, columns=4))))[0]
        for epoch in epochs:
            pe.save(here / f"run/evolution/epoch_{epoch}.pe.safetensors")
        return here / "run"

    return make


def test_a_runs_folder_is_followed_in_the_order_of_its_numbers(run, run_of, here):
    run_of(2, 10, 1)
    done = run("evolution", "run", "--save-data", "--json")
    assert done.code == 0
    assert done.json["parameters"]["epochs"] == [1, 2, 10]
    assert done.json["summary"]["num_snapshots"] == 3
    assert done.json["written"] == [
        f"reports/run/evolution{end}"
        for end in (".png", "_maps.png", "_structure.png", ".npz", ".csv")
    ]
    saved = np.load(here / "reports/run/evolution.npz")
    assert saved["epochs"].tolist() == [1, 2, 10]
    lines = (here / "reports/run/evolution.csv").read_text().splitlines()
    assert lines[0].startswith("epoch,layer,norm,cosine_to_last,change,neighbours,far")
    assert len(lines) == 1 + 3 * 2


def test_every_file_that_it_writes_would_have_stopped_it(run, run_of, here):
    run_of(1, 2)
    words = ("evolution", "run", "--save-data", "--dpi", 20)
    assert run(*words).code == 0
    (here / "reports/run" / MANIFEST).unlink()
    assert "(nor were 4 more)" in run(*words).err


def test_a_folder_of_any_checkpoints_is_a_run_in_natural_order(run, save_vit, here):
    for step in (20, 100, 3):
        (here / "steps").mkdir(exist_ok=True)
        save_vit(f"steps/step_{step}.safetensors")
    done = run(
        "evolution", "steps", *GRID, "--no-figures", "--json", "--layer", "0", "--token", "2,1"
    )
    assert done.code == 0
    assert done.json["parameters"]["epochs"] == [3, 20, 100]
    assert done.json["parameters"]["token"] == [2, 1]
    assert done.json["parameters"]["layers"] == ["blocks.0"]


def test_a_recipes_name_leads_to_its_run(run, monkeypatch):
    root = Path(__file__).parents[2]
    monkeypatch.chdir(root)
    done = run("evolution", "digits-lape", "--no-figures")
    assert done.code == 0
    assert "num_snapshots            6" in done.out


def test_a_snapshot_that_cannot_be_read_is_named_and_left_out(run, run_of, here):
    run_of(1, 2, 3)
    (here / "run/evolution/epoch_2.pe.safetensors").write_bytes(b"not a file")
    done = run("evolution", "run", "--no-figures")
    assert done.code == 0
    assert "Note: left out, one of 3 snapshots: " in done.err
    assert "num_snapshots            2" in done.out


@pytest.mark.parametrize(
    ("make", "code", "said"),
    [
        (lambda here: None, 3, "run is not there; evolution takes the folder of a run"),
        (lambda here: (here / "run").write_text("x"), 3, "run is a file; evolution takes"),
        (lambda here: (here / "run").mkdir(), 3, "run holds no snapshots. Expected evolution/*.pe"),
    ],
)
def test_a_folder_that_is_no_run_ends_in_plain_words(run, here, make, code, said):
    make(here)
    done = run("evolution", "run")
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert "Traceback" not in done.err


def test_one_snapshot_is_no_history(run, run_of):
    run_of(7)
    done = run("evolution", "run")
    assert done.code == 2
    assert "evolution was given 1 snapshot; a history needs at least two." in done.err


def test_snapshots_of_two_models_are_told_apart(run, save_vit, here):
    (here / "mixed").mkdir()
    save_vit("mixed/a_1.safetensors", rows=4, columns=4)
    save_vit("mixed/a_2.safetensors", rows=5, columns=5)
    done = run("evolution", "mixed")
    assert done.code == 2
    assert "Snapshots of one run have one form: give a folder of one run only." in done.err


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["epoch_1", "epoch_10"], (1, 10)),
        (["vit16_e3", "vit16_e4"], (3, 4)),
        (["a", "b"], None),
        (["a_1", "b_1"], None),
    ],
)
def test_epochs_are_the_last_numbers_if_they_grow(names, found):
    assert numbers(names) == found


def test_folders_of_a_trainer_count_as_checkpoints(here):
    for step in (500, 1500):
        (here / f"out/checkpoint-{step}").mkdir(parents=True)
        (here / f"out/checkpoint-{step}/model.safetensors").write_bytes(b"")
    (here / "out/logs").mkdir()
    (here / "out/.hidden.pth").write_bytes(b"")
    found = snapshots_in(here / "out")
    assert [path.name for path in found.paths] == ["checkpoint-500", "checkpoint-1500"]
    assert found.epochs == (500, 1500)
    assert sorted(map(Path, ["b", "a10", "a9"]), key=natural) == [
        Path("a9"),
        Path("a10"),
        Path("b"),
    ]
