"""What can be trained, as plain values: every recipe, and what its checkpoint here has reached."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pe_inspect.bounded import json_in
from pe_inspect.errors import UsageError
from pe_inspect.registry import did_you_mean

if TYPE_CHECKING:
    from pe_inspect.training import Recipe

__all__ = ["listed"]

BEYOND: Final = 1e12  # seconds, epochs, shares: none of them comes near


def listed(name: str | None = None, **wanted: str | None) -> list[dict[str, Any]]:
    """Return the recipes that were asked for, each as plain values.

    Args:
        name: a part of their names, or a pattern with `*`; by default all.
        wanted: `data`, `scheme` and `join` that they must have.

    Raises:
        UsageError: there is no such word, or no such recipe.
    """
    return _chosen(_all(), name, {key: word for key, word in wanted.items() if word})


def _all() -> list[dict[str, Any]]:
    from pe_inspect.training import recipes as known

    return [_described(recipe, known.family(name)) for name, recipe in known.items()]


def _described(recipe: Recipe, family: str) -> dict[str, Any]:
    from pe_inspect.checkpoint_files import WEIGHTS
    from pe_inspect.training import DEFAULT_RECIPE, checkpoint_folder

    weights = checkpoint_folder(recipe.name) / WEIGHTS
    here = _measured(weights.with_name("config.json"))
    minutes, timed_on = recipe.expected_minutes, recipe.timed_on
    if not minutes and here["epochs"] == recipe.epochs:
        minutes, timed_on = (here["seconds"] or 0) / 60, here["machine"]
    return {
        "name": recipe.name,
        "family": family,
        "description": recipe.description,
        "scheme": recipe.model.scheme,
        "join": recipe.model.join,
        "data": recipe.data,
        "num_parameters": recipe.num_parameters,
        "epochs": recipe.epochs,
        "expected_minutes": minutes or None,
        "timed_on": timed_on if minutes else None,
        "expected_accuracy": recipe.expected_accuracy or None,
        "accuracy_source": recipe.accuracy_source or None,
        "is_default": recipe.name == DEFAULT_RECIPE,
        "checkpoint": str(weights) if weights.is_file() else None,
        "measured": here if weights.is_file() else None,
    }


def _measured(config: Path) -> dict[str, Any]:
    """Return what the config.json beside a checkpoint says of its accuracy and its making.

    Whatever it does not say, or says in another way than ours, is `None`.
    """
    try:
        saved = json_in(config)
    except (OSError, ValueError):
        saved = {}
    return {
        "accuracy": _number(_within(saved, "metrics", "test_accuracy")),
        "data": _text(_within(saved, "data", "label")),
        "epochs": _number(_within(saved, "metrics", "epochs")),
        "seconds": _number(_within(saved, "metrics", "seconds")),
        "machine": _text(_within(saved, "machine")),
    }


def _within(saved: Any, *keys: str) -> Any:
    for key in keys:
        saved = saved.get(key) if isinstance(saved, dict) else None
    return saved


def _number(value: Any) -> Any:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if is_number and 0 <= value < BEYOND else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _chosen(
    described: list[dict[str, Any]], name: str | None, wanted: dict[str, str]
) -> list[dict[str, Any]]:
    """Return the recipes that were asked for, or say which words there are."""
    for key, word in wanted.items():
        known = sorted({each[key] for each in described})
        if word not in known:
            raise UsageError(did_you_mean(key, word, known))
        described = [each for each in described if each[key] == word]
    if name is None:
        return described
    found = [each for each in described if name in each["name"] or fnmatch(each["name"], name)]
    if not found:
        raise UsageError(did_you_mean("recipe", name, [each["name"] for each in described]))
    return found
