"""CHECKPOINT: a file, a folder, a recipe, or nothing at all."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from pe_inspect import training
from pe_inspect.checkpoint_files import checkpoint_name
from pe_inspect.commands.shell import training as _training
from pe_inspect.commands.shell.locate import locate, newest
from pe_inspect.errors import UnreadableCheckpoint, UsageError
from pe_inspect.training import DEFAULT_RECIPE, catalog


@pytest.fixture(autouse=True)
def nothing_travels_along(monkeypatch, here):
    """Hide the checkpoints of the installation: these tests are about the working folder."""
    monkeypatch.setattr(catalog, "_PACKAGE", here / "elsewhere" / "pe_inspect")


@dataclass(frozen=True)
class Trained:
    recipes: list[str]


@pytest.fixture
def trained(monkeypatch) -> Trained:
    """Train by writing an empty file."""
    done = Trained([])

    def train(recipe, *, quiet):
        done.recipes.append(recipe.name)
        return touch(Path("checkpoints") / recipe.name / "model.safetensors").parent

    monkeypatch.setattr(_training, "train_with_progress", train)
    return done


def touch(path: Path, *, age: float = 0.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    written = 1_700_000_000 - age
    os.utime(path, (written, written))
    return path


def test_a_file_is_taken_as_it_is(here):
    touch(here / "a.pth")
    found = locate("a.pth")
    assert (found.source, found.name, found.how) == ("a.pth", "a", "")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("deit_t_lape.pth", "deit_t_lape"),
        ("ViT-B_16.npz", "ViT-B_16"),
        ("run/tiny.pe.safetensors", "tiny"),
        ("deit.small.v2.safetensors", "deit.small.v2"),
        ("vit/model.safetensors", "vit"),
        ("vit/pytorch_model.bin", "vit"),
        ("vit/model-00001-of-00002.safetensors", "vit"),
        ("run-7/checkpoint.pth", "run-7"),
    ],
)
def test_reports_are_filed_under_the_checkpoints_name(here, path, name):
    assert checkpoint_name(touch(here / path)) == name
    assert checkpoint_name(Path(path)) == name


def test_a_folder_is_called_by_its_name(here):
    touch(here / "vit" / "model.safetensors")
    assert locate("vit").name == "vit"
    assert checkpoint_name(Path("vit/.")) == "vit"


@pytest.mark.parametrize("given", ["timm:vit_tiny", "hf-hub:org/name@main", "https://x.org/a.pth"])
def test_remote_names_are_left_to_loading(given):
    assert locate(given).source == given
    assert "/" not in locate(given).name


def test_without_a_name_the_newest_checkpoint_is_taken_and_said(here):
    touch(here / "checkpoints" / "old" / "model.safetensors", age=3600)
    touch(here / "checkpoints" / "young.pth")
    touch(here / "checkpoints" / "old" / "evolution" / "epoch_001.pe.safetensors", age=-60)
    touch(here / "checkpoints" / "old" / "config.json", age=-60)
    found = locate(None)
    assert found.source == str(Path("checkpoints/young.pth"))
    assert found.how == f"no CHECKPOINT given: the newest, {found.source}"


def test_a_run_that_is_not_over_is_used_and_said(here):
    folder = touch(Path("checkpoints/digits-lape/model.safetensors")).parent
    touch(folder / "best.safetensors")
    about = {"recipe": {}, "status": "interrupted in epoch 2"}
    (folder / "config.json").write_text(json.dumps(about))
    note = "is not finished (interrupted in epoch 2); `pe-inspect train RECIPE --resume` goes on"
    for given in (None, "digits-lape", str(folder), str(folder / "model.safetensors")):
        assert note in locate(given).how
    assert locate(str(folder / "best.safetensors")).how == ""
    for over in ({**about, "status": "finished"}, {"status": "somebody else's"}, []):
        (folder / "config.json").write_text(json.dumps(over))
        assert "not finished" not in locate("digits-lape").how


def test_of_files_of_one_moment_the_default_recipes_is_taken(here):
    for name in ("a", DEFAULT_RECIPE, "z"):
        touch(here / "checkpoints" / name / "model.safetensors", age=len(name) / 10)
    assert locate(None).name == DEFAULT_RECIPE
    assert newest().name == "a"


@pytest.mark.parametrize(
    "names",
    [
        ("model-00001-of-00002.safetensors", "model.safetensors.index.json"),
        ("pytorch_model-00002-of-00002.bin", "pytorch_model.bin.index.json"),
        ("model.safetensors", "optimizer.bin"),
        ("open_clip_model.safetensors",),
    ],
)
def test_a_folder_that_is_a_checkpoint_is_taken_whole(here, names):
    touch(here / "checkpoints" / "old.pth", age=3600)
    for name in names:
        touch(here / "checkpoints" / "mine" / name)
    found = locate(None)
    assert (found.source, found.name) == (str(Path("checkpoints/mine")), "mine")
    assert found.how == f"no CHECKPOINT given: the newest, {found.source}"


def test_shards_beside_other_checkpoints_are_one(here):
    touch(here / "checkpoints" / "other.pth", age=3600)
    for name in ("model-00001-of-00002.safetensors", "model.safetensors.index.json"):
        touch(here / "checkpoints" / name)
    assert locate(None).source == "checkpoints"
    touch(here / "checkpoints" / "other.pth", age=-3600)
    assert locate(None).source == str(Path("checkpoints/other.pth"))


def test_a_folder_is_as_new_as_its_newest_shard(here):
    touch(here / "checkpoints" / "single.pth", age=60)
    for age, name in ((3600, "model-00001-of-00002.bin"), (0, "model-00002-of-00002.bin")):
        touch(here / "checkpoints" / "mine" / name, age=age)
    touch(here / "checkpoints" / "mine" / "pytorch_model.bin.index.json", age=3600)
    assert newest().name == "mine"


def test_an_empty_folder_of_checkpoints_has_no_newest(here):
    assert newest() is None


def test_without_any_checkpoint_the_default_recipe_that_travels_along_is_taken(here, trained):
    touch(here / "elsewhere" / "checkpoints" / DEFAULT_RECIPE / "model.safetensors")
    assert locate(None).name == DEFAULT_RECIPE
    assert trained.recipes == []


def test_a_recipe_is_named_without_a_file(here, trained):
    touch(here / "checkpoints" / "digits-lape" / "model.safetensors")
    found = locate("digits-lape")
    assert found.source == str(Path("checkpoints/digits-lape"))
    assert found.name == "digits-lape"
    assert trained.recipes == []


def test_a_recipe_without_a_checkpoint_is_trained_first_and_says_how_long(
    here, trained, capsys, monkeypatch
):
    found = locate("digits-lape")
    assert trained.recipes == ["digits-lape"]
    assert found.source == str(Path("checkpoints/digits-lape"))
    said = capsys.readouterr().err
    assert "The recipe digits-lape has no checkpoint yet. It is trained now: " in said
    assert _training.expected_time(training.recipes["digits-lape"]) in said


def test_no_train_refuses_and_says_what_would_make_it(here, trained):
    with pytest.raises(UsageError, match=r"--no-train refuses .* `pe-inspect train digits-lape`"):
        locate("digits-lape", no_train=True)
    assert trained.recipes == []


def test_a_missing_file_is_answered_with_the_nearest(here):
    touch(here / "ckpt.pth")
    expected = r"There is no file, folder or recipe 'chkpt\.pth'\. Did you mean ckpt\.pth\? "
    with pytest.raises(UnreadableCheckpoint, match=expected):
        locate("chkpt.pth")
    with pytest.raises(UnreadableCheckpoint, match="Did you mean digits-lape"):
        locate("digit-lape")
    with pytest.raises(UnreadableCheckpoint, match="recipe ''"):
        locate("")


@pytest.mark.parametrize(("name", "to"), [("dangling.pth", "gone.pth"), ("loop.pth", "loop.pth")])
def test_a_link_that_leads_nowhere_is_called_one(here, name, to):
    (here / name).symlink_to(to)
    with pytest.raises(UnreadableCheckpoint, match=f"^{name} is a link .* nowhere: to {to}. Give"):
        locate(name)


@pytest.fixture
def unsearchable(monkeypatch, here):
    """The folder `noread`, of which the system tells nothing; root would be told all the same."""
    original = os.stat

    def refuse(path, *rest, **options):
        if "noread" in Path(path).parts[:-1]:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return original(path, *rest, **options)

    touch(here / "noread" / "vit.pth")
    monkeypatch.setattr(os, "stat", refuse)
    return "noread"


@pytest.mark.parametrize("words", [["info"], ["report"], ["evolution"], ["similarity"]])
def test_a_folder_that_cannot_be_searched_is_code_3(run, unsearchable, words):
    for given in (unsearchable, f"{unsearchable}/vit.pth"):
        done = run(*words, given)
        assert (done.code, done.out) == (3, "")
        assert f"Error: {unsearchable}" in done.err
        assert "cannot be reached: Permission denied." in done.err


def test_checkpoints_that_cannot_be_searched_are_code_3(run, unsearchable, here):
    (here / unsearchable).rename(here / "checkpoints")
    (here / "checkpoints" / unsearchable).mkdir()
    touch(here / "checkpoints" / unsearchable / "vit.pth")
    done = run("info")
    assert done.code == 3
    assert f"checkpoints/{unsearchable}/" in done.err


@pytest.mark.parametrize("words", [["info"], ["report"], ["evolution"], ["doctor", "--against"]])
def test_a_name_that_is_too_long_is_code_3(run, checkpoint, words):
    done = run(words[0], *([checkpoint] if words[1:] else []), *words[1:], "x" * 300)
    assert done.code == 3
    assert "xxx cannot be reached: File name too long. Check its name" in done.err
