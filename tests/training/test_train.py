from __future__ import annotations

import csv
import json
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from closeness import float32_tolerance
from safetensors.torch import load_file

from pe_inspect.data import load
from pe_inspect.data.device_loader import DeviceLoader
from pe_inspect.errors import OutputError, UsageError
from pe_inspect.figures.training import write_curves
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.models import ViTConfig
from pe_inspect.models.vit import VisionTransformer
from pe_inspect.training import (
    Progress,
    Recipe,
    TrainingInterrupted,
    run_folder,
    train,
)
from pe_inspect.training.interrupt import deferred_interrupt
from pe_inspect.training.loop import Loop
from pe_inspect.training.optimizer import parameter_groups

Train = Callable[..., Path]


class Clock:
    """Seconds since 2000 that pass one by one."""

    def __init__(self) -> None:
        self.now = 946_684_800.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
def run(pictures: Path, tmp_path: Path) -> Train:
    def run(recipe: Recipe, out: str = "run", **options: object) -> Path:
        keywords = {"root": pictures, "device": "cpu", "clock": Clock()}
        keywords |= {"draw_curves": write_curves, **options}
        return train(recipe, out=tmp_path / out, **keywords)

    return run


def config_of(folder: Path) -> dict:
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def content_of(folder: Path) -> dict[str, bytes]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def weights_of(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_training_itself_draws_nothing(tiny: Recipe, run: Train) -> None:
    folder = run(tiny, draw_curves=None)
    assert not list(folder.glob("*.png"))
    assert (folder / "metrics.csv").is_file()


def test_the_loss_falls_on_the_digits() -> None:
    recipe = Recipe.from_dict(
        {
            "name": "falling",
            "data": "digits",
            "batch_size": 64,
            "lr": 3e-3,
            "warmup_epochs": 0,
            "model": {
                "img_size": [8, 8],
                "patch_size": [2, 4],
                "in_chans": 1,
                "num_classes": 10,
                "embed_dim": 32,
                "depth": 2,
                "num_heads": 2,
                "join": "lape",
            },
        }
    )
    loop = Loop(recipe, load("digits"), torch.device("cpu"))
    losses = [float(loss) for number in (1, 2, 3) for loss in loop.epoch(number)]
    assert losses[0] == pytest.approx(np.log(10), abs=0.1)
    assert np.mean(losses[-5:]) < 0.75 * losses[0]


@pytest.mark.parametrize("join", ["input", "lape"])
def test_a_run_leaves_a_whole_folder(tiny: Recipe, run: Train, join: str) -> None:
    folder = run(tiny.with_overrides([f"join={join}"]))
    assert sorted(content_of(folder)) == [
        ".pe-inspect.json",
        "best.safetensors",
        "config.json",
        "curves.png",
        "evolution/epoch_000.pe.safetensors",
        "evolution/epoch_001.pe.safetensors",
        "evolution/epoch_002.pe.safetensors",
        "metrics.csv",
        "model.safetensors",
    ]
    rows, config = rows_of(folder), config_of(folder)
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert [row["step"] for row in rows] == ["4", "8"]
    assert config["status"] == "finished"
    assert config["model"] == tiny.with_overrides([f"join={join}"]).model.to_dict()
    assert config["metrics"]["test_accuracy"] == float(rows[-1]["test_accuracy"])
    assert config["data"]["label"] == "halves"
    assert config["data"]["num_test"] == 8
    assert config["saved_at"].startswith("2000-01-01T00:00:")
    assert set(config["versions"]) == {
        "pe_inspect",
        "python",
        "torch",
        "timm",
        "numpy",
        "safetensors",
    }


def test_the_accuracy_is_that_of_the_stored_weights(
    tiny: Recipe, run: Train, pictures: Path
) -> None:
    folder = run(tiny.with_overrides(["stored_as=float16", "epochs=6", "lr=0.01"]))
    config, weights = config_of(folder), load_file(folder / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}
    model = VisionTransformer(ViTConfig.from_dict(config["model"])).eval()
    model.load_state_dict(weights)
    data = load("imagefolder:halves", root=pictures)
    facts = config["data"]
    loader = DeviceLoader(
        data.test, mean=tuple(facts["mean"]), std=tuple(facts["std"]), batch_size=8
    )
    images, labels = next(loader.in_order())
    with torch.no_grad():
        logits = model(images)
    accuracy = float((logits.argmax(1) == labels).float().mean())
    loss = float(torch.nn.functional.cross_entropy(logits, labels))
    assert config["metrics"]["test_accuracy"] == accuracy
    assert config["metrics"]["test_loss"] == pytest.approx(loss, abs=float32_tolerance(loss, 32))


def test_the_last_snapshot_is_the_trained_table(tiny: Recipe, run: Train) -> None:
    folder = run(tiny.with_overrides(["epochs=5", "snapshot_every=3"]))
    names = [file.name for file in sorted((folder / "evolution").iterdir())]
    assert names == [f"epoch_00{n}.pe.safetensors" for n in (0, 3, 5)]
    weights = load_file(folder / "model.safetensors")
    pe = PositionEmbedding.open(folder / "evolution" / names[-1])
    assert (pe.family, pe.join, pe.grid_size) == ("learned_absolute", "lape", (3, 4))
    assert pe.source == "tiny, epoch 5"
    np.testing.assert_array_equal(pe.tables[0].values, weights["pos_embed"][0])
    norm = pe.norms_named("pe_norm")["blocks.1"]
    np.testing.assert_array_equal(norm.weight, weights["blocks.1.pe_norm.weight"])
    assert norm.eps == 1e-6


def test_the_same_seed_gives_the_same_bytes(tiny: Recipe, run: Train) -> None:
    torch.manual_seed(1)
    first = content_of(run(tiny, "first"))
    torch.manual_seed(2)
    second = content_of(run(tiny, "second"))
    other = content_of(run(tiny.with_overrides(["seed=1"]), "other"))
    assert first == second
    assert first["model.safetensors"] != other["model.safetensors"]


def test_training_leaves_the_callers_random_state_alone(tiny: Recipe, run: Train) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run(tiny)
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)


