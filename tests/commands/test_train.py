"""`pe-inspect train` and `recipes`: thin over training, with progress on stderr."""

from __future__ import annotations

import json

import pytest

from pe_inspect import training

TINY = ("--set", "epochs=1", "--set", "depth=1", "--set", "embed_dim=8", "--set", "num_heads=2")


def test_recipes_are_listed_with_what_they_cost(run, here):
    done = run("recipes")
    assert done.code == 0
    assert done.out.splitlines()[0].split() == [
        "recipe",
        "scheme",
        "join",
        "data",
        "parameters",
        "epochs",
        "takes",
        "checkpoint",
    ]
    assert f"{training.DEFAULT_RECIPE} (default)" in done.out
    listed = run("recipes", "--json").json["recipes"]
    assert [each["name"] for each in listed] == list(training.recipes)
    assert run("recipes", "--quiet").out.split() == list(training.recipes)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["digts-lape"], "Unknown recipe 'digts-lape'. Did you mean 'digits-lape'"),
        (["digits-lape", "--set", "epoch=3"], "Did you mean 'epochs'"),
        (["digits-lape", "--set", "epochs"], "'epochs' is no assignment; expected key=value"),
        (["digits-lape", "--set", "epochs=many"], "epochs is 'many'; expected a whole number"),
        (["digits-lape", "--device", "tpu"], "device 'tpu' cannot be used here"),
        (["missing.toml"], "missing.toml cannot be read as a recipe"),
    ],
)
def test_a_wrong_recipe_is_code_2(run, here, words, said):
    done = run("train", *words)
    assert done.code == 2
    assert said in done.err


def test_training_writes_a_checkpoint_that_every_command_reads(run, here):
    done = run("train", "digits-lape", *TINY, "--out", "mine", "--export", "mine.pth")
    assert done.code == 0
    assert "Training digits-lape: " in done.err
    assert "epoch 1/1 · step " in done.err
    assert done.out.splitlines()[-4:] == [
        "Wrote mine/model.safetensors",
        "Wrote mine/config.json",
        "Wrote mine/metrics.csv",
        "Wrote mine.pth",
    ]
    for checkpoint in ("mine", "mine.pth"):
        first = run("info", checkpoint).out.splitlines()[0]
        assert first == "learned_absolute · 8×8 + 1 prefix · D=8 · 1 layer · join=lape"


def test_json_is_the_config_and_the_files(run, here):
    done = run("train", "digits-input", *TINY, "--json", "--quiet")
    assert (done.code, done.err) == (0, "")
    assert done.json["recipe"]["epochs"] == 1
    assert done.json["written"][0] == "checkpoints/digits-input/model.safetensors"
    config = json.loads((here / "checkpoints/digits-input/config.json").read_text())
    assert done.json["metrics"] == config["metrics"]


def test_an_export_over_somebodys_file_stops_before_training(run, here):
    (here / "mine.pth").write_bytes(b"theirs")
    done = run("train", "digits-lape", *TINY, "--export", "mine.pth")
    assert done.code == 2
    assert "mine.pth exists and was not made by pe-inspect" in done.err
    assert not (here / "checkpoints").exists()
