"""What lies in the folder already is worth more than a run that has come to nothing yet."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pe_inspect.errors import OutputError
from pe_inspect.training import Recipe, TrainingAbandoned, TrainingInterrupted
from pe_inspect.training.run_folder import RunFolder

Train = Callable[..., Path]
WRITERS = (
    *("save_weights", "add_metrics", "save_snapshot", "save_config", "save_resume"),
    *("save_curves", "_move"),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def interrupted(
    tiny: Recipe, run: Train, stopping_at: Callable[..., None], folder: Path
) -> dict[str, bytes]:
    """What a run of three epochs left, which was stopped in its second one."""
    stopping_at(6)
    with pytest.raises(TrainingInterrupted):
        run(tiny.with_overrides(["epochs=3"]))
    return content_of(folder)


def content_of(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_ctrl_c_in_the_first_epoch_spares_the_file_that_another_run_goes_on_from(
    tiny: Recipe,
    run: Train,
    stopping_at: Callable[..., None],
    folder: Path,
    interrupted: dict[str, bytes],
) -> None:
    stopping_at(2)
    with pytest.raises(TrainingAbandoned) as caught:
        run(tiny.with_overrides(["epochs=3", "seed=1"]), force=True)
    assert str(caught.value) == (
        f"Stopped in epoch 1 of 3, after step 2. The interrupted run in {folder} is as it was: "
        "the command that began it goes on with it, with --resume. What this one did is lost."
    )
    assert content_of(folder) == interrupted
    stopping_at(1000)
    assert run(tiny.with_overrides(["epochs=3"]), resume=True) == folder


def test_a_resume_file_is_spared_without_its_weights(
    tiny: Recipe,
    run: Train,
    stopping_at: Callable[..., None],
    folder: Path,
    interrupted: dict[str, bytes],
) -> None:
    (folder / "model.safetensors").unlink()
    stopping_at(2)
    with pytest.raises(TrainingAbandoned):
        run(tiny.with_overrides(["seed=1"]), force=True)
    assert (folder / "resume.safetensors").read_bytes() == interrupted["resume.safetensors"]


def test_a_run_beside_a_finished_one_can_be_stopped_again(
    tiny: Recipe, run: Train, stopping_at: Callable[..., None], folder: Path
) -> None:
    before = content_of(run(tiny))
    steps = []
    for step in (1, 3):
        stopping_at(step)
        with pytest.raises(TrainingInterrupted, match=r"resume\.safetensors is this one's"):
            run(tiny.with_overrides(["seed=1"]), resume=bool(steps), force=True)
        after = content_of(folder)
        steps.append(after.pop("resume.safetensors"))
        after.pop(".pe-inspect.json")
        assert after.items() <= before.items()
    assert steps[0] != steps[1]


@pytest.mark.parametrize("epochs", [1, 2])
@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_in_the_first_epoch_spares_an_interrupted_run(
    tiny: Recipe,
    run: Train,
    stopping_at: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    interrupted: dict[str, bytes],
    writer: str,
    epochs: int,
) -> None:
    if writer == ("save_resume", "save_curves")[epochs - 1]:
        pytest.skip("one epoch has nothing to go on from, two have no curves yet")

    def full(*_: object) -> None:
        raise OutputError("The disk is full.")

    stopping_at(1000)
    monkeypatch.setattr(RunFolder, writer, full)
    with pytest.raises(OutputError) as caught:
        run(tiny.with_overrides([f"epochs={epochs}", "seed=1"]), force=True)
    assert str(caught.value) == (
        f"The disk is full. The interrupted run in {folder} is as it was: "
        "the command that began it goes on with it, with --resume."
    )
    assert content_of(folder) == interrupted


def test_a_limit_of_the_system_spares_an_interrupted_run(
    tiny: Recipe,
    run: Train,
    stopping_at: Callable[..., None],
    folder: Path,
    interrupted: dict[str, bytes],
) -> None:
    resource = pytest.importorskip("resource")
    stopping_at(1000)
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(interrupted["model.safetensors"]), usual[1]))
    try:
        with pytest.raises(OutputError, match=r"Cannot write .*File too large.*is as it was"):
            run(tiny.with_overrides(["seed=1"]), force=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert content_of(folder) == interrupted


def test_nothing_of_the_earlier_run_is_left_after_the_first_epoch(
    tiny: Recipe,
    run: Train,
    stopping_at: Callable[..., None],
    folder: Path,
    interrupted: dict[str, bytes],
) -> None:
    (folder / ".first-files").mkdir()
    (folder / ".first-files" / "best.safetensors").write_bytes(b"of a run that was killed")
    stopping_at(1000)
    run(tiny.with_overrides(["epochs=1", "seed=1", "snapshot_every=2"]), force=True)
    after = content_of(folder)
    assert sorted(after) == sorted(set(interrupted) - {"resume.safetensors"})
    assert not any(
        after[name] == content
        for name, content in interrupted.items()
        if name in after and name != ".pe-inspect.json"
    )
    assert json.loads(after["config.json"])["status"] == "finished"
