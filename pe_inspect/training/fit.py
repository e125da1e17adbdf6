"""Whether a recipe's model and a dataset's images go together, and what to change if not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pe_inspect.data.dataset import Dataset, FileSplit
from pe_inspect.data.decoding import UnreadableImage, decoded
from pe_inspect.errors import UsageError
from pe_inspect.training.recipe import Recipe

__all__ = ["check_fits", "check_readable"]


def check_fits(recipe: Recipe, dataset: Dataset) -> None:
    """Stop, before training, where the recipe's model is not made for these images.

    Raises:
        UsageError: size, channels or classes differ; the message has the flags that mend it.
    """
    facts = {"img_size": dataset.img_size, "in_chans": dataset.in_chans}
    facts["num_classes"] = len(dataset.classes)
    wrong = {key: fact for key, fact in facts.items() if getattr(recipe.model, key) != fact}
    if not wrong:
        return
    said = ", ".join(f"{key} {_spoken(getattr(recipe.model, key))}" for key in wrong)
    true = ", ".join(f"{key} {_spoken(fact)}" for key, fact in wrong.items())
    patch, why = _fitting_patch(recipe.model.patch_size, dataset.img_size)
    flags = {**wrong, **({"patch_size": patch} if why else {})}
    passed = " ".join(f"--set {key}={_spoken(fact)}" for key, fact in flags.items())
    resized = " (or --set stream=on, which crops and resizes)" if _may_stream(recipe, wrong) else ""
    raise UsageError(
        f"The recipe's model has {said}; {dataset.label} has {true}.{why} Pass {passed}{resized}."
    )


def check_readable(dataset: Dataset) -> None:
    """Stop, before training, where the test images stay on the disk and none can be read.

    Raises:
        UsageError: there would be nothing to measure an epoch on.
    """
    split = dataset.test
    if isinstance(split, FileSplit) and not any(map(_is_readable, split.files)):
        raise UsageError(
            f"None of the {len(split.files):,} test images of {dataset.label} can be read, e.g. "
            f"{split.files[0]}. Replace them."
        )


def _is_readable(file: Path) -> bool:
    try:
        decoded(file)
    except UnreadableImage:
        return False
    return True


def _fitting_patch(
    patch: tuple[int, int], img_size: tuple[int, int]
) -> tuple[tuple[int, int], str]:
    """Return the largest patch, up to the recipe's, that divides the images; and why another."""
    fitting = (_divisor(img_size[0], patch[0]), _divisor(img_size[1], patch[1]))
    if fitting == patch:
        return patch, ""
    size, given = ("×".join(map(str, pair)) for pair in (img_size, patch))
    if img_size[0] < patch[0] or img_size[1] < patch[1]:
        return fitting, f" Images of {size} pixels are smaller than a patch of {given}."
    return fitting, f" Images of {size} pixels are no whole number of patches of {given}."


def _divisor(side: int, most: int) -> int:
    return next(number for number in range(min(side, most), 0, -1) if side % number == 0)


def _may_stream(recipe: Recipe, wrong: dict[str, Any]) -> bool:
    return list(wrong) == ["img_size"] and recipe.data.startswith("imagefolder")


def _spoken(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)
