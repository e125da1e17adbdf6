"""Training replaces no run without --force, and goes on with a finished one by --extend."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pe_inspect.errors import OutputError, UsageError
from pe_inspect.training import Recipe, TrainingInterrupted
from pe_inspect.training.lock import locked
from pe_inspect.training.loop import Loop
from pe_inspect.training.schedule import learning_rate

Train = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run"


def content_of(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def config_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["seed=5"], "holds a finished run of another recipe: seed 0 there and 5 here. Train into"),
        (["epochs=1"], "finished run of another recipe: epochs 2 there and 1 here"),
        (["img_size=6x8", "join=input"], "join lape there and input here"),
        ([], "holds this run already, finished. To keep it: --resume leaves it as it is, --extend"),
    ],
)
def test_a_finished_run_is_not_replaced(
    tiny: Recipe, run: Train, folder: Path, changes: list[str], said: str
) -> None:
    before = content_of(run(tiny))
    with pytest.raises(OutputError) as caught:
        run(tiny.with_overrides(changes))
    assert said in str(caught.value)
    assert all(word in str(caught.value) for word in ("--resume", "--out", "--force", "--extend"))
    assert content_of(folder) == before
    assert config_of(run(tiny.with_overrides(["seed=5"]), force=True))["seed"] == 5


def test_an_unfinished_run_of_another_recipe_is_not_replaced(
    tiny: Recipe, run: Train, stopping_at: Callable[..., None], folder: Path
) -> None:
    stopping_at(6)
    with pytest.raises(TrainingInterrupted):
        run(tiny)
    before = content_of(folder)
    with pytest.raises(OutputError) as caught:
        run(tiny.with_overrides(["seed=5", "flip=false"]))
    assert str(caught.value) == (
        f"{folder} holds an unfinished run (interrupted in epoch 2) of another recipe: "
        "flip true there and false here, seed 0 there and 5 here. To go on with it: --set "
        "flip=true --set seed=0 --resume. Else train into another --out, or pass --force to "
        "replace it."
    )
    with pytest.raises(UsageError, match=r"begun with \(--set seed=0\), or train this one into"):
        run(tiny.with_overrides(["seed=5"]), resume=True)
    assert content_of(folder) == before
    stopping_at(1000)
    assert config_of(run(tiny))["status"] == "finished"  # the same one may begin anew


@pytest.mark.parametrize("name", ["model.safetensors", "resume.safetensors"])
def test_files_that_no_config_tells_of_are_not_replaced(
    tiny: Recipe, run: Train, folder: Path, name: str
) -> None:
    run(tiny)
    for file in folder.glob("*.*"):
        file.unlink()
    (folder / name).write_bytes(b"weights")
    (folder / ".pe-inspect.json").write_text(json.dumps({"files": [name]}))
    with pytest.raises(OutputError, match=r"another --out|--force"):
        run(tiny)
    assert (folder / name).read_bytes() == b"weights"


def test_a_config_that_cannot_be_read_protects_its_run(
    tiny: Recipe, run: Train, folder: Path
) -> None:
    run(tiny)
    (folder / "config.json").write_text('{"status": "finished"}')
    before = content_of(folder)
    with pytest.raises(UsageError, match=r"cannot be read as that of a run\. Train into another"):
        run(tiny)
    assert content_of(folder) == before


def test_a_locked_folder_loses_nothing(tiny: Recipe, run: Train, folder: Path) -> None:
    before = content_of(run(tiny))
    with locked(folder), pytest.raises(OutputError, match="Another run trains into"):
        run(tiny.with_overrides(["seed=5"]), force=True)
    assert content_of(folder) == before


def test_an_extension_is_a_schedule_of_its_own_from_the_finished_weights(
    tiny: Recipe, run: Train, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = content_of(run(tiny))
    seen: list[tuple[int, float, torch.Tensor]] = []
    usual = Loop.step

    def noted(self: Loop, *batch: torch.Tensor) -> torch.Tensor:
        seen.append((self.step_number, self.lr, self.model.pos_embed.detach().clone()))
        return usual(self, *batch)

    monkeypatch.setattr(Loop, "step", noted)
    said: list[str] = []
    assert run(tiny, extend=3, say=said.append) == folder
    whole = tiny.with_overrides(["epochs=3"])
    assert [step for step, _, _ in seen] == list(range(8, 20))
    assert [rate for _, rate, _ in seen] == [learning_rate(whole, i, 4) for i in range(12)]
    kept = load_file(folder / "before" / "epoch_002" / "model.safetensors")
    assert torch.equal(seen[0][2], kept["pos_embed"])
    assert said[0].startswith("Epochs 3 to 5 extend a finished run of 2: from its weights as they")
    assert said[1] == f"Going on from epoch 2, which {folder}/before/epoch_002 keeps."

    rows, config = rows_of(folder), config_of(folder)
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert [row["schedule"] for row in rows] == ["1", "1", "2", "2", "2"]
    assert config["extended"] == {"from_epoch": 2, "schedule": 2}
    assert (config["recipe"]["epochs"], config["recipe"]["extends"]) == (5, 2)
    assert (config["metrics"]["epochs"], config["metrics"]["steps"]) == (5, 20)
    assert any("schedule of their own" in note for note in config["notes"])
    names = {name for name in content_of(folder) if name.startswith("evolution")}
    assert names == {f"evolution/epoch_00{n}.pe.safetensors" for n in range(6)}
    for name in ("model.safetensors", "config.json", "metrics.csv"):
        assert (folder / "before" / "epoch_002" / name).read_bytes() == finished[name]


def test_an_extension_shuffles_anew(tiny: Recipe, run: Train) -> None:
    run(tiny, extend=0)
    loop_epochs = []

    def progress(now: Any) -> None:
        loop_epochs.append((now.epoch, now.epochs, now.step, now.steps))

    run(tiny, extend=1, progress=progress)
    assert loop_epochs == [(3, 3, 12, 12)]


@pytest.mark.parametrize("step", [9, 14])
def test_an_interrupted_extension_is_resumed_to_the_byte(
    tiny: Recipe, run: Train, stopping_at: Callable[..., None], folder: Path, step: int
) -> None:
    run(tiny)
    run(tiny, extend=2)
    expected = content_of(folder)
    stopping_at(1000)
    run(tiny, force=True)
    assert not (folder / "before").exists()
    stopping_at(step)
    with pytest.raises(TrainingInterrupted, match=f"after step {step}"):
        run(tiny, extend=2)
    for options in ({"extend": 2}, {"extend": 3}, {"extend": 3, "resume": True}):
        with pytest.raises(UsageError, match=r"is interrupted in epoch \d; a finished one can be"):
            run(tiny, **options)
    run(tiny, extend=2, resume=True)
    after = content_of(folder)
    assert after["model.safetensors"] == expected["model.safetensors"]
    assert [{**row, "seconds": ""} for row in rows_of(folder)] == [
        {**row, "seconds": ""}
        for row in csv.DictReader(expected["metrics.csv"].decode().splitlines())
    ]
    assert config_of(folder)["notes"] == json.loads(expected["config.json"])["notes"]
    said: list[str] = []
    run(tiny, extend=2, resume=True, say=said.append)
    assert said == [f"{folder} holds the finished run already."]


def test_an_extension_can_be_extended_with_another_rate(tiny: Recipe, run: Train) -> None:
    run(tiny)
    run(tiny, extend=1)
    folder = run(tiny.with_overrides(["lr=0.0001", "warmup_epochs=0.25"]), extend=1)
    assert [row["schedule"] for row in rows_of(folder)] == ["1", "1", "2", "3"]
    assert config_of(folder)["recipe"]["lr"] == 0.0001
    assert {path.name for path in (folder / "before").iterdir()} == {"epoch_002", "epoch_003"}


@pytest.mark.parametrize(
    ("changes", "extend", "said"),
    [
        (["seed=1"], 1, r"is of another recipe: seed 0 there and 1 here"),
        (["batch_size=4"], 1, "batch_size 8 there and 4 here"),
        ([], -1, "--extend is -1; it must be at least 1, epochs to add"),
    ],
)
def test_what_cannot_be_extended_stays(
    tiny: Recipe, run: Train, folder: Path, changes: list[str], extend: int, said: str
) -> None:
    before = content_of(run(tiny))
    with pytest.raises(UsageError, match=said):
        run(tiny.with_overrides(changes), extend=extend)
    assert content_of(folder) == before


def test_there_must_be_something_to_extend(tiny: Recipe, run: Train) -> None:
    with pytest.raises(UsageError, match=r"run holds no run to extend\. Leave --extend out"):
        run(tiny, extend=1)
    with pytest.raises(UsageError, match="extends is set by --extend alone"):
        run(tiny.with_overrides(["extends=1"]))


def test_damaged_weights_are_not_extended(tiny: Recipe, run: Train, folder: Path) -> None:
    run(tiny)
    (folder / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(UsageError, match=r"model\.safetensors cannot be gone on from"):
        run(tiny, extend=1)
    assert not (folder / "before").exists()


def test_the_advice_on_a_long_warm_up_is_another_one_than_was_typed(
    tiny: Recipe, run: Train
) -> None:
    said: list[str] = []
    run(tiny.with_overrides(["epochs=1", "warmup_epochs=1"]), say=said.append)
    assert said[0].endswith("A shorter one: --set warmup_epochs=0.1.")
