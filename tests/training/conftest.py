"""A set of forty 6×8 pictures of two classes, and a recipe of a 3×4 grid that trains in no time."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pe_inspect.figures.training import write_curves
from pe_inspect.training import Recipe, train
from pe_inspect.training.loop import Loop


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise that is brighter in the upper half (class `up`) or in the lower (class `down`)."""
    root = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    for split, count in (("train", 16), ("test", 4)):
        for name, bright in (("down", slice(3, 6)), ("up", slice(0, 3))):
            folder = root / "halves" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = random.integers(0, 100, (6, 8, 3), dtype=np.uint8)
                pixels[bright] += 100
                Image.fromarray(pixels).save(folder / f"{i}.png")
    return root


@pytest.fixture
def run(pictures: Path, tmp_path: Path) -> Callable[..., Path]:
    """Train a recipe into one folder, on the pictures."""

    def run(recipe: Recipe, **options: object) -> Path:
        where = {"out": tmp_path / "run", "root": pictures, "device": "cpu"}
        return train(recipe, draw_curves=write_curves, **where, **options)

    return run


@pytest.fixture
def tiny() -> Recipe:
    return Recipe.from_dict(
        {
            "name": "tiny",
            "data": "imagefolder:halves",
            "epochs": 2,
            "batch_size": 8,
            "warmup_epochs": 0.5,
            "shift": 1,
            "flip": True,
            "precision": "float32",
            "model": {
                "img_size": [6, 8],
                "patch_size": [2, 2],
                "num_classes": 2,
                "embed_dim": 16,
                "depth": 2,
                "num_heads": 2,
                "mlp_ratio": 2.0,
                "join": "lape",
            },
        }
    )


@pytest.fixture
def stopping_at(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function after which training is sent a signal at a step."""
    usual = Loop.step

    def stopping_at(step: int, number: int = signal.SIGINT) -> None:
        def stopped(self: Loop, *batch: torch.Tensor) -> torch.Tensor:
            loss = usual(self, *batch)
            if self.step_number == step:
                signal.raise_signal(number)
            return loss

        monkeypatch.setattr(Loop, "step", stopped)

    return stopping_at
