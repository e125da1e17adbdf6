"""Recipes that cite a code train as it does: where weights start, what decays, rates, images.

The facts were read in the codes themselves: s-chh/2D-Positional-Encoding-Vision-Transformer
(`solver.py`, `vit_model.py`, `data_loader.py`), Ingrid725/LaPE and facebookresearch/deit
(`main.py`, `vision_transformer.py`, `datasets.py`; both ask for timm 0.3.2), naver-ai/rope-vit
(`deit/`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from timm.scheduler import CosineLRScheduler

from pe_inspect.models.vit import VisionTransformer
from pe_inspect.training import Recipe, recipes
from pe_inspect.training.optimizer import parameter_groups
from pe_inspect.training.resume import differing, typed_as
from pe_inspect.training.schedule import learning_rate
from pe_inspect.training.snapshot import snapshot
from pe_inspect.training.start import initial_model

STEPS = 3  # of an epoch here
SCHH = [name for name in recipes if name.startswith(("schh-", "roformer-"))]
DEIT_SCHEDULED = [n for n in recipes if n.startswith(("deit-", "cpvt-", "nda111-", "rope-vit-"))]
FILES = recipes.folder
RUNS = Path(__file__).parents[2] / "docs" / "runs"


def drawn(model: VisionTransformer, ending: str) -> torch.Tensor:
    """All values of the parameters whose names end so."""
    named = model.named_parameters()
    return torch.cat([p.detach().double().flatten() for n, p in named if n.endswith(ending)])


def assert_starts(model: VisionTransformer, expected: dict[str, tuple[float, float]]) -> None:
    """Mean and standard deviation, within five of their standard errors."""
    for ending, (mean, std) in expected.items():
        values = drawn(model, ending)
        error = 5 * std / math.sqrt(len(values)) + 1e-9
        assert float(values.mean()) == pytest.approx(mean, abs=error), ending
        assert float(values.std(correction=0)) == pytest.approx(std, abs=error), ending


def decaying(recipe: Recipe, model: VisionTransformer) -> tuple[set[str], set[str]]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed, kept = parameter_groups(model, recipe.weight_decay, recipe.decayed)
    assert (decayed["weight_decay"], kept["weight_decay"]) == (recipe.weight_decay, 0)
    return names_of(decayed["params"], names), names_of(kept["params"], names)


def names_of(parameters: Iterable[object], names: dict[int, str]) -> set[str]:
    return {names[id(parameter)] for parameter in parameters}


def rates(recipe: Recipe) -> list[list[float]]:
    """The rates of every step, an epoch a row."""
    return [
        [learning_rate(recipe, epoch * STEPS + step, STEPS) for step in range(STEPS)]
        for epoch in range(recipe.epochs)
    ]


def optimizer(recipe: Recipe) -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=recipe.lr)


LINEAR = {
    "qkv.weight": (0, 0.02), "attn.proj.weight": (0, 0.02), "fc1.weight": (0, 0.02),
    "fc2.weight": (0, 0.02), "head.weight": (0, 0.02), "cls_token": (0, 0.02),
    "qkv.bias": (0, 0), "fc1.bias": (0, 0), "head.bias": (0, 0),
    "norm1.weight": (1, 0), "norm2.bias": (0, 0),
}  # fmt: skip


def torchs_convolution(fan_in: int) -> dict[str, tuple[float, float]]:
    """U(−1/√fan_in, 1/√fan_in), weights and biases alike."""
    std = 1 / math.sqrt(3 * fan_in)
    return {"patch_embed.proj.weight": (0, std), "patch_embed.proj.bias": (0, std)}


@pytest.mark.parametrize("name", SCHH)
def test_schhs_weights_start_as_its_code_starts_them(name: str) -> None:
    recipe = recipes[name]
    model = initial_model(recipe)
    convolution = {"patch_embed.proj.weight": (0, 0.02), "patch_embed.proj.bias": (0, 0)}
    tables = {
        "learned": {"pos_embed": (0, 0.02)},
        "relative": {"_embedding_table.weight": (0, 1)},  # torch's Embedding
    }
    assert_starts(model, LINEAR | convolution | tables.get(recipe.model.scheme, {}))
    noise = torch.randn(64, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    tokens = model.patch_embed(noise).detach().std()
    # 0.14; by torch's own start it is 0.58.
    assert float(tokens) == pytest.approx(0.02 * math.sqrt(48), rel=0.03)


def test_no_other_recipes_weights_start_or_decay_so() -> None:
    assert [name for name in recipes if recipes[name].start == "schh"] == SCHH
    assert [name for name in recipes if recipes[name].decayed == "all"] == SCHH
    assert_starts(initial_model(recipes["zoo-none"]), torchs_convolution(3 * 4 * 4))


@pytest.mark.parametrize("name", SCHH)
def test_every_parameter_of_schhs_decays(name: str) -> None:
    recipe = recipes[name]
    model = initial_model(recipe)
    decayed, kept = decaying(recipe, model)
    assert kept == set()
    assert decayed == {name for name, _ in model.named_parameters()}
    assert recipe.weight_decay == 1e-3


@pytest.mark.parametrize("name", SCHH)
def test_schhs_rate_is_that_of_its_two_schedulers(name: str) -> None:
    recipe = recipes[name]
    assert (recipe.epochs, recipe.warmup_epochs) == (200, 10)
    ours = optimizer(recipe)
    rise = torch.optim.lr_scheduler.LinearLR(ours, 1 / 10, 1.0, total_iters=9)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(ours, T_max=190, eta_min=1e-5)
    expected = []
    for epoch in range(200):
        expected.append(ours.param_groups[0]["lr"])
        ours.step()
        (rise if epoch < 10 else fall).step()
    for epoch, row in enumerate(rates(recipe)):
        assert row == pytest.approx([expected[epoch]] * STEPS, rel=1e-9)
    assert expected[9] == expected[10] == pytest.approx(5e-4)


@pytest.mark.parametrize("name", SCHH)
def test_schhs_images_are_augmented_as_there(name: str) -> None:
    recipe = recipes[name]
    assert (recipe.shift, recipe.flip) == (4, True)  # RandomCrop(32, padding=4), flip
    assert (recipe.augment, recipe.num_ops, recipe.magnitude) == ("randaugment", 2, 9)
    unused = (recipe.mixup, recipe.cutmix, recipe.erasing, recipe.label_smoothing)
    assert unused == (0, 0, 0, 0)
    assert (recipe.batch_size, recipe.clip_grad, recipe.repeats) == (128, 0, 1)


@pytest.mark.parametrize("data", ["", "cifar100-"])
def test_schhs_angles_are_the_codes_own(data: str) -> None:
    cosines = initial_model(recipes[f"schh-{data}rope"]).rope.freqs_cos
    columns = torch.arange(8).repeat(8)
    theta = 10_000.0 ** -(torch.arange(1, 9) / 8)  # exponents −2i/16, i from 1
    assert float(theta[0]) == pytest.approx(0.316, abs=1e-3)
    expected = torch.cos((columns[:, None] + 1) * theta).repeat_interleave(2, dim=1)
    torch.testing.assert_close(cosines[:, :16], expected.float(), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("name", "first", "fastest"), [
    ("schh-rope", 1, 10**-0.5), ("roformer-cifar10", 0, 1.0),
])  # fmt: skip
def test_the_reader_finds_the_angles_that_a_run_was_trained_with(
    name: str, first: int, fastest: float
) -> None:
    phases = snapshot(initial_model(recipes[name]), name).tables[0].values[0]
    slowing = 10.0 ** (-np.arange(8) / 2)
    rows, columns = np.divmod(np.arange(64), 8)
    expected = [np.outer(axis + first, fastest * slowing) for axis in (columns, rows)]
    np.testing.assert_allclose(phases, np.concatenate(expected, axis=1), atol=1e-5)


def test_roformers_angles_are_a_recipe_of_another_name() -> None:
    assert not recipes["roformer-cifar10"].model.schh_compat
    assert recipes["roformer-cifar10"].expected_accuracy == 0
    cosines = initial_model(recipes["roformer-cifar10"]).rope.freqs_cos
    assert float(cosines[1, 0].arccos()) == pytest.approx(1)
    ours, theirs = (recipes[n].to_dict() for n in ("roformer-cifar10", "schh-rope"))
    differing = {key for key in ours if ours[key] != theirs[key]}
    assert differing == {"name", "description", "model", "expected_accuracy", "accuracy_source"}


@pytest.mark.parametrize("name", DEIT_SCHEDULED)
def test_deits_rate_is_timms_one_epoch_late(name: str) -> None:
    recipe = recipes[name]
    ours = optimizer(recipe)
    schedule = CosineLRScheduler(
        ours, t_initial=recipe.epochs, lr_min=1e-5, warmup_t=5, warmup_lr_init=1e-6, cycle_limit=1
    )
    expected = []
    for epoch in range(recipe.epochs):
        expected.append(ours.param_groups[0]["lr"])
        schedule.step(epoch)
    for epoch, row in enumerate(rates(recipe)):
        assert row == pytest.approx([expected[epoch]] * STEPS, rel=1e-9)
    assert expected[0] == expected[1] == 1e-6


@pytest.mark.parametrize(
    ("name", "spared"),
    [
        ("deit-ti-input", {"cls_token", "pos_embed"}),
        ("deit-ti-lape", {"cls_token", "pos_embed"}),
        ("deit-ti-distilled-input", {"cls_token", "pos_embed"}),  # and not dist_token
        ("deit-ti-unshare", {"cls_token"}),  # and not pos_embed0 …
        ("deit-ti-rel-bias-2d", {"cls_token"}),  # and not the tables
    ],
)
def test_lapes_decay_spares_norms_biases_and_two_names(name: str, spared: set[str]) -> None:
    model = initial_model(recipes[name])
    decayed, kept = decaying(recipes[name], model)
    flat = {name for name, parameter in model.named_parameters() if parameter.ndim == 1}
    assert kept == flat | spared
    assert decayed == {name for name, _ in model.named_parameters()} - kept
    assert recipes[name].weight_decay == 0.05


@pytest.mark.parametrize(
    ("name", "tables"),
    [
        ("deit-ti-input", {"pos_embed": (0, 0.02)}),
        ("deit-ti-unshare", {"pos_embed11": (0, 0.02)}),
        ("deit-ti-lape", {"pos_embed": (0, 0.02), "pe_norm.weight": (1, 0)}),
        ("deit-ti-distilled-input", {"dist_token": (0, 0.02), "head_dist.weight": (0, 0.02)}),
        ("deit-ti-rel-bias-2d", {"relative_position_bias_table": (0, 0)}),
    ],
)
def test_lapes_weights_start_as_its_code_starts_them(
    name: str, tables: dict[str, tuple[float, float]]
) -> None:
    one = initial_model(recipes[name])
    assert_starts(one, LINEAR | torchs_convolution(3 * 16 * 16) | tables)


@pytest.mark.parametrize("name", [n for n in recipes if n.startswith("deit-")])
def test_lapes_images_are_those_of_deit_but_for_the_crop(name: str) -> None:
    recipe = recipes[name]
    assert recipe.crop_pct == 1.0
    assert (recipe.augment, recipe.num_ops, recipe.magnitude) == ("randaugment-timm", 2, 9)
    assert (recipe.mixup, recipe.cutmix, recipe.label_smoothing) == (0.8, 1.0, 0.1)
    assert (recipe.erasing, recipe.erasing_fill, recipe.repeats) == (0.25, "noise", 3)
    assert (recipe.flip, recipe.color_jitter, recipe.crop_scale) == (True, 0, 0.08)
    assert (recipe.lr, recipe.batch_size) == (5e-4 * 1024 / 512, 1024)


@pytest.mark.parametrize("name", ["cpvt-ti", "nda111-b16"])
def test_deits_own_crop_and_decay_stay_where_deit_is_cited(name: str) -> None:
    recipe = recipes[name].with_overrides(["depth=2"])
    assert recipe.crop_pct == 0.875
    model = initial_model(recipe)
    flat = {name for name, parameter in model.named_parameters() if parameter.ndim == 1}
    assert decaying(recipe, model)[1] - flat <= {"cls_token", "pos_embed"}


@pytest.mark.parametrize("kind", ["axial", "mixed"])
def test_rope_vit_trains_as_its_repository_says(kind: str) -> None:
    recipe = recipes[f"rope-vit-s-{kind}"]
    small = recipe.with_overrides(["depth=2"])
    model = initial_model(small)
    flat = {name for name, parameter in model.named_parameters() if parameter.ndim == 1}
    frequencies = {"rope.freqs"} if kind == "mixed" else set()
    assert decaying(small, model)[1] == flat | frequencies | {"cls_token"}
    assert_starts(model, LINEAR | torchs_convolution(3 * 16 * 16) | {"ls1.gamma": (1e-4, 0)})
    assert (recipe.epochs, recipe.lr, recipe.weight_decay) == (400, 4e-3, 0.03)
    assert (recipe.batch_size, recipe.optimizer, recipe.loss) == (8 * 256, "lamb", "bce")
    assert (recipe.augment, recipe.color_jitter, recipe.crop_pct) == ("3-augment", 0.3, 1.0)
    assert (recipe.label_smoothing, recipe.erasing, recipe.repeats) == (0, 0, 3)
    assert recipe.model.drop_path_rate == 0


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("schh", "CIFAR-100 is normalised by its own mean"),
        ("deit", "what is erased together shares its noise"),
        ("vit-lite-7-4", "CCT's rate changes once an epoch"),
        ("cpvt-ti", "the convolution starts here as torch has it"),
        ("roformer", "No\n# number is published for them"),
    ],
)
def test_a_recipe_says_where_it_departs(file: str, said: str) -> None:
    assert said in (FILES / f"{file}.toml").read_text(encoding="utf-8")


def test_an_earlier_run_keeps_what_it_was_trained_with() -> None:
    config = json.loads((RUNS / "schh-rope.json").read_text(encoding="utf-8"))
    theirs = Recipe.from_dict(config["recipe"])
    assert (theirs.schedule, theirs.decayed, theirs.start) == ("step", "matrices", "timm")
    assert not theirs.model.schh_compat
    differs = differing(theirs, recipes["schh-rope"])
    assert {"schedule", "decayed", "start", "schh_compat"} < set(differs)
    assert "--set schh_compat=false" in typed_as(differs)
    assert not differing(
        theirs, recipes["schh-rope"].with_overrides(typed_as(differs).split()[1::2])
    )
