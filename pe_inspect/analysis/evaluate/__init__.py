"""How accurate a model is: at other resolutions by each method, and without its positions.

`pe_inspect.evaluation` runs the model and counts; here the counts are put in order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pe_inspect.analysis import questions
from pe_inspect.analysis.common.notebook_repr import Shown
from pe_inspect.analysis.evaluate.finding import accuracy_text, finding_of, interval_text
from pe_inspect.analysis.evaluate.rows import COLUMNS, Condition, EvaluationRow, PairedCounts
from pe_inspect.errors import UsageError
from pe_inspect.kinds.position_embedding import PositionEmbedding

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "COLUMNS",
    "Condition",
    "EvaluationResult",
    "EvaluationRow",
    "PairedCounts",
    "accuracy_text",
    "evaluate",
    "interval_text",
]


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
        split: which of the dataset's splits the images are: its folder's name, or `"test"`.
    """

    question: ClassVar[str] = "evaluate"
    definitions: ClassVar[Mapping[str, str]] = COLUMNS

    rows: tuple[EvaluationRow, ...]
    dataset: str
    num_classes: int
    parameters: dict[str, Any]
    pe: PositionEmbedding | None = None
    notes: tuple[str, ...] = ()
    split: str = "test"

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
        return finding_of(self.plain, self.ablations[1:], self.own_rule, self.images)

    @property
    def images(self) -> str:
        """What the images are, in words: `test images of CIFAR-10`."""
        return f"{self.split} images of {self.dataset}"

    @property
    def own_rule(self) -> tuple[EvaluationRow, ...]:
        """The rows of other sizes by the model's own rule, in the order asked for."""
        rows = self.rows[1:]
        return tuple(row for row in rows if (row.condition, row.method) == ("plain", "native"))

    def summary(self) -> dict[str, float]:
        """The plain model's numbers; top-1 of every other condition, and of `native` by size."""
        plain = self.plain
        low, high = plain.interval
        found = {
            "num_images": float(plain.count),
            "top1": plain.top1,
            "top1_low": low,
            "top1_high": high,
            "top1_standard_error": plain.standard_error,
            **({} if math.isnan(plain.top5) else {"top5": plain.top5}),
            "loss": plain.loss,
        }
        found |= {f"top1_{_key(row)}": row.top1 for row in self.ablations[1:]}
        for row in self.ablations:
            if row.condition == "permuted":
                found["fragility_permuted"] = self.fragility(row)
        return {**found, **{f"top1_at_{_sized(row.res)}": row.top1 for row in self.own_rule}}

    def defined(self) -> dict[str, str]:
        """The definition of every number of `summary()`."""
        known = {"num_images": COLUMNS["count"], **COLUMNS}
        for row in self.ablations[1:]:
            known[f"top1_{_key(row)}"] = f"{COLUMNS['top1']}; {row.name}, at the model's own size"
        for row in self.own_rule:
            height, width = row.res
            at = f"at {height}×{width} pixels, by the model's own rule"
            known[f"top1_at_{_sized(row.res)}"] = f"{COLUMNS['top1']}; {at}"
        known["fragility_permuted"] = f"{COLUMNS['fs']}; patches permuted"
        return {name: known[name] for name in self.summary()}

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield each row under the columns of `evaluate.csv`."""
        for row in self.rows:
            over = _changed(row.over_plain if row is not self.plain else None)
            values = (
                row.condition, *row.res, *row.grid_size, row.method, row.rule, row.alpha,
                row.count, row.top1, *row.interval, row.standard_error, row.top5, row.loss,
                self.fragility(row), *over, *_changed(row.over_native),
                row.standard_error, over[-1],
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
    split: str = "test",
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
        split: which of its splits they are.

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
        ordered,
        dataset,
        num_classes,
        dict(parameters or {}),
        pe,
        tuple(dict.fromkeys(notes)),
        split,
    )


def _changed(pairs: PairedCounts | None) -> tuple[float, float, float, float]:
    """Return a difference, the ends of its interval, and its standard error."""
    if pairs is None:
        return (math.nan,) * 4
    return (pairs.difference, *pairs.interval, pairs.standard_error)


def _sized(res: tuple[int, int]) -> str:
    """Return a size as a user types it: `48`, or `48x64` where the sides differ."""
    return str(res[0]) if res[0] == res[1] else f"{res[0]}x{res[1]}"


def _key(row: EvaluationRow) -> str:
    return f"alpha_{row.alpha:g}" if row.condition == "scaled" else row.condition
