from __future__ import annotations

import pytest

from pe_inspect.training import Recipe
from pe_inspect.training.schedule import learning_rate


def rates(recipe: Recipe, steps_per_epoch: int = 10) -> list[float]:
    steps = recipe.epochs * steps_per_epoch
    return [learning_rate(recipe, step, steps_per_epoch) for step in range(steps)]


def test_the_warm_up_is_linear_and_ends_at_the_full_rate(tiny: Recipe) -> None:
    recipe = tiny.with_overrides(["lr=1", "warmup_epochs=0.5", "epochs=3"])
    assert rates(recipe)[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_the_cosine_is_half_way_down_in_the_middle(tiny: Recipe) -> None:
    recipe = tiny.with_overrides(["lr=1", "min_lr=0.2", "warmup_epochs=0", "epochs=2"])
    down = rates(recipe)
    assert down[0] == 1.0
    assert down[10] == pytest.approx(0.6)
    assert down == sorted(down, reverse=True)
    assert 0.2 < down[-1] < 0.22


def test_a_warm_up_as_long_as_the_run_never_falls(tiny: Recipe) -> None:
    recipe = tiny.with_overrides(["lr=1", "warmup_epochs=9", "epochs=2"])
    assert rates(recipe)[-1] == 1.0
