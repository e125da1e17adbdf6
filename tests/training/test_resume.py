"""An interrupted run that is resumed leaves the very bytes of one that was not."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pe_inspect.errors import OutputError, UsageError
from pe_inspect.training import Recipe, TrainingInterrupted, train
from pe_inspect.training.interrupt import deferred_interrupt
from pe_inspect.training.lock import LOCK, locked
from pe_inspect.training.loop import Loop
from pe_inspect.training.resume import Standing, read_resume, resume_content
from pe_inspect.training.run_folder import RunFolder

Train = Callable[..., Path]

EVERYTHING = (
    *("pos_drop_rate=0.1", "proj_drop_rate=0.1", "attn_drop_rate=0.1", "drop_path_rate=0.2"),
    *("ema_decay=0.9", "accumulate=2", "mixup=0.8", "cutmix=1.0", "erasing=0.25"),
    *("augment=trivialaugment", "mixup_off_epoch=2"),
)
DEIT3 = ("optimizer=lamb", "loss=bce", "augment=3-augment", "color_jitter=0.3", "mixup=0.8")


@pytest.fixture
def run(pictures: Path, tmp_path: Path) -> Train:
    def run(recipe: Recipe, out: str = "run", **options: object) -> Path:
        return train(recipe, out=tmp_path / out, root=pictures, device="cpu", **options)

    return run


def hashes(folder: Path) -> dict[str, object]:
    """Everything that a run leaves, without its seconds."""
    with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
        rows = [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]
    files = sorted(folder.rglob("*.safetensors"))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    kept = ("status", "best", "model", "recipe", "data", "weights", "precision")
    return {
        "rows": rows,
        **{str(file.relative_to(folder)): file.read_bytes() for file in files},
        **{key: config[key] for key in kept},
        "metrics": {k: v for k, v in config["metrics"].items() if k != "seconds"},
    }


@pytest.fixture(scope="module")
def whole(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict]:
    """A function that trains a recipe without a stop, once."""
    known: dict[tuple[str, ...], dict] = {}

    def whole(recipe: Recipe, changes: tuple[str, ...]) -> dict:
        if changes not in known:
            out = tmp_path_factory.mktemp("whole")
            known[changes] = hashes(train(recipe, out=out, root=pictures, device="cpu"))
        return known[changes]

    return whole


@pytest.mark.parametrize("step", [1, 4, 6, 11])
@pytest.mark.parametrize("changes", [(), EVERYTHING, DEIT3], ids=["plain", "everything", "deit3"])
def test_a_resumed_run_ends_in_the_same_bytes(
    tiny: Recipe,
    run: Train,
    stopping_at: Callable[..., None],
    whole: Callable[..., dict],
    step: int,
    changes: tuple[str, ...],
) -> None:
    recipe = tiny.with_overrides(["epochs=3", *changes])
    expected = whole(recipe, changes)
    stopping_at(step)
    with pytest.raises(TrainingInterrupted, match=f"after step {step}"):
        run(recipe)
    torch.manual_seed(step)
    folder = run(recipe, resume=True)
    assert hashes(folder) == expected
    assert not (folder / "resume.safetensors").exists()


def test_a_run_over_images_on_the_disk_is_resumed_to_the_byte_too(
    tiny: Recipe, run: Train, stopping_at: Callable[..., None], whole: Callable[..., dict]
) -> None:
    changes = ("stream=on", "shift=0", "augment=randaugment", "cutmix=1.0")
    recipe = tiny.with_overrides(changes)
    expected = whole(recipe, changes)
    stopping_at(6)
    with pytest.raises(TrainingInterrupted, match="after step 6"):
        run(recipe)
    assert hashes(run(recipe, resume=True)) == expected


def test_a_run_can_be_stopped_again_and_again(
    tiny: Recipe, run: Train, stopping_at: Callable[..., None], whole: Callable[..., dict]
) -> None:
    recipe = tiny.with_overrides(["epochs=3", *EVERYTHING])
    expected = whole(recipe, EVERYTHING)
    for step in (2, 5, 9):
        stopping_at(step, signal.SIGTERM)
        with pytest.raises(TrainingInterrupted, match=f"after step {step}"):
            run(recipe, resume=True)
    assert hashes(run(recipe, resume=True)) == expected


def test_a_run_that_was_killed_goes_on_from_its_last_epoch(
    tiny: Recipe, run: Train, monkeypatch: pytest.MonkeyPatch, whole: Callable[..., dict]
) -> None:
    recipe = tiny.with_overrides(["epochs=3"])
    usual = Loop.step

    def killed(self: Loop, *batch: torch.Tensor) -> torch.Tensor:
        if self.step_number == 10:
            raise MemoryError
        return usual(self, *batch)

    monkeypatch.setattr(Loop, "step", killed)
    with pytest.raises(MemoryError):
        run(recipe)
    monkeypatch.undo()
    said: list[str] = []
    folder = run(recipe, resume=True, say=said.append)
    assert said[0] == f"Going on from {folder / 'resume.safetensors'}: epoch 3, after step 8."
    assert hashes(folder) == whole(recipe, ())


def test_a_run_that_an_earlier_version_was_interrupted_in_goes_on(
    tiny: Recipe,
    run: Train,
    stopping_at: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    whole: Callable[..., dict],
) -> None:
    recipe, usual = tiny.with_overrides(["epochs=3"]), Recipe.to_dict
    new = ("schedule", "decayed", "start", "extends")
    stopping_at(5)
    with monkeypatch.context() as earlier:
        earlier.setattr(
            Recipe, "to_dict", lambda each: {k: v for k, v in usual(each).items() if k not in new}
        )
        with pytest.raises(TrainingInterrupted):
            run(recipe)
    stopping_at(1000)
    assert hashes(run(recipe, resume=True)) == whole(recipe, ())


def test_what_lies_in_the_folder_is_said(
    tiny: Recipe, run: Train, stopping_at: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    stopping_at(2)
    with pytest.raises(TrainingInterrupted):
        run(tiny, resume=True, say=said.append)
    assert said[0].endswith("run holds no interrupted run: this one begins at its beginning.")
    monkeypatch.undo()
    run(tiny, say=said.append)
    assert said[1].endswith(
        "run holds an interrupted run, which this one replaces after its first epoch; "
        "--resume goes on with it instead."
    )
    run(tiny, resume=True, say=said.append)
    assert said[2].endswith("run holds the finished run already.")


def test_an_earlier_run_stays_until_the_resumed_one_has_an_epoch(
    tiny: Recipe, run: Train, stopping_at: Callable[..., None]
) -> None:
    before = hashes(run(tiny))
    other = tiny.with_overrides(["seed=1"])
    expected = hashes(run(other, "whole"))
    stopping_at(2)
    with pytest.raises(TrainingInterrupted, match=r"The earlier run in .* is as it was"):
        run(other, force=True)
    folder = run(other, resume=True)
    assert hashes(folder)["model.safetensors"] != before["model.safetensors"]
    assert hashes(folder) == expected


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["lr=0.1"], "is of another recipe: lr 0.001 there and 0.1 here. Continue it with"),
        (["join=input"], "is of another recipe: join lape there and input here"),
        (["epochs=4"], r"epochs 3 there and 4 here \(every step's learning rate hangs on it\)"),
    ],
)
def test_another_recipe_is_refused_by_what_differs(
    tiny: Recipe, run: Train, stopping_at: Callable[..., None], changes: list[str], said: str
) -> None:
    recipe = tiny.with_overrides(["epochs=3"])
    stopping_at(5)
    with pytest.raises(TrainingInterrupted):
        run(recipe)
    with pytest.raises(UsageError, match=said):
        run(recipe.with_overrides(changes), resume=True)
    run(recipe.with_overrides(["snapshot_every=2"]), resume=True)
    with pytest.raises(UsageError, match=said):
        run(recipe.with_overrides(changes), resume=True)


def test_other_images_are_refused(
    tiny: Recipe, run: Train, stopping_at: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping_at(5)
    with pytest.raises(TrainingInterrupted):
        run(tiny)
    monkeypatch.setattr("pe_inspect.training.run.describe_data", lambda _: {"num_train": 31})
    with pytest.raises(UsageError, match="was trained on other images"):
        run(tiny, resume=True)


@pytest.mark.parametrize("part", ["header", "tensors"])
def test_no_bit_of_the_file_may_change(tiny: Recipe, tmp_path: Path, part: str) -> None:
    path = tmp_path / "resume.safetensors"
    standing = Standing(epoch=3, step=8, rows=[{"epoch": 1}, {"epoch": 2}])
    content = resume_content(tiny, standing, {"a": torch.arange(6.0).view(2, 3)})
    header = 8 + int.from_bytes(content[:8], "little")
    path.write_bytes(content)
    assert read_resume(path, tiny)[0] == standing
    where = range(0, header, 3) if part == "header" else range(header, len(content))
    for place in where:
        bit = 1 << place % 7
        path.write_bytes(content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :])
        with pytest.raises(UsageError, match=r"resume\.safetensors is damaged"):
            read_resume(path, tiny)


def test_a_standing_of_an_earlier_epoch_is_not_believed(
    tiny: Recipe, run: Train, stopping_at: Callable[..., None], tmp_path: Path
) -> None:
    stopping_at(5)
    with pytest.raises(TrainingInterrupted):
        run(tiny)
    path = tmp_path / "run" / "resume.safetensors"
    content = path.read_bytes()
    path.write_bytes(
        content.replace(rb"\"standing\": {\"epoch\": 2", rb"\"standing\": {\"epoch\": 1")
    )
    assert path.read_bytes() != content
    with pytest.raises(UsageError, match=r"resume\.safetensors is damaged"):
        run(tiny, resume=True)


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flip(content: bytes) -> bytes:
    return content[:-100] + bytes([content[-100] ^ 1]) + content[-99:]


@pytest.mark.parametrize("damage", [_cut, _flip, lambda _: b"", lambda _: b"x" * 100])
def test_a_damaged_file_is_refused(
    tiny: Recipe, run: Train, stopping_at: Callable[..., None], tmp_path: Path, damage: Callable
) -> None:
    stopping_at(5)
    with pytest.raises(TrainingInterrupted):
        run(tiny)
    path = tmp_path / "run" / "resume.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UsageError, match=r"resume\.safetensors is damaged or was not written by"):
        run(tiny, resume=True)
    path.unlink()
    with pytest.raises(UsageError, match=r"is interrupted in epoch 2, and its resume\.safetensors"):
        run(tiny, resume=True)
    (tmp_path / "run" / "config.json").write_text("{")
    with pytest.raises(UsageError, match=r"config\.json cannot be read as that of a run"):
        run(tiny, resume=True)


def test_a_second_run_into_the_folder_is_refused(tiny: Recipe, run: Train, tmp_path: Path) -> None:
    with (
        locked(tmp_path / "run"),
        pytest.raises(OutputError) as caught,
    ):
        run(tiny)
    message = str(caught.value)
    assert message.startswith(f"Another run trains into {tmp_path / 'run'} (process {os.getpid()}")
    assert message.endswith("Wait for its end, stop it, or choose another --out.")
    assert not (tmp_path / "run").exists()


@pytest.mark.subprocess
def test_the_lock_of_a_process_that_died_is_taken_over(tmp_path: Path) -> None:
    holding = (
        "import sys, time, pathlib\n"
        "from pe_inspect.training.lock import locked\n"
        "with locked(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holding, str(tmp_path)], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(OutputError, match=f"process {holder.pid} on "), locked(tmp_path):
            pass
        holder.kill()
    assert (tmp_path / LOCK).exists()
    with locked(tmp_path):
        assert str(os.getpid()) in (tmp_path / LOCK).read_text()
    assert not (tmp_path / LOCK).exists()


def test_a_lock_that_is_waited_for_is_not_held_twice(tmp_path: Path) -> None:
    held: list[int] = []
    most: list[int] = []

    def work() -> None:
        for _ in range(30):
            try:
                with locked(tmp_path / "folder"):
                    held.append(1)
                    most.append(len(held))
                    time.sleep(0)
                    held.pop()
            except OutputError:
                continue

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) == {1}


def test_sigterm_is_heard_and_a_patient_run_hears_it_twice() -> None:
    with deferred_interrupt(patient=True) as asked:
        for _ in range(2):
            signal.raise_signal(signal.SIGTERM)
        assert asked.is_set()


def test_a_file_size_limit_loses_nothing_that_was_saved(
    tiny: Recipe, run: Train, tmp_path: Path
) -> None:
    resource = pytest.importorskip("resource")
    folder = run(tiny)
    before = hashes(folder)
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6_000, usual[1]))
    try:
        with pytest.raises(OutputError, match=r"Cannot write .*File too large.*Nothing was left"):
            run(tiny, force=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert load_file(folder / "model.safetensors").keys()
    assert (folder / "model.safetensors").read_bytes() == before["model.safetensors"]


@pytest.mark.parametrize(
    ("stopped", "kept"),
    [
        (None, "There is nothing yet that --resume could go on from."),
        (2, "--resume goes on after step 2, once there is room."),
        (6, "--resume goes on after step 6, once there is room."),
    ],
)
def test_a_full_disk_says_what_can_be_gone_on_from(
    tiny: Recipe,
    run: Train,
    stopping_at: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    stopped: int | None,
    kept: str,
) -> None:
    if stopped:
        stopping_at(stopped)
        with pytest.raises(TrainingInterrupted):
            run(tiny)

    def full(*_: object) -> None:
        raise OutputError("The disk is full.")

    monkeypatch.setattr(RunFolder, "save_weights", full)
    with pytest.raises(OutputError) as caught:
        run(tiny, resume=bool(stopped))
    assert str(caught.value).startswith("The disk is full. ")
    assert str(caught.value).endswith(kept)


def test_a_disk_without_room_stops_before_training(
    tiny: Recipe, run: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(OutputError, match=r"has 0\.0 MB left; this run needs about 0\.\d MB"):
        run(tiny)
    assert not (tmp_path / "run").exists()
