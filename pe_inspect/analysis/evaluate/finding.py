"""What `evaluate` found, in one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pe_inspect.analysis.common.sentences import listed, sentence
from pe_inspect.analysis.evaluate.rows import EvaluationRow

__all__ = ["accuracy_text", "finding_of", "interval_text"]


def finding_of(
    plain: EvaluationRow,
    changed: Sequence[EvaluationRow],
    at_sizes: Sequence[EvaluationRow],
    images: str,
) -> str:
    """Word the plain model's accuracy, then what changes make of it.

    Args:
        plain: the model as it is, at its own size.
        changed: with positions or patches changed, at that size.
        at_sizes: at other sizes, by the model's own rule.
        images: what the images are.
    """
    whole = (
        f"Top-1 is {accuracy_text(plain)} (95 % interval {interval_text(plain)}) on "
        f"{plain.count:,} {images}"
    )
    return sentence([whole, *_changes_found(changed), *_sizes_found(at_sizes)])


def _changes_found(changed: Sequence[EvaluationRow]) -> Iterator[str]:
    if changed:
        found = [f"{accuracy_text(row)} {row.name}" for row in changed]
        yield f"with positions changed it is {listed(found)}"


def _sizes_found(rows: Sequence[EvaluationRow]) -> Iterator[str]:
    if rows:
        at = [f"{accuracy_text(row)} at {row.res[0]}×{row.res[1]}" for row in rows]
        yield f"by the model's own rule it is {listed(at)}"


def accuracy_text(row: EvaluationRow) -> str:
    """Write a row's top-1 in per cent with one decimal."""
    return f"{100 * row.top1:.1f}\N{NO-BREAK SPACE}%"


def interval_text(row: EvaluationRow) -> str:
    """Write the interval of a row's top-1 in per cent with one decimal: `50.2 to 69.1`."""
    return " to ".join(f"{100 * end:.1f}" for end in row.interval)
