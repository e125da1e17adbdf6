"""Mends of several findings of one pair of files: each says what it does not mend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from pe_inspect.diagnosis.fields import listed
from pe_inspect.diagnosis.pair import Explained, Pair
from pe_inspect.diagnosis.tensor_differences import by_pattern
from pe_inspect.finding import Finding

__all__ = ["together"]

MOST_NAMED: Final = 6


def together(pair: Pair, explained: Sequence[Explained]) -> Iterator[Finding]:
    """Yield the findings; a mend that can be run says what other findings leave unmended.

    Args:
        pair: the two files.
        explained: every finding on them, with the names of the tensors that it accounts for.
    """
    left = [(finding, names) for finding, names in explained if not finding.runs_in]
    words = _left_over(pair, left)
    for finding, _ in explained:
        yield replace(finding, mend=f"{finding.mend}\n{words}") if _says(finding, left) else finding


def _says(finding: Finding, left: Sequence[Explained]) -> bool:
    return bool(left and finding.runs_in)


def _left_over(pair: Pair, left: Sequence[Explained]) -> str:
    """Write what stays as a comment, of shells and of Python alike."""
    names = {name for _, each in left for name in each}
    tensors = pair.tensors
    parts = [
        f"{what} {_shown(names & held.keys())}"
        for what, held in (
            ("other shapes of", tensors.reshaped),
            ("the file lacks", tensors.missing),
            ("the model has no", tensors.extra),
        )
        if names & held.keys()
    ]
    said = "; ".join(parts) or ", ".join(finding.code for finding, _ in left)
    return f"# This mend alone does not suffice. Nothing here mends: {said}."


def _shown(names: set[str]) -> str:
    return listed(list(by_pattern(sorted(names))), MOST_NAMED)
