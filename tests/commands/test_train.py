"""`pe-inspect train` and `recipes`: thin over training, with progress on stderr."""

from __future__ import annotations

import json
import os
import signal
import sys

import pytest

TINY = ("--set", "epochs=1", "--set", "depth=1", "--set", "embed_dim=8", "--set", "num_heads=2")
TWO_EPOCHS = ("--set", "epochs=2", *TINY[2:])


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
    assert done.out.splitlines()[-6:] == [
        "Wrote mine/model.safetensors",
        "Wrote mine/best.safetensors",
        "Wrote mine/config.json",
        "Wrote mine/metrics.csv",
        "Wrote mine/curves.png",
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


def test_an_export_of_an_earlier_run_is_replaced(run, here):
    words = ("train", "digits-lape", *TINY, "--export", "mine.pth")
    assert run(*words).code == 0
    first = (here / "mine.pth").read_bytes()
    (here / "mine.pth").write_bytes(b"stale")
    assert run(*words, "--resume").code == 0  # the run itself is finished, and stays
    assert len((here / "mine.pth").read_bytes()) == len(first)


def test_an_export_over_somebodys_file_names_its_option_and_can_be_forced(run, here):
    (here / "mine.pth").write_bytes(b"theirs")
    words = ("train", "digits-lape", *TINY, "--export", "mine.pth")
    assert "Pass --force to overwrite, or another --export." in run(*words).err
    assert run(*words, "--force").code == 0
    assert (here / "mine.pth").read_bytes() != b"theirs"


def stop_at(monkeypatch, step):
    """Let training be sent SIGTERM at a step."""
    from pe_inspect.training.loop import Loop

    usual = Loop.step

    def stopped(self, *batch):
        if self.step_number == step - 1:
            signal.raise_signal(signal.SIGTERM)
        return usual(self, *batch)

    monkeypatch.setattr(Loop, "step", stopped)


def test_an_interrupted_run_says_how_to_go_on_and_goes_on(run, here, monkeypatch):
    words = ("train", "digits-lape", *TWO_EPOCHS)
    assert run(*words, "--out", "whole").code == 0
    stop_at(monkeypatch, 30)
    done = run(*words, "--out", "mine")
    assert done.code == 130
    assert "Interrupted. Stopped in epoch 2 of 2, after step 30." in done.err
    assert done.err.splitlines()[-1].startswith("Go on with: pe-inspect ")
    assert done.err.splitlines()[-1].endswith(" --resume")
    monkeypatch.undo()
    monkeypatch.chdir(here)
    done = run(*words, "--out", "mine", "--resume")
    assert done.code == 0
    assert "Going on from mine/resume.safetensors: epoch 2, after step 30." in done.err
    mine, whole = ((here / name / "model.safetensors").read_bytes() for name in ("mine", "whole"))
    assert mine == whole


def test_the_newest_checkpoint_is_never_its_companion(run, here):
    run("train", "digits-lape", *TINY)
    folder = here / "checkpoints" / "digits-lape"
    moment = (folder / "model.safetensors").stat().st_mtime + 100
    os.utime(folder / "best.safetensors", (moment, moment))
    assert "model.safetensors" in run("info").out + run("info").err


def test_a_scheme_without_positions_says_once_that_it_leaves_no_snapshots(run, here):
    done = run("train", "digits-lape", *TINY, "--set", "scheme=none", "--set", "join=none")
    assert done.code == 0
    assert (
        done.err.count("Scheme none has no position embedding: the run leaves no snapshots.") == 1
    )
    folder = here / "checkpoints" / "digits-lape"
    assert not (folder / "evolution").exists()
    notes = json.loads((folder / "config.json").read_text())["notes"]
    assert any("no snapshots" in note for note in notes)


def test_tensorboard_is_written_where_it_is_installed(run, here, monkeypatch):
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    done = run("train", "digits-lape", *TINY, "--tensorboard")
    assert done.code == 2
    assert "--tensorboard needs the package tensorboard" in done.err
    written = []

    class Writer:
        def __init__(self, folder, purge_step):
            written.append((folder, purge_step))

        def add_scalar(self, name, value, step):
            written.append(name)

        def flush(self): ...

        def close(self): ...

    module = type(sys)("torch.utils.tensorboard")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    assert run("train", "digits-lape", *TINY, "--tensorboard").code == 0
    assert written[0] == ("checkpoints/digits-lape/tensorboard", 0)
    assert {"step/loss", "step/images_per_second", "epoch/test_accuracy"} <= set(written[1:])


def test_a_finished_run_is_extended_or_kept_and_never_lost(run, here):
    words = ("train", "digits-lape", *TINY, "--out", "mine")
    assert run(*words).code == 0
    done = run(*words, "--set", "seed=5")
    assert (done.code, done.out) == (2, "")
    assert "mine holds a finished run of another recipe: seed 0 there and 5 here." in done.err
    done = run(*words, "--extend", "1", "--set", "warmup_epochs=0.5")
    assert done.code == 0
    assert "Training digits-lape 1 epochs further: " in done.err
    assert "epoch 2/2" in done.err
    config = json.loads((here / "mine" / "config.json").read_text())
    assert config["extended"] == {"from_epoch": 1, "schedule": 2}
    kept = run("info", "mine/before/epoch_001")
    assert kept.out.startswith("learned_absolute · 8×8 + 1 prefix · D=8 · 1 layer · join=lape")
    assert run("evolution", "mine", "--no-figures").code == 0
    assert run("train", "digits-lape", "--extend", "0").err == (
        "Error: --extend 0 is not a whole number of at least 1.\n"
    )