def test_norms_biases_and_embeddings_do_not_decay(tiny: Recipe) -> None:
    model = VisionTransformer(tiny.model)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed, kept = ({names[id(p)] for p in g["params"]} for g in parameter_groups(model, 0.1))
    assert {"pos_embed", "cls_token", "norm.weight", "blocks.0.pe_norm.weight"} <= kept
    assert {"patch_embed.proj.weight", "blocks.1.mlp.fc1.weight", "head.weight"} <= decayed
    assert not any(name.endswith("bias") for name in decayed)
    assert decayed | kept == set(names.values())


def test_progress_tells_where_the_run_stands(tiny: Recipe, run: Train) -> None:
    seen: list[Progress] = []
    run(tiny, progress=seen.append)
    assert [(p.epoch, p.step, p.steps) for p in seen] == [(1, 4, 8), (2, 8, 8)]
    assert seen[0].accuracy is None
    assert seen[1].accuracy is not None
    assert seen[1].seconds_left == 0
    assert seen[0].seconds_left > 0
    assert seen[0].images_per_second == pytest.approx(8 * 4)


def test_a_second_run_replaces_the_first_and_its_history(tiny: Recipe, run: Train) -> None:
    run(tiny.with_overrides(["epochs=3"]))
    folder = run(tiny.with_overrides(["epochs=1"]), force=True)
    assert len(rows_of(folder)) == 1
    assert len(list((folder / "evolution").iterdir())) == 2


def test_a_file_of_somebody_else_is_left_alone(tiny: Recipe, run: Train, tmp_path: Path) -> None:
    theirs = tmp_path / "run" / "config.json"
    theirs.parent.mkdir()
    theirs.write_text("theirs")
    with pytest.raises(OutputError, match=r"config\.json exists and was not made by pe-inspect"):
        run(tiny)
    assert theirs.read_text() == "theirs"
    assert config_of(run(tiny, force=True))["status"] == "finished"


