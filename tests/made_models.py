"""Small models of every scheme with lively positions, as checkpoints; grids are 3×5 patches."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pe_inspect.data import Dataset, Split
from pe_inspect.loading.checkpoint import Checkpoint
from pe_inspect.loading.hints import hints_from
from pe_inspect.models.config import ViTConfig
from pe_inspect.models.vit import VisionTransformer

SHAPE = {
    "img_size": (12, 20), "patch_size": (4, 4), "in_chans": 3, "num_classes": 7, "embed_dim": 16,
    "depth": 2, "num_heads": 2, "mlp_ratio": 2.0, "reg_tokens": 1,
}  # fmt: skip


def lively_model(scheme, join="", **changes):
    """A model whose weights are all random, so that positions matter as much as patches."""
    torch.manual_seed(0)
    model = VisionTransformer(ViTConfig(**{**SHAPE, **changes}, scheme=scheme, join=join))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.4)
    return model.eval()


def checkpoint_of(model, **data):
    """What our trainer's folder of this model loads as."""
    config = {"model": model.config.to_dict(), **({"data": data} if data else {})}
    plain = Checkpoint.from_state_dict(model.state_dict(), source="model.safetensors")
    hints = hints_from(config, "config.json")
    return replace(plain, hints=hints, metadata={"config": config})


def save_native(here, name="native", *, mean=(0.4, 0.5, 0.6), scheme="learned", **changes):
    """Save a model with random weights as our trainer does; return its folder."""
    model = lively_model(scheme, **changes)
    folder = here / name
    folder.mkdir()
    save_file(model.state_dict(), folder / "model.safetensors")
    saved = {"model": model.config.to_dict(), "data": {"mean": [*mean], "std": [0.3] * len(mean)}}
    (folder / "config.json").write_text(json.dumps(saved))
    return folder


def random_images(height=12, width=20, channels=3, count=9, classes=7, seed=0):
    random = np.random.default_rng(seed)
    split = Split(
        random.integers(0, 256, (count, channels, height, width), dtype=np.uint8),
        random.integers(0, classes, count),
    )
    names = tuple(f"class {k}" for k in range(classes))
    return Dataset("noise", "noise", split, split, names)


@pytest.fixture(scope="session")
def lively():
    """A function from scheme and join to a model with random weights."""
    return lively_model


@pytest.fixture(scope="session")
def as_checkpoint():
    """A function from a model of ours to its checkpoint."""
    return checkpoint_of


@pytest.fixture(scope="session")
def noise():
    """A function that makes a dataset of random images."""
    return random_images
