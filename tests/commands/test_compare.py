"""`pe-inspect compare`: one sentence, a line a pair, deltas with signs and units, and its files."""

from __future__ import annotations

import csv

import numpy as np
import pytest


@pytest.fixture
def two(save_vit):
    save_vit("a.safetensors", rows=4, columns=4)
    save_vit("b.safetensors", rows=5, columns=5, lape=False)
    return ("a.safetensors", "b.safetensors")


def test_two_checkpoints_are_told_in_a_sentence_and_two_tables(run, two):
    done = run("compare", *two, "--no-figures")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0].startswith("a: learned_absolute · 4×4")
    assert lines[2].startswith("  b against a: the stored tables have a CKA of ")
    assert lines[4].split()[:2] == ["CKA", "unbiased"]
    (radius,) = [line for line in lines if "half-radius (patches)" in line]
    assert radius.split()[-1][0] in "+−u"
    assert "b was resampled from 5×5 to 4×4 patches" in done.err


def test_json_has_every_pair_every_delta_and_the_notes_and_files_have_the_contracts_keys(
    run, two, here
):
    done = run("compare", *two, "--save-data", "--json", "--dpi", 30)
    assert done.code == 0
    told = done.json
    assert told["question"] == "compare"
    assert told["names"] == ["a", "b"]
    assert set(told["pairs"][0]) >= {"cka", "cka_unbiased", "procrustes", "map_difference"}
    assert {one["unit"] for one in told["deltas"] if one["number"] == "half_radius"} == {"patches"}
    assert any("resampled" in note for note in told["notes"])
    folder = here / "reports/a-and-b"
    assert told["written"] == [
        f"reports/a-and-b/compare{end}" for end in (".png", "_numbers.png", ".npz", ".csv")
    ]
    saved = np.load(folder / "compare.npz")
    assert saved["cka"].shape == saved["map_difference"].shape == (2, 2)
    assert saved["cka_layers"].shape == (2, 2, 2, 2)
    rows = list(csv.DictReader((folder / "compare.csv").read_text().splitlines()))
    assert [row["layer_first"] for row in rows] == ["stored", "blocks.0", "blocks.1"]
    change = float(rows[1]["ssdc_l1_second"]) - float(rows[1]["ssdc_l1_first"])
    assert float(rows[1]["ssdc_l1_delta"]) == pytest.approx(change)


def test_one_checkpoint_is_too_few(run, two):
    done = run("compare", two[0])
    assert done.code == 2
    assert "compare takes two checkpoints or more: pe-inspect compare A B" in done.err