def test_ctrl_c_finishes_the_step_and_saves_it(
    tiny: Recipe, run: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    step = Loop.step

    def interrupted(self: Loop, *batch: torch.Tensor) -> torch.Tensor:
        loss = step(self, *batch)
        if self.step_number == 6:
            signal.raise_signal(signal.SIGINT)
        return loss

    monkeypatch.setattr(Loop, "step", interrupted)
    usual = signal.getsignal(signal.SIGINT)
    with pytest.raises(TrainingInterrupted) as caught:
        run(tiny)
    folder = tmp_path / "run"
    assert str(caught.value) == (
        f"Stopped in epoch 2 of 2, after step 6. The weights of that step are in {folder}; "
        "--resume goes on from there."
    )
    config = config_of(folder)
    assert config["status"] == "interrupted in epoch 2"
    assert (config["metrics"]["epochs"], config["metrics"]["steps"]) == (1, 6)
    assert "test_accuracy" not in config["metrics"]
    assert len(rows_of(folder)) == 1
    assert load_file(folder / "model.safetensors")["pos_embed"].isfinite().all()
    assert signal.getsignal(signal.SIGINT) is usual


def test_ctrl_c_in_the_first_epoch_spares_an_earlier_run(
    tiny: Recipe, run: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run(tiny)
    before = content_of(folder)
    step = Loop.step

    def interrupted(self: Loop, *batch: torch.Tensor) -> torch.Tensor:
        signal.raise_signal(signal.SIGINT)
        return step(self, *batch)

    monkeypatch.setattr(Loop, "step", interrupted)
    with pytest.raises(TrainingInterrupted) as caught:
        run(tiny, force=True)
    assert str(caught.value) == (
        f"Stopped in epoch 1 of 2, after step 1. The earlier run in {folder} is as it was, and "
        "resume.safetensors is this one's; --resume goes on from there."
    )
    assert {k: v for k, v in content_of(folder).items() if k in before and k[0] != "."} == {
        k: v for k, v in before.items() if k[0] != "."
    }


def test_ctrl_c_in_the_first_epoch_saves_the_step_where_there_is_nothing_else(
    tiny: Recipe, run: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    step = Loop.step

    def interrupted(self: Loop, *batch: torch.Tensor) -> torch.Tensor:
        signal.raise_signal(signal.SIGINT)
        return step(self, *batch)

    monkeypatch.setattr(Loop, "step", interrupted)
    with pytest.raises(TrainingInterrupted, match="weights of that step"):
        run(tiny)
    assert config_of(tmp_path / "run")["metrics"]["steps"] == 1
    assert not (tmp_path / "run" / "metrics.csv").exists()


@pytest.fixture
def heeded_ctrl_c() -> Iterator[None]:
    """Python's own handler, even where the test run was started in the background."""
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, usual)


@pytest.mark.usefixtures("heeded_ctrl_c")
def test_the_second_ctrl_c_does_not_wait() -> None:
    with deferred_interrupt() as asked:
        signal.raise_signal(signal.SIGINT)
        assert asked.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_training_outside_the_main_thread_does_not_raise(tiny: Recipe, run: Train) -> None:
    thread = threading.Thread(target=run, args=(tiny,))
    thread.start()
    thread.join()
    run(tiny, force=True)


def test_a_disk_that_fills_up_loses_no_saved_epoch(
    tiny: Recipe, run: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    save_weights = run_folder.RunFolder.save_weights

    def save_once(self: run_folder.RunFolder, *weights: object) -> Path:
        if self.rows:
            monkeypatch.setattr("os.fsync", _no_space)
        return save_weights(self, *weights)

    monkeypatch.setattr(run_folder.RunFolder, "save_weights", save_once)
    with pytest.raises(OutputError, match="No space left on device") as caught:
        run(tiny)
    assert str(caught.value).endswith("--resume goes on after epoch 1, once there is room.")
    monkeypatch.undo()
    folder = tmp_path / "run"
    assert config_of(folder)["metrics"]["epochs"] == 1
    assert load_file(folder / "model.safetensors")["pos_embed"].isfinite().all()
    assert not list(folder.rglob("*.partial"))
    resumed = run(tiny, resume=True)
    whole = run(tiny, "whole")
    assert weights_of(resumed) == weights_of(whole)


def _no_space(_file: int) -> None:
    raise OSError(28, "No space left on device")


def test_a_recipe_for_other_images_says_what_to_pass(tiny: Recipe, run: Train) -> None:
    with pytest.raises(UsageError) as caught:
        run(tiny.with_overrides(["img_size=8x4", "num_classes=10"]))
    assert str(caught.value) == (
        "The recipe's model has img_size 8x4, num_classes 10; halves has img_size 6x8, "
        "num_classes 2. Pass --set img_size=6x8 --set num_classes=2."
    )


def test_a_device_that_is_not_there_is_named(tiny: Recipe, run: Train) -> None:
    with pytest.raises(UsageError) as caught:
        run(tiny, device="cuda:97")
    assert str(caught.value).startswith("device 'cuda:97' cannot be used here; there are the CPU")
    with pytest.raises(UsageError, match="device 'cpuu' cannot be used here"):
        run(tiny, device="cpuu")


def test_bfloat16_trains_as_well(tiny: Recipe, run: Train) -> None:
    folder = run(tiny.with_overrides(["precision=bfloat16"]))
    assert config_of(folder)["precision"] == "bfloat16"
    assert load_file(folder / "model.safetensors")["pos_embed"].dtype == torch.float32
