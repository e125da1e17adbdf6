"""`pe-inspect recipes`: an overview, the members of a family, and all of it as JSON."""

from __future__ import annotations

import json
import shutil

import pytest
from PIL import Image

from pe_inspect import training

HEADINGS = ["recipe", "scheme", "join", "data", "parameters", "epochs", "takes"]


@pytest.fixture
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


def test_the_overview_has_a_line_for_a_family(run, here, wide):
    done = run("recipes")
    assert done.code == 0
    first, *rows = done.out.split("\n\n")[0].splitlines()
    assert first.split() == [*HEADINGS, "published", "here"]
    assert any(row.startswith(f"{training.DEFAULT_RECIPE} (default)") for row in rows)
    (zoo,) = [row for row in rows if row.startswith("zoo-*")]
    assert "12 schemes" in zoo
    assert "204,810 … 229,770" in zoo
    assert zoo.endswith(" of 27")
    assert len([row for row in rows if not row.startswith(" ")]) < 20


@pytest.mark.parametrize("columns", ["44", "80", "200"])
def test_the_overview_names_every_recipe_and_every_source(run, here, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    out = run("recipes").out
    names = out.replace(",", " ").split()
    assert [name for name in training.recipes if name not in names] == []
    published = [each for each in training.recipes.values() if each.expected_accuracy]
    told = " ".join(names)
    for each in published:
        assert f"] {each.accuracy_source.replace(',', ' ')}.".replace("  ", " ") in told
    assert max(map(len, out.splitlines())) <= int(columns)


def test_an_accuracy_cites_its_source(run, here, wide):
    rows, notes = run("recipes", "vit-lite").out.split("\n\n")
    cited = {row.split()[0]: row.split("[")[1][0] for row in rows.splitlines() if "[" in row}
    assert cited["vit-lite-7-4-cifar10-lape"] != cited["vit-lite-7-4-cifar100-mpvg"]
    for name, number in cited.items():
        assert f"[{number}] {training.recipes[name].accuracy_source}." in notes.splitlines()


def test_the_members_of_a_family_have_their_sources(run, here, wide):
    lines = run("recipes", "schh-cifar100").out.splitlines()
    assert [line.split()[0] for line in lines[1:6]] == [
        f"schh-cifar100-{kind}" for kind in ("none", "learned", "sincos", "relative", "rope")
    ]
    assert lines[4].split()[-4:] == ["65.11%", "[1]", "not", "yet"]
    assert "[1] s-chh's README, one run on the lossless images." in lines
    assert "takes: where not timed, the first epoch tells." in lines


def test_a_narrow_terminal_gets_paragraphs(run, here, monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    lines = run("recipes", "schh-r*").out.splitlines()
    assert lines[0] == "schh-relative"
    assert lines[1].startswith("    relative, layer · cifar10 · 805,130")
    assert max(map(len, lines)) <= 50


def test_recipes_are_chosen_by_what_they_are(run, here):
    def names(*words):
        return run("recipes", "--quiet", *words).out.split()

    assert names("--scheme", "peg", "--data", "digits") == ["digits-peg"]
    assert names("zoo-*-lape", "--scheme", "learned") == ["zoo-learned-lape"]
    assert names("--join", "unshare", "--data", "cifar100") == ["vit-lite-7-4-cifar100-unshare"]
    assert names() == list(training.recipes)


def test_json_has_all_of_every_recipe(run, here):
    listed = {each["name"]: each for each in run("recipes", "--json").json["recipes"]}
    assert list(listed) == list(training.recipes)
    relative = listed["schh-relative"]
    assert relative["expected_accuracy"] == 0.9057
    assert "README" in relative["accuracy_source"]
    assert (relative["expected_minutes"], relative["timed_on"]) == (None, None)
    assert (relative["checkpoint"], relative["measured"]) == (None, None)
    assert listed["zoo-none"]["accuracy_source"] is None


def test_what_lies_here_is_told_from_its_config(run, here):
    source = training.checkpoint_folder("digits-lape")
    target = here / "checkpoints" / "cpvt-ti"
    shutil.copytree(source, target)
    config = json.loads((target / "config.json").read_text(encoding="utf-8"))
    config["metrics"] |= {"test_accuracy": 0.4321, "seconds": 600.0, "epochs": 300}
    (target / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (cpvt,) = run("recipes", "cpvt-ti", "--json").json["recipes"]
    assert cpvt["measured"]["accuracy"] == 0.4321
    assert (cpvt["expected_minutes"], cpvt["timed_on"]) == (10.0, config["machine"])
    out = run("recipes", "cpvt-ti").out
    assert "43.21%" in out
    assert "here: top-1 on the test images of digits (scikit-learn), 300 epochs." in out
    assert f"takes: as measured on {config['machine']}." in out


def test_what_a_cpu_trains_in_minutes_says_how_many(run, here):
    for family in ("digits", "zoo"):
        listed = run("recipes", family, "--json").json["recipes"]
        assert all(1 < each["expected_minutes"] < 12 for each in listed)
        assert {each["timed_on"] for each in listed} == {"1 CPU core"}


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", "null", "[" * 100_000, '{"metrics": null}', '{"metrics": []}', '{"data": 1}'),
        *('{"metrics": {"test_accuracy": "good", "epochs": [1]}, "machine": 1}',),
        *(f'{{"metrics": {{"test_accuracy": {number}}}}}' for number in ("NaN", "1" + "0" * 400)),
        '{"metrics": {"test_accuracy": true}, "data": {"label": 1}}',
    ],
)
def test_a_config_that_is_not_ours_says_nothing_of_its_checkpoint(run, here, content):
    folder = here / "checkpoints" / "digits-none"
    shutil.copytree(training.checkpoint_folder("digits-lape"), folder)
    (folder / "config.json").write_text(content, encoding="utf-8")
    done = run("recipes", "digits-none", "--json")
    assert done.code == 0
    (none,) = done.json["recipes"]
    assert none["checkpoint"] is not None
    assert set(none["measured"].values()) == {None}
    done = run("recipes", "digits-none")
    assert done.code == 0
    assert "here: " not in done.out.replace("published, here: ", "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sch"], None),
        (["scxh-rope"], "Unknown recipe 'scxh-rope'. Did you mean 'schh-rope'"),
        (["--data", "cifar"], "Unknown data 'cifar'. Did you mean 'cifar10'"),
        (["--scheme", "pegg"], "Unknown scheme 'pegg'. Did you mean 'peg'"),
        (["--join", "lapp"], "Unknown join 'lapp'. Did you mean 'lape'"),
    ],
)
def test_a_word_that_fits_none_is_met_with_the_nearest(run, here, words, said):
    done = run("recipes", *words)
    assert done.code == (2 if said else 0)
    assert (said or "") in done.err


