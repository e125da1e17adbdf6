"""What was counted under one condition, and the shares and intervals that follow from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

from pe_inspect.analysis.evaluate.intervals import newcombe, wilson

__all__ = ["COLUMNS", "Condition", "EvaluationRow", "PairedCounts"]

Condition = Literal["plain", "scaled", "shuffled", "removed", "permuted"]

COLUMNS: Final[Mapping[str, str]] = {
    "condition": "plain, scaled, shuffled, removed (the position embedding), or permuted (the "
    "patches, RPI)",
    "height": "pixels of the images, after resizing",
    "width": "pixels of the images, after resizing",
    "rows": "patches",
    "columns": "patches",
    "method": "how positions were brought to that grid; native is the live model's own rule",
    "rule": "the plain method that it comes down to for this embedding; own is the model's",
    "alpha": "the factor on what the model receives of the position embedding",
    "count": "N, the images",
    "top1": "share of images whose class has the largest logit",
    "top1_low": "lower end of top1's 95 % interval, Wilson's",
    "top1_high": "its upper end",
    "top1_standard_error": "the binomial standard error of top1: √(top1·(1 − top1)/N); 0 where all "
    "images are correct, or none, whatever N",
    "top5": "share of images whose class is among the five largest logits; empty for five "
    "classes or fewer",
    "loss": "mean cross-entropy in nats, not smoothed",
    "fs": "fragility score 1 − A_shift/A_normal: top1 over the plain model's at its own size",
    "difference": "top1 less that of the plain model at its own size, on the same images; a share "
    "of one",
    "difference_low": "lower end of its 95 % interval, Newcombe's for pairs",
    "difference_high": "its upper end",
    "difference_standard_error": "the standard error of the difference, paired: "
    "√(g + l − (g − l)²/N)/N, with g images gained and l lost",
    "difference_to_native": "of a method, top1 less that of the model's own rule at the same size, "
    "on the same images; a share of one",
    "difference_to_native_low": "lower end of its 95 % interval, Newcombe's for pairs",
    "difference_to_native_high": "its upper end",
    "difference_to_native_standard_error": "the standard error of difference_to_native, paired",
    "top1_error": "the old name of top1_standard_error",
    "difference_error": "the old name of difference_standard_error",
}
"""The columns of `evaluate.csv`, and what each holds."""

_CONDITIONS: Final = get_args(Condition)


@dataclass(frozen=True)
class PairedCounts:
    """Two conditions on the same images.

    Attributes:
        correct: images that are correct under the first.
        gained: images that are correct under the first only.
        lost: under the second only.
        count: images.
    """

    correct: int
    gained: int
    lost: int
    count: int

    @property
    def difference(self) -> float:
        """Of the shares that are correct."""
        return (self.gained - self.lost) / self.count

    @property
    def standard_error(self) -> float:
        """Of the difference: only the images that changed count."""
        changed, net = self.gained + self.lost, self.gained - self.lost
        return math.sqrt(changed - net**2 / self.count) / self.count

    @property
    def interval(self) -> tuple[float, float]:
        """Of the difference, at 95 %: Newcombe's for pairs."""
        neither = self.count - self.correct - self.lost
        return newcombe(self.correct - self.gained, self.gained, self.lost, neither)


@dataclass(frozen=True)
class EvaluationRow:
    """What was counted over the images under one condition.

    Attributes:
        condition: what was done to positions or patches.
        res: (height, width) of the images, in pixels.
        grid_size: (rows, columns) of patches.
        correct: images whose class has the largest logit.
        correct_of_five: images whose class is among the five largest; `None` for five classes or
            fewer.
        loss_sum: the cross-entropies' sum, in nats.
        count: images; at least one.
        method: how positions were brought to the grid.
        rule: the plain method that it comes down to; `"own"` for the live model's rule.
        alpha: the factor on what the model receives of the position embedding.
        gained: images that are correct here and not under the plain model at its own size.
        lost: images that are correct there and not here.
        over_native: the same against the model's own rule at this size, of a method.
    """

    condition: Condition
    res: tuple[int, int]
    grid_size: tuple[int, int]
    correct: int
    correct_of_five: int | None
    loss_sum: float
    count: int
    method: str = "native"
    rule: str = "own"
    alpha: float = 1.0
    gained: int = 0
    lost: int = 0
    over_native: PairedCounts | None = None

    def __post_init__(self) -> None:
        if self.condition not in _CONDITIONS:
            known = ", ".join(_CONDITIONS)
            raise ValueError(f"condition is {self.condition!r}; it must be one of {known}")
        if not 0 <= self.correct <= self.count or not self.count:
            raise ValueError(f"{self.correct} of {self.count} images cannot be correct")
        if self.gained > self.correct or self.lost > self.count - self.correct:
            raise ValueError(
                f"{self.gained} images gained and {self.lost} lost do not go with {self.correct} "
                f"correct of {self.count}"
            )

    @property
    def top1(self) -> float:
        """Share of images whose class has the largest logit."""
        return self.correct / self.count

    @property
    def top5(self) -> float:
        """Share whose class is among the five largest; NaN for five classes or fewer."""
        return math.nan if self.correct_of_five is None else self.correct_of_five / self.count

    @property
    def loss(self) -> float:
        """Mean cross-entropy, in nats."""
        return self.loss_sum / self.count

    @property
    def standard_error(self) -> float:
        """Of top1, binomial: √(top1·(1 − top1)/count)."""
        return math.sqrt(self.top1 * (1 - self.top1) / self.count)

    @property
    def interval(self) -> tuple[float, float]:
        """Of top1, at 95 %: Wilson's."""
        return wilson(self.correct, self.count)

    @property
    def over_plain(self) -> PairedCounts:
        """Against the plain model at its own size."""
        return PairedCounts(self.correct, self.gained, self.lost, self.count)

    @property
    def name(self) -> str:
        """The condition in a few words: `"scaled by 0.5"`, `"patches permuted"`."""
        names = {"scaled": f"scaled by {self.alpha:g}", "permuted": "patches permuted"}
        return names.get(self.condition, self.condition)
