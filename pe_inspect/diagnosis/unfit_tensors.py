"""Findings on tensors that no scheme accounts for: position tensors first, then all others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Final

from pe_inspect.analysis.common.sentences import count_text
from pe_inspect.diagnosis.fields import listed
from pe_inspect.diagnosis.mended_file import mended_file
from pe_inspect.diagnosis.pair import Explained, Pair
from pe_inspect.diagnosis.shape_words import is_position, shape_words
from pe_inspect.diagnosis.tensor_differences import by_pattern, pattern_of
from pe_inspect.finding import Finding
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["other_names", "other_tensors", "other_types", "position_tensors", "renamed"]

Shape = tuple[int, ...]
MOST_NAMED: Final = 6
_STOPS: Final = "load_state_dict stops at them with strict=True"


def other_names(pair: Pair, _told: frozenset[str]) -> Iterator[Explained]:
    """Find files whose names have nothing in common, or differ by a wrapper."""
    if pair.tensors.unrelated:
        yield _unrelated(pair), frozenset()
        return
    wrappers = {(_wrapper(pair.here, name), _wrapper(pair.there, name)) for name in _both(pair)}
    unlike = [each for each in wrappers if each[0] != each[1]]
    if unlike:
        yield _wrapped(pair, *max(unlike)), frozenset()


def _both(pair: Pair) -> list[str]:
    return [name for name in pair.here if name in pair.there]


def _wrapper(checkpoint: Checkpoint, name: str) -> str:
    return checkpoint.stored_key(name).removesuffix(name)


def _unrelated(pair: Pair) -> Finding:
    first = [next(iter(each), "none") for each in (pair.here, pair.there)]
    return Finding(
        "mismatch-name",
        pair.here.source,
        f"None of the {len(pair.here)} names of {pair.here.source} ({first[0]}, …) is among the "
        f"{len(pair.there)} of {pair.there.source} ({first[1]}, …).",
        "The two are of different libraries, or of different models: no tensor would be loaded.",
        "Load the file by the library that wrote it, or convert its names: `pe-inspect info` shows "
        "both.",
        {"here": len(pair.here), "there": len(pair.there)},
        "error",
    )


def _wrapped(pair: Pair, here: str, there: str) -> Finding:
    names = [name for name in _both(pair) if _wrapper(pair.here, name) == here]
    stored = pair.here.stored_key(names[0])
    return Finding(
        "mismatch-name",
        stored,
        f"{len(names)} names differ by a wrapper: {stored!r} in {pair.here.source} is "
        f"{pair.there.stored_key(names[0])!r} in {pair.there.source}.",
        f"{_STOPS}; with strict=False nothing is loaded, without a word.",
        mended_file(
            pair.here,
            stored,
            [
                f"for key in [k for k in state if k.startswith({here!r})]:",
                f"    state[{f'{there!r} + ' if there else ''}key.removeprefix({here!r})] = "
                "state.pop(key)",
            ],
        ),
        {"here": here, "there": there, "tensors": len(names)},
        "error",
        "python",
    )


def position_tensors(pair: Pair, told: frozenset[str]) -> Iterator[Explained]:
    """Explain position tensors of other shapes one by one, and name those that one file lacks."""
    found = {
        name: shapes
        for name, shapes in pair.tensors.reshaped.items()
        if name not in told and is_position(name, *shapes)
    }
    by_shapes: dict[tuple[Shape, Shape], list[str]] = defaultdict(list)
    for name, shapes in found.items():
        by_shapes[shapes].append(name)
    for shapes, names in by_shapes.items():
        yield _reshaped(pair, names, *shapes), frozenset(names)
    missing, extra = (
        _of_position(each, told) for each in (pair.tensors.missing, pair.tensors.extra)
    )
    if missing or extra:
        yield _lone(pair, missing, extra), frozenset((*missing, *extra))


def _of_position(shapes: Mapping[str, Shape], told: frozenset[str]) -> list[str]:
    return [name for name in shapes if name not in told and is_position(name)]


def _reshaped(pair: Pair, names: list[str], here: Shape, there: Shape) -> Finding:
    patterns, words = list(by_pattern(names)), shape_words(here, there)
    return Finding(
        "mismatch-position",
        patterns[0],
        f"{listed(patterns)} {'has' if len(names) == 1 else 'have'} shape {here} in "
        f"{pair.here.source}, {there} in {pair.there.source}{f': {words}' if words else ''}.",
        f"{_STOPS}, and no command of pe-inspect resizes them.",
        "Build the model at the size that the file was saved at, or resample these tensors by the "
        "rule of the model's own code.",
        {"tensors": names, "shape": list(here), "expected_shape": list(there)},
        "error",
    )


def _lone(pair: Pair, missing: list[str], extra: list[str]) -> Finding:
    return Finding(
        "mismatch-position",
        (missing or extra)[0],
        " ".join(_lacks(pair, missing, extra)),
        f"{_STOPS}; with strict=False the model keeps its own values of what is missing.",
        "Where they are buffers, the model computes them: load with strict=False. Where they are "
        "learned, this is another model: build the one that the file was saved from.",
        {"missing": missing, "extra": extra},
        "error",
    )


def _lacks(pair: Pair, missing: list[str], extra: list[str]) -> Iterator[str]:
    if missing:
        count, names = count_text(len(missing), "tensor"), _listed_patterns(missing)
        yield f"{count} of position in {pair.there.source} alone: {names}."
    if extra:
        count, names = count_text(len(extra), "tensor"), _listed_patterns(extra)
        yield f"{count} of position in {pair.here.source} alone: {names}."


def _listed_patterns(names: list[str]) -> str:
    return listed(list(by_pattern(names)), MOST_NAMED)


def renamed(pair: Pair, told: frozenset[str]) -> Iterator[Explained]:
    """Find a tensor that each file has under a name of its own: the only ones of their shape.

    Shapes of one axis are left alone: all norms and biases have those. Where no name is shared, the
    files are of two libraries, and one shape says nothing.
    """
    if pair.tensors.unrelated:
        return
    lone = [
        _by_shape({name: s for name, s in each.items() if name not in told and len(s) > 1})
        for each in (pair.tensors.extra, pair.tensors.missing)
    ]
    for shape in lone[0].keys() & lone[1].keys():
        here, there = (each[shape] for each in lone)
        if len(here) == len(there) == 1 and "*" not in pattern_of(here[0]):
            yield _other_name(pair, here[0], there[0], shape), frozenset((*here, *there))


def _by_shape(shapes: Mapping[str, Shape]) -> dict[Shape, list[str]]:
    groups: dict[Shape, list[str]] = defaultdict(list)
    for name, shape in shapes.items():
        groups[shape].append(name)
    return groups


def _other_name(pair: Pair, here: str, there: str, shape: Shape) -> Finding:
    mine, other = pair.here.stored_key(here), pair.there.stored_key(there)
    return Finding(
        "mismatch-name",
        mine,
        f"{mine!r} in {pair.here.source} and {other!r} in {pair.there.source} are the only ones of "
        f"shape {shape} that the other lacks: they may be one tensor under two names.",
        f"{_STOPS}.",
        f"state[{other!r}] = state.pop({mine!r})",
        {"here": mine, "there": other},
        "error",
        "python",
    )


def other_tensors(pair: Pair, told: frozenset[str]) -> Iterator[Explained]:
    """Count and name all other tensors that keep the one out of the other."""
    if pair.tensors.unrelated:
        return
    reshaped, missing, extra = (
        [name for name in each if name not in told]
        for each in (pair.tensors.reshaped, pair.tensors.missing, pair.tensors.extra)
    )
    if reshaped or missing or extra:
        finding = _remaining(pair, reshaped, missing, extra, is_all=not told)
        yield finding, frozenset((*reshaped, *missing, *extra))


def _remaining(
    pair: Pair, reshaped: list[str], missing: list[str], extra: list[str], *, is_all: bool
) -> Finding:
    parts = [
        f"{count_text(len(names), 'tensor')} {what} ({shown(names)})"
        for names, what, shown in (
            (reshaped, "of other shapes", partial(_shapes, pair)),
            (missing, "missing", _listed_patterns),
            (extra, "too many", _listed_patterns),
        )
        if names
    ]
    of_all = f" of {len(pair.here)} here, {len(pair.there)} there"
    return Finding(
        "mismatch-tensors",
        (reshaped or missing or extra)[0],
        f"{'The' if is_all else 'Besides, the'} files differ in tensors that are none of "
        f"position: {'; '.join(parts)}{of_all}.",
        f"{_STOPS}; strict=False leaves out those that are missing or too many, and stops at other "
        "shapes all the same.",
        "Build the model with the settings of the file (classes, patch size, heads), or leave "
        "these tensors out of the state dict, load with strict=False and train them.",
        {"reshaped": reshaped, "missing": missing, "extra": extra},
        "error",
    )


def _shapes(pair: Pair, names: list[str]) -> str:
    groups = by_pattern(names)
    shown = []
    for pattern, members in list(groups.items())[:MOST_NAMED]:
        here, there = pair.tensors.reshaped[members[0]]
        shown.append(f"{pattern} {here} here, {there} there")
    more = f"; and {len(groups) - MOST_NAMED} more" if len(groups) > MOST_NAMED else ""
    return "; ".join(shown) + more


def other_types(pair: Pair, _told: frozenset[str]) -> Iterator[Explained]:
    """Find tensors that are whole numbers in one file and real ones in the other: quantised."""
    unlike = [
        name
        for name in _both(pair)
        if _is_real(pair.here, name) != _is_real(pair.there, name)
        and pair.here.shape(name) == pair.there.shape(name)
    ]
    if not unlike:
        return
    first = unlike[0]
    types = [each.dtype(first) for each in (pair.here, pair.there)]
    yield (
        Finding(
            "mismatch-type",
            first,
            f"Whole numbers in one file are real ones in the other ({len(unlike)} of the tensors): "
            f"{first} is {types[0]} in {pair.here.source}, {types[1]} in {pair.there.source}.",
            "One of the two is quantised: load_state_dict copies such numbers as they are, without "
            "their scale, and says nothing.",
            "Load the quantised one by the library that quantised it, or take the file that it was "
            "made from.",
            {"tensors": unlike, "here": types[0], "there": types[1]},
        ),
        frozenset(unlike),
    )


def _is_real(checkpoint: Checkpoint, name: str) -> bool:
    return "float" in checkpoint.dtype(name)