TINY = ("--set", "epochs=1", "--set", "depth=1", "--set", "embed_dim=16", "--set", "num_heads=2")


def test_schhs_angles_are_one_flag(run, here):
    done = run("train", "digits-rope-axial", *TINY, "--schh-compat", "--out", "mine")
    assert done.code == 0
    config = json.loads((here / "mine" / "config.json").read_text(encoding="utf-8"))
    assert config["model"]["schh_compat"] is True
    refused = run("train", "digits-peg", *TINY, "--schh-compat")
    assert refused.code == 2
    assert "schh_compat changes the angles of scheme 'rope_axial', and scheme is 'peg'" in (
        refused.err
    )


def test_a_scheme_without_its_join_says_which_it_took(run, here):
    done = run("train", "digits-learned-share", *TINY, "--set", "scheme=relative", "--out", "x")
    assert done.code == 0
    assert "scheme relative cannot have join 'share'; it takes its own, 'layer'." in done.err


def test_a_broken_image_is_said_and_strict_stops(run, here):
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            for i in range(3):
                path = here / "pets" / split / name / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (8 + i, 12), (i, 0, 0)).save(path)
    (here / "pets" / "train" / "cat" / "1.png").write_bytes(b"no image")
    sizes = ("--set", "img_size=6x8", "--set", "patch_size=2x2", "--set", "num_classes=2")
    words = ("train", "digits-lape", *TINY, *sizes, "--set", "in_chans=3")
    words = (*words, "--set", "data=imagefolder:pets")
    done = run(*words)
    assert done.code == 0
    assert "1 of 6 images of pets/train cannot be read and were left out: pets/train/cat/1.png" in (
        done.err
    )
    assert "pets: the images are of several sizes; each was resized" in done.err
    streamed = run(*words, "--set", "stream=on", "--out", "streamed")
    assert streamed.code == 0
    assert "pets/train/cat/1.png cannot be read as an image" in streamed.err
    for more in ([], ["--set", "stream=on"]):
        strict = run(*words, "--strict", *more, "--out", "strict")
        assert strict.code == 2
        assert "1.png cannot be read as an image (its content is of no known kind)" in strict.err
