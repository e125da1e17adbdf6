"""Why the weights of one checkpoint do not fit the model of another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from pe_inspect.diagnosis.case import Case
from pe_inspect.diagnosis.checks import on_case
from pe_inspect.diagnosis.mismatch import ExpectedTable, mismatch
from pe_inspect.diagnosis.readings import Readings, file_readings
from pe_inspect.errors import AmbiguousCheckpoint, NoPositionEmbedding
from pe_inspect.families import extract
from pe_inspect.finding import Finding
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["differences", "other_model"]

Embeddings = tuple[PositionEmbedding, ...]

# Of a table's size: far under what a step of training changes, far over what casting does.
SAME: Final = 1e-2
_NO_RESAMPLING: Final = (
    "None: the widths differ too (mismatch-width), and no resampling changes those."
)


@on_case(
    "other-model",
    codes=(
        "mismatch-scheme", "mismatch-width", "mismatch-norms", "mismatch-rows", "mismatch-name",
        "transposed",
    ),
)  # fmt: skip
def other_model(case: Case) -> Iterator[Finding]:
    """What keeps the weights out of the model of another checkpoint."""
    other = case.expected.other
    if other is None:
        return
    try:
        theirs = extract(other, with_sha256=False)
    except (NoPositionEmbedding, AmbiguousCheckpoint):
        theirs = ()
    yield from differences(case.checkpoint, case.tables, other, theirs)


def differences(
    here: Checkpoint, mine: Embeddings, there: Checkpoint, others: Embeddings
) -> Iterator[Finding]:
    """Compare schemes, widths, rows, names, depth, norms and the order of axes.

    Args:
        here: the checkpoint that is examined.
        mine: its embeddings.
        there: the checkpoint that it should fit.
        others: that one's embeddings.
    """
    yield from _schemes(here, mine, there, others)
    by_kind = {pe.kind: pe for pe in reversed(others)}
    for pe in mine:
        if (other := by_kind.get(pe.kind)) is not None:
            yield from _sizes(here, pe, there, other)
            yield from _norms(here, pe, there, other)
            yield from _turned(here, pe, there, other)
    yield from _rows(here, there, _of_other_widths(mine, by_kind))


def _schemes(
    here: Checkpoint, mine: Embeddings, there: Checkpoint, others: Embeddings
) -> Iterator[Finding]:
    has, wants = {pe.kind: pe.family for pe in mine}, {pe.kind: pe.family for pe in others}
    if has.keys() == wants.keys():
        return
    names = [", ".join(each.values()) or "none" for each in (has, wants)]
    yield Finding(
        "mismatch-scheme",
        here.source,
        f"{here.source} holds {names[0]}; {there.source} holds {names[1]}.",
        "Position enters these models in different ways: no resampling turns one into the other.",
        "Load the file into the model that it was saved from: `pe-inspect info` shows both.",
        {"here": sorted(has.values()), "there": sorted(wants.values())},
        "error",
    )


def _sizes(
    here: Checkpoint, pe: PositionEmbedding, there: Checkpoint, other: PositionEmbedding
) -> Iterator[Finding]:
    sizes = {"depth": (pe.depth, other.depth)}
    if pe.scheme_kind.has_token_rows:
        sizes["embed_dim"] = (pe.embed_dim, other.embed_dim)
    else:
        sizes["num_heads"] = (pe.num_heads or 0, other.num_heads or 0)
    unequal = {name: pair for name, pair in sizes.items() if all(pair) and pair[0] != pair[1]}
    if unequal:
        said = ", ".join(f"{name} {a} here, {b} there" for name, (a, b) in unequal.items())
        yield Finding(
            "mismatch-width",
            pe.family,
            f"The models are of different sizes: {said}.",
            "Widths and depths are not interpolated: these are two models of one family.",
            f"Use weights of the size of {there.source}, or build the model that {here.source} "
            "was saved from.",
            {name: list(pair) for name, pair in unequal.items()},
            "error",
        )


def _norms(
    here: Checkpoint, pe: PositionEmbedding, there: Checkpoint, other: PositionEmbedding
) -> Iterator[Finding]:
    has, wants = ({norm.name for norm in each.norms} for each in (pe, other))
    missing, extra = sorted(wants - has), sorted(has - wants)
    if not missing and not extra:
        return
    parts = [
        *([f"{here.source} lacks {', '.join(missing)}"] if missing else []),
        *([f"{there.source} has no {', '.join(extra)}"] if extra else []),
    ]
    yield Finding(
        "mismatch-norms",
        pe.family,
        f"The norms differ: {'; '.join(parts)}.",
        "A norm that is missing keeps its initial values when loaded without `strict`; one that is "
        "extra is dropped. With a position norm goes the way in which position enters (its join).",
        "Build the model with the join that the file has: `pe-inspect info` names it.",
        {"missing": missing, "extra": extra},
    )


def _of_other_widths(mine: Embeddings, others: Mapping[Any, PositionEmbedding]) -> set[str]:
    """Return the kinds whose tables no resampling makes fit."""
    return {
        pe.kind
        for pe in mine
        if (other := others.get(pe.kind)) is not None
        and (pe.embed_dim, pe.num_heads) != (other.embed_dim, other.num_heads)
    }


def _rows(here: Checkpoint, there: Checkpoint, unlike: set[str]) -> Iterator[Finding]:
    for mine, other in zip(file_readings(here), file_readings(there)):
        if mine.is_bias != other.is_bias:
            continue
        if mine.rows != other.rows:
            wanted = ExpectedTable(other.rows, there.source, other.taken)
            finding = mismatch(here, mine, wanted)
            is_unlike = ("bias" if mine.is_bias else "vectors") in unlike
            yield replace(finding, mend=_NO_RESAMPLING) if is_unlike else finding
        elif mine.key != other.key:
            yield _renamed(here, mine, there, other)


def _renamed(here: Checkpoint, mine: Readings, there: Checkpoint, other: Readings) -> Finding:
    return Finding(
        "mismatch-name",
        mine.key,
        f"The same table is called {mine.key!r} in {here.source} and {other.key!r} in "
        f"{there.source}.",
        "A loader that goes by name finds no position embedding, and with strict=False says "
        "nothing.",
        f"state[{other.key!r}] = state.pop({mine.key!r})",
        {"here": mine.key, "there": other.key},
        "error",
    )


def _turned(
    here: Checkpoint, pe: PositionEmbedding, there: Checkpoint, other: PositionEmbedding
) -> Iterator[Finding]:
    """Find a table that is the other one with rows and columns exchanged."""
    if not pe.scheme_kind.has_token_rows or pe.embed_dim != other.embed_dim:
        return
    a, b = (each.tables[0].patches.reshape(*each.grid_size, -1) for each in (pe, other))
    if a.shape != b.transpose(1, 0, 2).shape or _apart(a, b.transpose(1, 0, 2)) > SAME:
        return
    if a.shape == b.shape and _apart(a, b) <= SAME:
        return
    yield Finding(
        "transposed",
        pe.keys[0] if pe.keys else pe.family,
        f"The table of {here.source} is that of {there.source} with rows and columns exchanged "
        f"(they differ by {_apart(a, b.transpose(1, 0, 2)):.1e} of their size then).",
        "Every patch gets the position of its mirror image across the diagonal.",
        "Exchange the axes back: reshape the patch rows to (H, W, D), .transpose(0, 1), flatten.",
        {"relative_difference": _apart(a, b.transpose(1, 0, 2)), "threshold": SAME},
        "error",
    )


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    size = float(np.linalg.norm(b))
    return float(np.linalg.norm(a - b)) / size if size > 0 else float("inf")
