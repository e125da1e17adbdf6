"""How accurate a model is: at other resolutions by each method, and without its positions.

`pe_inspect.evaluation` runs the model and counts; here the counts are put in order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, get_args

from pe_inspect.analysis import questions
from pe_inspect.analysis.common.notebook_repr import Shown
from pe_inspect.analysis.common.sentences import listed, sentence
from pe_inspect.errors import UsageError
from pe_inspect.kinds.position_embedding import PositionEmbedding

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "Condition", "EvaluationResult", "EvaluationRow", "evaluate"]

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
    "top1": "share of images whose class has the largest logit",
    "top1_error": "the binomial standard error of top1: √(top1·(1 − top1)/count)",
    "top5": "share of images whose class is among the five largest logits; empty for five "
    "classes or fewer",
    "loss": "mean cross-entropy in nats, not smoothed",
    "fs": "fragility score 1 − A_shift/A_normal: top1 over the plain model's at its own size",
    "difference": "top1 over the reference: for a method, the model's own rule at that size; for "
    "all else, the plain model",
    "difference_error": "the standard error of the difference, paired: √(g + l − (g − l)²/count)"
    "/count, with g images gained and l lost",
    "count": "images",
}
"""The columns of `evaluate.csv`, and what each holds."""

_CONDITIONS: Final = get_args(Condition)
_TOP: Final = 5
SOURCE: Final = "arXiv:2606.00124 (permuted patches, fragility score, α-scaling)"


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
        gained: images that are correct here and not under the reference: for a method, the
            model's own rule at that size; for all else, the plain model.
        lost: images that are correct there and not here.
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

    def __post_init__(self) -> None:
        if self.condition not in _CONDITIONS:
            known = ", ".join(_CONDITIONS)
            raise ValueError(f"condition is {self.condition!r}; it must be one of {known}")
        if not 0 <= self.correct <= self.count or not self.count:
            raise ValueError(f"{self.correct} of {self.count} images cannot be correct")

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
    def difference(self) -> float:
        """Of top1 over the reference's."""
        return (self.gained - self.lost) / self.count

    @property
    def difference_error(self) -> float:
        """Its standard error: rows share their images, so that only those that changed count."""
        changed, net = self.gained + self.lost, self.gained - self.lost
        return math.sqrt(changed - net**2 / self.count) / self.count

    @property
    def name(self) -> str:
        """The condition in a few words: `"scaled by 0.5"`, `"patches permuted"`."""
        names = {"scaled": f"scaled by {self.alpha:g}", "permuted": "patches permuted"}
        return names.get(self.condition, self.condition)


