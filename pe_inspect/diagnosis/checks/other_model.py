"""Why the weights of one checkpoint do not fit the model of another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np

from pe_inspect.analysis.layernorm import LayerNormResult
from pe_inspect.diagnosis.case import Case, Expected, opened
from pe_inspect.diagnosis.checks import on_case
from pe_inspect.diagnosis.mismatch import ExpectedTable, mismatch
from pe_inspect.diagnosis.pair import Explained, Pair
from pe_inspect.diagnosis.readings import Readings, alike
from pe_inspect.diagnosis.tensor_differences import by_pattern, pattern_of
from pe_inspect.diagnosis.together import together
from pe_inspect.diagnosis.unfit_tensors import (
    other_names,
    other_tensors,
    other_types,
    position_tensors,
    renamed,
)
from pe_inspect.families.reading.grid import x
from pe_inspect.finding import Finding
from pe_inspect.kinds.layouts import source_grid
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["differences", "other_model"]

Embeddings = tuple[PositionEmbedding, ...]

# Of a table's size: far under what a step of training changes, far over what casting does.
SAME: Final = 1e-2
_NO_RESAMPLING: Final = (
    "None: the widths differ too (mismatch-width), and no resampling changes those."
)

_OTHER_JOIN: Final = (
    "With a position norm goes the way in which position enters (its join): build the model with "
    "the join that the file has; `pe-inspect info` names it."
)
_OTHER_NORMS: Final = (
    "Models with other norms are of other classes: build the class that the file was saved from."
)
_OTHER_CLASS: Final = (
    "None by rows alone: the model also has {tokens}, which the file lacks: it is of another "
    "class. Build the class that the file was saved from, or train these anew."
)
_SPARE_CLASS: Final = (
    "None by rows alone: the file also has {tokens}, which the model lacks: it is of another "
    "class. Build the class that the file was saved from."
)


@on_case(
    "other-model",
    codes=(
        "mismatch-scheme", "mismatch-width", "mismatch-norms", "mismatch-rows", "mismatch-grid",
        "mismatch-position", "mismatch-name", "mismatch-tensors", "mismatch-type", "transposed",
    ),
    is_asked=lambda expected: expected.other is not None,
)  # fmt: skip
def other_model(case: Case) -> Iterator[Finding]:
    """What keeps the weights out of the model of another checkpoint."""
    other = case.expected.other
    if other is not None:
        theirs = opened(other, Expected())
        divided = case.readings, theirs.readings
        pair = Pair(case.checkpoint, case.tables, other, theirs.tables, divided)
        yield from _differences(pair)


def differences(
    here: Checkpoint, mine: Embeddings, there: Checkpoint, others: Embeddings
) -> Iterator[Finding]:
    """Compare every tensor by name and shape; those of positions are explained, all are counted.

    There is a finding wherever `load_state_dict(strict=True)` would stop, but for wrappers.

    Args:
        here: the checkpoint that is examined.
        mine: its embeddings.
        there: the checkpoint that it should fit.
        others: that one's embeddings.
    """
    yield from _differences(Pair(here, mine, there, others))


def _differences(pair: Pair) -> Iterator[Finding]:
    yield from together(pair, list(_explained(pair)))
    for pe, other in pair.embeddings():
        yield from _turned(pair.here, pe, pair.there, other)


def _explained(pair: Pair) -> Iterator[Explained]:
    told = set[str]()
    for explain in _EXPLANATIONS:
        for finding, names in explain(pair, frozenset(told)):
            told |= names
            yield finding, names


def _schemes(pair: Pair, _told: frozenset[str]) -> Iterator[Explained]:
    has, wants = ({pe.scheme_kind: pe.family for pe in each} for each in (pair.mine, pair.others))
    if has.keys() == wants.keys() or pair.tensors.none:
        return
    names = [", ".join(each.values()) or "none" for each in (has, wants)]
    yield (
        Finding(
            "mismatch-scheme",
            pair.here.source,
            f"{pair.here.source} holds {names[0]}; {pair.there.source} holds {names[1]}.",
            "Position enters these models in different ways: no resampling turns one into the "
            "other.",
            "Load the file into the model that it was saved from: `pe-inspect info` shows both.",
            {"here": sorted(has.values()), "there": sorted(wants.values())},
            "error",
        ),
        frozenset(),
    )


def _sizes(pair: Pair, _told: frozenset[str]) -> Iterator[Explained]:
    """Find another width, number of heads or depth: all tensors that differ as it does."""
    sizes = pair.sizes()
    if not sizes:
        return
    said = ", ".join(f"{name} {a} here, {b} there" for name, (a, b) in sizes.items())
    yield (
        Finding(
            "mismatch-width",
            pair.mine[0].family if pair.mine else pair.here.source,
            f"The models are of different sizes: {said}.",
            "Widths and depths are not interpolated: these are two models of one family.",
            f"Use weights of the size of {pair.there.source}, or build the model that "
            f"{pair.here.source} was saved from.",
            {name: list(each) for name, each in sizes.items()},
            "error",
        ),
        frozenset(pair.tensors.of_width() | pair.tensors.of_depth()),
    )


def _norms(pair: Pair, _told: frozenset[str]) -> Iterator[Explained]:
    for pe, other in pair.embeddings():
        has, wants = ({norm.name for norm in each.norms} for each in (pe, other))
        missing, extra = sorted(wants - has), sorted(has - wants)
        if names := pair.of_modules({*missing, *extra}):
            yield _unlike_norms(pair, pe, missing, extra), names


def _unlike_norms(
    pair: Pair, pe: PositionEmbedding, missing: list[str], extra: list[str]
) -> Finding:
    is_of_position = any(map(LayerNormResult.is_position_norm, missing + extra))
    parts = [
        *([f"{pair.here.source} lacks {', '.join(missing)}"] if missing else []),
        *([f"{pair.there.source} has no {', '.join(extra)}"] if extra else []),
    ]
    return Finding(
        "mismatch-norms",
        pe.family,
        f"The norms differ: {'; '.join(parts)}.",
        "A norm that is missing keeps its initial values when loaded without `strict`; one that is "
        "extra is dropped.",
        _OTHER_JOIN if is_of_position else _OTHER_NORMS,
        {"missing": missing, "extra": extra},
    )


def _tables_of_rows(pair: Pair, _told: frozenset[str]) -> Iterator[Explained]:
    """Explain tables of rows, whose numbers are other ones: by their grids and prefix rows."""
    for mine, other in (alike(*each) for each in _paired(pair)):
        if mine.rows != other.rows:
            same = mine.taken is not None and mine.own == other.own and mine.own.known
            prefix = mine.taken.num_prefix_rows if same and mine.taken is not None else None
            wanted = ExpectedTable(other.rows, pair.there.source, other.taken, prefix)
            finding = mismatch(pair.here, mine, wanted)
            if pair.is_unlike(in_attention=mine.is_bias):
                finding = _in_words(finding, _NO_RESAMPLING)
            elif lacking := pair.lacking_tokens():
                finding = _in_words(finding, _OTHER_CLASS.format(tokens=", ".join(lacking)))
            elif spare := pair.spare_tokens():
                finding = _in_words(finding, _SPARE_CLASS.format(tokens=", ".join(spare)))
            yield finding, pair.resized_with(pair.name_of(mine.key))
        elif pair.name_of(mine.key) != pair.name_there(other.key):
            names = frozenset({pair.name_of(mine.key), pair.name_there(other.key)})
            yield _renamed(pair, mine, other), names


def _in_words(finding: Finding, mend: str) -> Finding:
    return replace(finding, mend=mend, runs_in="")


def _paired(pair: Pair) -> Iterator[tuple[Readings, Readings]]:
    """Yield the tables of both files that are one another's: by their names, else in order."""
    here, there = pair.tables
    theirs = {pair.name_there(each.key): each for each in there}
    unmatched = list[Readings]()
    for mine in here:
        name = pair.name_of(mine.key)
        if name in theirs and theirs[name].is_bias == mine.is_bias:
            yield mine, theirs.pop(name)
        elif name not in pair.there:
            unmatched.append(mine)
    left = [each for name, each in theirs.items() if name not in pair.here]
    yield from ((a, b) for a, b in zip(unmatched, left) if a.is_bias == b.is_bias)


