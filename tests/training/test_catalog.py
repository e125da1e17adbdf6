"""The recipes that travel with the package are the published ones."""

from __future__ import annotations

import pytest

from pe_inspect.data.datasets import datasets
from pe_inspect.models.config import SCHEMES
from pe_inspect.training import recipes


def named(prefix: str, scheme: str, join: str) -> str:
    """The zoo's names: a join is said where a scheme has several and this is no plain one."""
    is_plain = join in ("none", "layer") or scheme == "fourier"
    return f"{prefix}-{scheme.replace('_', '-')}" + ("" if is_plain else f"-{join}")


@pytest.mark.parametrize("prefix", ["zoo", "digits"])
def test_every_scheme_and_join_has_a_recipe_for_a_cpu(prefix: str) -> None:
    pairs = {(scheme, join) for scheme, joins in SCHEMES.items() for join in joins}
    have = {
        (recipe.model.scheme, recipe.model.join): name
        for name, recipe in recipes.items()
        if name.startswith(f"{prefix}-")
    }
    assert set(have) == pairs
    for pair, name in have.items():
        own = {"digits-input", "digits-lape"}
        assert name == named(prefix, *pair) or name in own


def test_the_digits_differ_in_scheme_and_join_alone() -> None:
    def common(name: str) -> dict:
        plain = recipes[name].to_dict()
        plain["model"] = {k: v for k, v in plain["model"].items() if k not in ("scheme", "join")}
        ignored = ("name", "description", "minutes_per_epoch", "timed_on")
        return {key: value for key, value in plain.items() if key not in ignored}

    digits = [name for name in recipes if name.startswith("digits-")]
    assert len(digits) == 27
    assert all(common(name) == common("digits-lape") for name in digits)


@pytest.mark.parametrize(
    ("kind", "parameters", "cifar10", "cifar100"),
    [
        ("none", 802_826, 0.7963, 0.5325),
        ("learned", 811_018, 0.8652, 0.6087),
        ("sincos", 802_826, 0.8609, 0.5973),
        ("relative", 805_130, 0.9057, 0.6511),
        ("rope", 802_826, 0.8849, 0.6288),
    ],
)
def test_schhs_five_kinds_are_its_own(
    kind: str, parameters: int, cifar10: float, cifar100: float
) -> None:
    ten, hundred = recipes[f"schh-{kind}"], recipes[f"schh-cifar100-{kind}"]
    assert ten.num_parameters == parameters
    assert hundred.num_parameters == parameters + 90 * 129
    assert (ten.expected_accuracy, hundred.expected_accuracy) == (cifar10, cifar100)
    assert (ten.epochs, ten.batch_size, ten.lr, ten.weight_decay) == (200, 128, 5e-4, 1e-3)
    assert (ten.augment, ten.num_ops, ten.magnitude, ten.shift) == ("randaugment", 2, 9, 4)
    assert (ten.model.num_prefix_tokens, ten.model.num_prefix_rows) == (1, 0)
    rates = (ten.model.pos_drop_rate, ten.model.proj_drop_rate, ten.model.attn_drop_rate)
    assert rates == (0.1, 0.1, 0.0)


@pytest.mark.parametrize(
    ("size", "plain", "lape"),
    [("ti", 5.717, 5.722), ("s", 22.051, 22.060), ("b", 86.568, 86.586)],
)
def test_deits_parameters_are_those_of_lapes_table_5(size: str, plain: float, lape: float) -> None:
    for join, millions in (("input", plain), ("lape", lape)):
        recipe = recipes[f"deit-{size}-{join}"]
        assert round(recipe.num_parameters / 1e6, 3) == millions
        assert (recipe.data, recipe.epochs, recipe.model.grid_size) == ("imagenet", 300, (14, 14))
        assert recipes[f"deit-{size}-distilled-{join}"].model.num_prefix_tokens == 2


def test_vit_lite_has_every_join_on_both_cifars() -> None:
    for data in ("cifar10", "cifar100"):
        for join in SCHEMES["learned"]:
            recipe = recipes[f"vit-lite-7-4-{data}-{join}"]
            assert (recipe.data, recipe.model.join) == (data, join)
            assert (recipe.epochs, recipe.batch_size, recipe.lr) == (300, 128, 5.5e-4)
            assert (recipe.weight_decay, recipe.warmup_epochs, recipe.min_lr) == (0.06, 10, 1e-5)
            assert (recipe.mixup, recipe.cutmix, recipe.mixup_off_epoch) == (0.8, 1.0, 176)
            assert (recipe.augment, recipe.label_smoothing) == ("randaugment-timm", 0.1)
    assert recipes["vit-lite-7-4-cifar10-lape"].expected_accuracy == 0.9429
    assert "Table 2" in recipes["vit-lite-7-4-cifar100-mpvg"].accuracy_source


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("vit-lite-7-4-cifar10-input", 3_722_250),
        ("vit-lite-7-4-cifar10-share", 3_722_250),
        ("vit-lite-7-4-cifar10-unshare", 3_722_250 + 6 * 65 * 256),
        ("vit-lite-7-4-cifar10-lape", 3_722_250 + 7 * 2 * 256),
        ("vit-lite-7-4-cifar100-input", 3_722_250 + 90 * 257),
        ("deit-ti-input", 5_717_416),
        ("deit-ti-distilled-input", 5_717_416 + 2 * 192 + 193 * 1000),
        ("cpvt-ti", 5_717_416 - 197 * 192 + 10 * 192),
        ("rope-vit-s-axial", 21_984_232),
        ("rope-vit-s-mixed", 21_984_232 + 2 * 12 * 6 * 32),
        ("nda111-b16", 85_977_064),
    ],
)
def test_the_published_models_are_of_their_size_exactly(name: str, parameters: int) -> None:
    assert recipes[name].num_parameters == parameters


@pytest.mark.parametrize("name", ["deit-ti-input", "deit-b-distilled-lape", "cpvt-ti"])
def test_deits_recipe_is_that_of_its_table_9(name: str) -> None:
    recipe = recipes[name]
    assert (recipe.epochs, recipe.batch_size, recipe.lr, recipe.warmup_epochs) == (
        300,
        1024,
        1e-3,
        5,
    )
    assert (recipe.weight_decay, recipe.label_smoothing, recipe.clip_grad) == (0.05, 0.1, 0.0)
    assert (recipe.augment, recipe.magnitude, recipe.repeats) == ("randaugment-timm", 9, 3)
    assert (recipe.mixup, recipe.cutmix, recipe.erasing) == (0.8, 1.0, 0.25)
    assert recipe.model.drop_path_rate == 0.1


def test_the_other_published_models_are_there() -> None:
    assert recipes["cpvt-ti"].model.num_position_parameters == 1920
    assert recipes["rope-vit-s-axial"].model.rope_base == 100
    assert recipes["rope-vit-s-mixed"].model.scheme == "rope_mixed"
    assert not recipes["nda111-b16"].model.patch_projection
    assert recipes["nda111-b16"].expected_accuracy == 0


def test_every_recipe_names_a_dataset_that_there_is() -> None:
    assert {recipe.data for recipe in recipes.values()} <= set(datasets)