@dataclass(frozen=True, eq=False)
class EvaluationResult(Shown):
    """Accuracy of one checkpoint on one dataset, under several conditions.

    Attributes:
        rows: one a condition; the first is the plain model at its own size.
        dataset: what the images are, as numbers on them are labelled.
        num_classes: the model's.
        parameters: what was asked for, by command-line names.
        pe: the (first) position embedding of the model; `None` where it has none.
        notes: every choice and omission, in words.
    """

    question: ClassVar[str] = "evaluate"
    definitions: ClassVar[Mapping[str, str]] = COLUMNS

    rows: tuple[EvaluationRow, ...]
    dataset: str
    num_classes: int
    parameters: dict[str, Any]
    pe: PositionEmbedding | None = None
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        count = len(self.rows)
        return f"EvaluationResult({self.dataset}, top1={self.plain.top1:.4f}, {count} rows)"

    @property
    def plain(self) -> EvaluationRow:
        """The model as it is, at its own size."""
        return self.rows[0]

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """The image sizes, smallest first."""
        sizes = {row.res for row in self.rows if row.condition == "plain"}
        return tuple(sorted(sizes, key=lambda res: (res[0] * res[1], res)))

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods by which positions were brought to other sizes, as asked for."""
        return tuple(dict.fromkeys(row.method for row in self.rows if row.condition == "plain"))

    @property
    def ablations(self) -> tuple[EvaluationRow, ...]:
        """The plain model at its own size, then what was done to its positions there."""
        return (self.plain, *(row for row in self.rows if row.condition != "plain"))

    def curve(self, method: str = "native") -> tuple[EvaluationRow, ...]:
        """Return one row a size, smallest first, by one method.

        Raises:
            UsageError: no row is of that method.
        """
        found = [row for row in self.rows if row.condition == "plain" and row.method == method]
        if not found:
            known = ", ".join(self.methods)
            raise UsageError(f"{method!r} was not evaluated; this result holds {known}.")
        return tuple(sorted(found, key=lambda row: (row.res[0] * row.res[1], row.res)))

    def fragility(self, row: EvaluationRow) -> float:
        """1 − A_shift/A_normal, A_normal being the plain model's; NaN for itself, or where it is 0.

        Source: arXiv:2606.00124.
        """
        if row is self.plain or not self.plain.correct:
            return math.nan
        return 1 - row.top1 / self.plain.top1

    @property
    def finding(self) -> str:
        """The answer in one sentence, with its numbers."""
        return _finding(self)

    def summary(self) -> dict[str, float]:
        """The plain model's numbers; top-1 of every other condition, and of `native` by size."""
        plain = self.plain
        found = {
            "top1": plain.top1,
            "top1_error": plain.standard_error,
            **({} if math.isnan(plain.top5) else {"top5": plain.top5}),
            "loss": plain.loss,
            "num_images": float(plain.count),
        }
        found |= {f"top1_{_key(row)}": row.top1 for row in self.ablations[1:]}
        for row in self.ablations:
            if row.condition == "permuted":
                found["fragility_permuted"] = self.fragility(row)
        own = [row for row in self.rows[1:] if (row.condition, row.method) == ("plain", "native")]
        return {**found, **{f"top1_at_{sized(row.res)}": row.top1 for row in own}}

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield each row under the columns of `evaluate.csv`."""
        for row in self.rows:
            beside = (math.nan, math.nan)
            if row is not self.plain:
                beside = (row.difference, row.difference_error)
            values = (
                row.condition, *row.res, *row.grid_size, row.method, row.rule, row.alpha,
                row.top1, row.standard_error, row.top5, row.loss, self.fragility(row),
                *beside, row.count,
            )  # fmt: skip
            yield dict(zip(COLUMNS, values))

    def to_frame(self) -> pd.DataFrame:
        """One row a condition, under the columns of `evaluate.csv`."""
        import pandas as pd

        return pd.DataFrame(list(self.records()), columns=list(COLUMNS))


@questions.register("evaluate")
def evaluate(
    rows: Sequence[EvaluationRow],
    *,
    dataset: str,
    num_classes: int,
    parameters: Mapping[str, Any] | None = None,
    pe: PositionEmbedding | None = None,
    notes: Sequence[str] = (),
) -> EvaluationResult:
    """Put what was counted in order: the plain model first, the others in the order given.

    `pe_inspect.evaluate(checkpoint)` runs the model and ends here.

    Args:
        rows: the counts, one a condition.
        dataset: what the images are.
        num_classes: the model's.
        parameters: what was asked for.
        pe: the model's position embedding.
        notes: every choice and omission, in words.

    Raises:
        UsageError: no row is of the plain model, to which the others are compared; or an
            embedding was given, which alone has no accuracy.
    """
    if isinstance(rows, PositionEmbedding):
        raise UsageError(
            "An embedding alone has no accuracy: pass the checkpoint to pe_inspect.evaluate, or "
            "run `pe-inspect evaluate CHECKPOINT`."
        )
    plain = [row for row in rows if (row.condition, row.method) == ("plain", "native")]
    if not plain:
        raise UsageError("No row is of the plain model, to which the others are compared.")
    ordered = (plain[0], *(row for row in rows if row is not plain[0]))
    return EvaluationResult(
        ordered, dataset, num_classes, dict(parameters or {}), pe, tuple(dict.fromkeys(notes))
    )


def sized(res: tuple[int, int]) -> str:
    """Return a size as a user types it: `48`, or `48x64` where the sides differ."""
    return str(res[0]) if res[0] == res[1] else f"{res[0]}x{res[1]}"


def _key(row: EvaluationRow) -> str:
    return f"alpha_{row.alpha:g}" if row.condition == "scaled" else row.condition


def _finding(result: EvaluationResult) -> str:
    plain = result.plain
    whole = (
        f"Top-1 is {accuracy_text(plain)} ± {100 * plain.standard_error:.1f} on {plain.count:,} "
        f"test images of {result.dataset}"
    )
    return sentence([whole, *_changes_found(result), *_sizes_found(result)])


def _changes_found(result: EvaluationResult) -> Iterator[str]:
    changed = [f"{accuracy_text(row)} {row.name}" for row in result.ablations[1:]]
    if changed:
        yield f"with positions changed it is {listed(changed)}"


def _sizes_found(result: EvaluationResult) -> Iterator[str]:
    rows = [row for row in result.rows[1:] if (row.condition, row.method) == ("plain", "native")]
    if rows:
        at = [f"{accuracy_text(row)} at {row.res[0]}×{row.res[1]}" for row in rows]
        yield f"by the model's own rule it is {listed(at)}"


def accuracy_text(row: EvaluationRow) -> str:
    """Write a row's top-1 in per cent with one decimal."""
    return f"{100 * row.top1:.1f} %"
