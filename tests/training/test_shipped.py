"""The checkpoints that travel with the package are what their recipes say, and worth looking at."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import pe_inspect as pei
from pe_inspect.data import load
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.models import ViTConfig
from pe_inspect.models.config import SCHEMES
from pe_inspect.models.vit import VisionTransformer
from pe_inspect.training import DEFAULT_RECIPE, Recipe, recipes
from pe_inspect.training.loop import Loop

CHECKPOINTS = Path(__file__).parents[2] / "checkpoints"
SHIPPED = sorted(path.parent.name for path in CHECKPOINTS.glob("*/model.safetensors"))
MEGABYTE = 2**20
TIMING = ("minutes_per_epoch", "timed_on")


def config_of(name: str) -> dict:
    return json.loads((CHECKPOINTS / name / "config.json").read_text(encoding="utf-8"))


def test_the_default_checkpoint_is_shipped() -> None:
    assert DEFAULT_RECIPE in SHIPPED
    assert {"digits-input", "digits-lape"} <= set(SHIPPED)


def test_every_scheme_and_join_is_shipped_trained_alike_on_images() -> None:
    shipped = [recipes[name].model for name in SHIPPED if name.startswith("zoo-")]
    every = {(scheme, join) for scheme, joins in SCHEMES.items() for join in joins}
    assert {(model.scheme, model.join) for model in shipped} == every


def test_they_are_small() -> None:
    files = [path for name in SHIPPED for path in (CHECKPOINTS / name).rglob("*")]
    assert max(path.stat().st_size for path in files) < 2 * MEGABYTE
    assert sum(path.stat().st_size for path in files) < 40 * MEGABYTE


@pytest.mark.parametrize("name", SHIPPED)
def test_they_hold_what_is_read_and_no_second_set_of_weights(name: str) -> None:
    files = {path.name for path in (CHECKPOINTS / name).iterdir()}
    assert files <= {
        *("model.safetensors", "config.json", "metrics.csv", "evolution"),
        *("curves.png", ".pe-inspect.json"),
    }


@pytest.mark.parametrize("name", SHIPPED)
def test_the_config_is_the_recipes(name: str) -> None:
    config = config_of(name)
    plain = {key: value for key, value in config["recipe"].items() if key not in TIMING}
    assert Recipe.from_dict(plain) == _untimed(recipes[name])
    assert config["status"] == "finished"
    assert config["metrics"]["epochs"] == recipes[name].epochs
    assert config["data"]["name"] == recipes[name].data


@pytest.mark.parametrize("name", SHIPPED)
def test_the_metrics_end_where_the_config_says(name: str) -> None:
    with (CHECKPOINTS / name / "metrics.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == list(range(1, recipes[name].epochs + 1))
    assert float(rows[-1]["test_accuracy"]) == config_of(name)["metrics"]["test_accuracy"]


@pytest.mark.parametrize("name", SHIPPED)
def test_the_weights_fit_the_model(name: str) -> None:
    weights = load_file(CHECKPOINTS / name / "model.safetensors")
    model = VisionTransformer(ViTConfig.from_dict(config_of(name)["model"]))
    model.load_state_dict(weights)
    assert all(tensor.isfinite().all() for tensor in weights.values())


@pytest.mark.parametrize("name", [name for name in SHIPPED if name.startswith("digits")])
def test_the_accuracy_on_the_digits_can_be_measured_again(name: str) -> None:
    loop = Loop(recipes[name], load("digits"), torch.device("cpu"))
    measured = loop.evaluate(load_file(CHECKPOINTS / name / "model.safetensors"))
    metrics = config_of(name)["metrics"]
    assert measured.accuracy == pytest.approx(metrics["test_accuracy"], abs=0.003)
    assert measured.loss == pytest.approx(metrics["test_loss"], abs=1e-3)


@pytest.mark.parametrize("name", ["cifar10-lape", "digits-lape", "zoo-learned-lape"])
def test_neighbours_have_learned_to_be_alike(name: str) -> None:
    table = load_file(CHECKPOINTS / name / "model.safetensors")["pos_embed"][0, 1:].float()
    grid = table.reshape(8, 8, -1)
    alike = torch.nn.functional.cosine_similarity
    beside, below = alike(grid[:, 1:], grid[:, :-1], dim=-1), alike(grid[1:], grid[:-1], dim=-1)
    across = alike(grid[0], grid[7].flip(0), dim=-1)
    assert beside.mean() > 0.3
    assert below.mean() > 0.3
    assert across.mean() < min(beside.mean(), below.mean()) - 0.15


@pytest.mark.parametrize("name", [name for name in SHIPPED if not name.endswith("none")])
def test_the_last_snapshot_is_the_shipped_embedding(name: str) -> None:
    found = pei.extract(pei.load(CHECKPOINTS / name))[0]
    last = PositionEmbedding.open(sorted((CHECKPOINTS / name).glob("evolution/*"))[-1])
    assert (last.family, last.join) == (found.family, found.join)
    for ours, theirs in zip(last.tables, found.tables, strict=True):
        scale = max(1.0, float(np.abs(theirs.values).max()))
        np.testing.assert_allclose(ours.values, theirs.values, rtol=0, atol=2e-3 * scale)


def _untimed(recipe: Recipe) -> Recipe:
    return Recipe.from_dict({k: v for k, v in recipe.to_dict().items() if k not in TIMING})