def _renamed(pair: Pair, mine: Readings, other: Readings) -> Finding:
    return Finding(
        "mismatch-name",
        mine.key,
        f"The same table is called {mine.key!r} in {pair.here.source} and {other.key!r} in "
        f"{pair.there.source}.",
        "A loader that goes by name finds no position embedding, and with strict=False says "
        "nothing.",
        f"state[{other.key!r}] = state.pop({mine.key!r})",
        {"here": mine.key, "there": other.key},
        "error",
        "python",
    )


def _grids(pair: Pair, told: frozenset[str]) -> Iterator[Explained]:
    """Explain what another grid changes beside tables of rows: biases by distance, buffers."""
    if pair.resized is None:
        return
    names = pair.resized.fits & pair.tensors.reshaped.keys() - told
    if names:
        yield _other_grid(pair, pair.resized.command, names), names


def _other_grid(pair: Pair, command: str, names: frozenset[str]) -> Finding:
    grids = [source_grid(pair.main_of(each)) for each in (pair.mine, pair.others)]
    patterns = sorted(by_pattern(names))
    shown = patterns[0] + (f" and {len(patterns) - 1} more" if len(patterns) > 1 else "")
    first = min(names)
    shapes = pair.tensors.reshaped[first]
    return Finding(
        "mismatch-grid",
        pattern_of(first),
        f"{pair.main_of(pair.mine).family} is of {x(grids[0])} patches here, of {x(grids[1])} in "
        f"{pair.there.source}: {len(names)} tensors have other shapes ({shown}: {shapes[0]} here, "
        f"{shapes[1]} there).",
        "Loading stops with a size mismatch for each of them, with strict=False too.",
        command or "Save the state dict to a file: `pe-inspect interpolate --write` resizes it.",
        {
            "grid_size": list(grids[0]),
            "expected_grid_size": list(grids[1]),
            "tensors": sorted(names),
        },
        "error",
        "shell" if command else "",
    )


_EXPLANATIONS: Final = (
    other_names, _schemes, _sizes, _tables_of_rows, _grids, _norms, position_tensors, renamed,
    other_tensors, other_types,
)  # fmt: skip


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
