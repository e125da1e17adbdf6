"""Readers that know names, and structure: who is believed where they differ.

A reader that knows a library's names is believed on what its names tell. Structure serves what no
reader took, and is believed where a reader saw fewer blocks or extra tokens than the file holds, or
took a square that the values of the table contradict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from math import isqrt
from typing import Final

from pe_inspect.errors import (
    AmbiguousCheckpoint,
    GridNotStored,
    UndecidedGrid,
    UnreadableCheckpoint,
)
from pe_inspect.families.structure.biases import find_biases
from pe_inspect.families.structure.convolutions import (
    convolutions_embedding,
    find_convolutions,
    keys_of,
)
from pe_inspect.families.structure.decided_tables import decided_tables
from pe_inspect.families.structure.described import described_biases, described_rotations
from pe_inspect.families.structure.names import says_rotation
from pe_inspect.families.structure.networks import find_networks
from pe_inspect.families.structure.outer import find_outer, outer_embedding
from pe_inspect.families.structure.read_biases import bias_embedding, has_window
from pe_inspect.families.structure.read_networks import network_embedding
from pe_inspect.families.structure.read_tables import embedding_of
from pe_inspect.families.structure.structure import Structure
from pe_inspect.families.structure.towers import extra_tokens
from pe_inspect.kinds.position_embedding import PositionEmbedding

__all__ = ["reconciled"]

_OF_GRIDS: Final = ("grid_size", "img_size", "num_prefix_tokens")
_BINDING: Final = (
    *("grid_size", "img_size", "patch_size", "num_prefix_tokens", "num_heads", "join", "pe"),
    *("family", "arch", "embed_dim", "depth"),
)

_NO_GRID: Final = (
    "rotary angles are computed for any grid, and no tensor tells one (--grid-size HxW)"
)

_SEVERAL: Final = 2

Read = Callable[[], PositionEmbedding]


@dataclass(frozen=True)
class _Found:
    """One embedding that structure found, not yet read: its keys, and how to read it."""

    keys: frozenset[str]
    read: Read
    is_by_values: bool = False
    num_tokens: int = 0
    is_indexed: bool = False
    is_paired: bool = False


def reconciled(
    structure: Structure,
    named: Iterable[PositionEmbedding],
    refusal: AmbiguousCheckpoint | None = None,
) -> list[PositionEmbedding]:
    """Return the embeddings of a file, those of readers and those of structure together.

    Args:
        structure: what structure tells.
        named: what the readers that know names have read.
        refusal: what one of them refused with.

    Raises:
        AmbiguousCheckpoint: something was found, and nothing decides how to read it.
    """
    kept = list(named)
    found = list(_found(structure))
    result, used = [], set[int]()
    for pe in kept:
        own = [i for i, each in enumerate(found) if each.keys & set(pe.keys)]
        used.update(own)
        if any(set(other.keys) & set(pe.keys) for other in kept if other is not pe):
            result.append(pe)  # a reader that takes one tensor apart knows what it is
            continue
        result += _surer(pe, [found[i] for i in own]) or [
            _mended(structure, pe, [found[i] for i in own])
        ]
    open_questions = _read(result, [each.read for i, each in enumerate(found) if i not in used])
    open_questions += _read(result, _rotations(structure, result))
    if isinstance(refusal, GridNotStored) and not any(pe.scheme_kind.holds_angles for pe in result):
        result += _described(structure, refusal, result)
    if refusal is not None and not _answers(structure, result, kept):
        raise _fuller(structure, refusal, open_questions)
    if not result and not open_questions:
        result += described_biases(structure)
        if not result and structure.main_tower is not None and structure.seen.kernels:
            result += described_rotations(structure, _NO_GRID)
    if isinstance(refusal, GridNotStored):
        result = [_with_reason(pe, str(refusal)) for pe in result]
    if not result and open_questions:
        raise open_questions[0]
    return _with_towers(_with_questions(_of_family(structure, result), open_questions))


def _fuller(
    structure: Structure,
    refusal: AmbiguousCheckpoint,
    questions: list[AmbiguousCheckpoint | UnreadableCheckpoint],
) -> AmbiguousCheckpoint | UnreadableCheckpoint:
    """Return the question that lists frames too, where the file is of clips or volumes."""
    is_open = isinstance(refusal, UndecidedGrid) and structure.seen.is_deep
    return questions[0] if is_open and questions else refusal


def _read(
    result: list[PositionEmbedding], readings: Iterable[Read]
) -> list[AmbiguousCheckpoint | UnreadableCheckpoint]:
    """Add what can be read to `result`; return why the others cannot."""
    open_questions: list[AmbiguousCheckpoint | UnreadableCheckpoint] = []
    for read in readings:
        try:
            result.append(read())
        except (AmbiguousCheckpoint, UnreadableCheckpoint) as error:
            open_questions.append(error)
        except (ValueError, IndexError) as error:  # one scheme must not take down the others
            open_questions.append(UndecidedGrid(f"a table of another form: {error}"))
    return open_questions


def _rotations(structure: Structure, result: list[PositionEmbedding]) -> list[Read]:
    """Return how to read stored rotations, where no reader has found one."""
    is_turned = structure.seen.those(lambda each: says_rotation(each.path))
    if not is_turned or any(pe.scheme_kind.holds_angles for pe in result):
        return []
    from pe_inspect.families.structure.rotations import (
        find_rotations,
        grids_of,
        rotation_embedding,
    )

    known = tuple(grids_of(result))
    found = find_rotations(structure.seen)
    return [partial(rotation_embedding, structure, each, known) for each in found]


def _described(
    structure: Structure, refusal: GridNotStored, result: Iterable[PositionEmbedding]
) -> list[PositionEmbedding]:
    """Describe rotations whose grid no file tells, where no flag was given that would."""
    if any(structure.hints.is_flag(name) for name in _BINDING):
        return []
    return described_rotations(structure, str(refusal), {key for pe in result for key in pe.keys})


def _answers(
    structure: Structure, result: list[PositionEmbedding], named: list[PositionEmbedding]
) -> bool:
    """Whether structure read what a reader refused: something more, and nothing against a flag."""
    more = result[len(named) :]
    hints = structure.hints
    said = [name for name in _BINDING if structure.hints.is_flag(name)]
    if said == ["grid_size"] or set(said) == {"grid_size", "num_prefix_tokens"}:
        return any(pe.grid_size == hints.grid_size for pe in more)
    return bool(more) and not said


def _of_family(structure: Structure, result: list[PositionEmbedding]) -> list[PositionEmbedding]:
    wanted = structure.hints.family
    return [pe for pe in result if wanted in (None, pe.family)]


def _found(structure: Structure) -> Iterator[_Found]:
    for decided in decided_tables(structure):
        keys = frozenset(structure.stored(t.path for t in decided.table.tensors))
        tower = decided.table.tower
        yield _Found(
            keys,
            partial(embedding_of, structure, decided),
            "values" in decided.why,
            decided.tokens.prefix,
            is_paired=tower is not None and tower.is_paired,
        )
    if kernels := find_convolutions(structure.seen):
        keys = frozenset(keys_of(structure, kernels))
        yield _Found(keys, partial(convolutions_embedding, structure, kernels))
    yield from _found_biases(structure)


def _found_biases(structure: Structure) -> Iterator[_Found]:
    nets = find_networks(structure.seen)
    if nets:
        keys = frozenset(structure.stored(t.path for net in nets for t in net.tensors))
        yield _Found(keys, partial(network_embedding, structure, nets))
    if pairs := find_outer(structure.seen):
        added = (t.path for pair in pairs for t in (pair.down, pair.across))
        yield _Found(frozenset(structure.stored(added)), partial(outer_embedding, structure, pairs))
    for group in find_biases(structure.seen, nets, partial(_may_be_tokens, structure)):
        if not all(has_window(structure, tensor) for tensor in group.tensors):
            continue
        keys = frozenset(structure.stored(t.named.path for t in group.tensors))
        read = partial(bias_embedding, structure, group)
        deep = structure.seen.is_deep
        indexed = deep or all(tensor.tokens is not None for tensor in group.tensors)
        yield _Found(keys, read, is_indexed=indexed)


def _may_be_tokens(structure: Structure, count: int) -> bool:
    """Whether a table has so many rows, or the tower's extra tokens leave a square of them."""
    if any(table.rows == count for table in structure.tables):
        return True
    tower = structure.main_tower
    prefix = extra_tokens(structure.seen, tower.prefix, tower.width).prefix if tower else 0
    return prefix > 0 and count > prefix and isqrt(count - prefix) ** 2 == count - prefix


def _surer(pe: PositionEmbedding, own: list[_Found]) -> list[PositionEmbedding]:
    """Return structure's biases where their stored indices tell more than a reader saw."""
    kind = pe.scheme_kind
    if not (kind.is_pairwise or kind.has_reach) or kind.is_computed or not own:
        return []
    more = frozenset().union(*(each.keys for each in own)) > set(pe.keys)
    if not more and not all(each.is_indexed for each in own):
        return []
    others = [each.read() for each in own]
    is_deep = any(other.grid_size is not None and len(other.grid_size) == 3 for other in others)
    return others if is_deep or more else []


def _mended(structure: Structure, pe: PositionEmbedding, own: list[_Found]) -> PositionEmbedding:
    """Return a reader's embedding, or structure's of the same tensors where that is the surer."""
    if len(own) != 1:
        return _with_tower(structure, pe)
    try:
        other = own[0].read()
    except (AmbiguousCheckpoint, UnreadableCheckpoint):
        return pe
    if other.scheme_kind is not pe.scheme_kind:
        return pe
    if own[0].is_paired:  # a reader counted attentions and networks
        pe = replace(pe, depth=other.depth, norms=other.norms)
    is_said = any(getattr(structure.hints, name) is not None for name in _OF_GRIDS)
    if structure.hints.grid_size is not None and other.grid_size == structure.hints.grid_size:
        return _with_blocks_of(other if pe.grid_size != other.grid_size else pe, other)
    is_computed = pe.scheme_kind.is_computed  # a reader knows which copies are one
    is_surer = set(other.keys) > set(pe.keys) and not is_computed  # it saw two of three axes
    is_surer = is_surer or (not is_said and _sees_more(own[0], pe, other))
    return _with_blocks_of(other, pe) if is_surer else _with_blocks_of(pe, other)


def _with_tower(structure: Structure, pe: PositionEmbedding) -> PositionEmbedding:
    """Return an embedding of no block that a reader knew with the blocks of the main tower."""
    tower = structure.main_tower
    if pe.depth or tower is None:
        return pe
    norms = pe.norms if any(norm.layer for norm in pe.norms) else structure.norms(tower)
    return replace(pe, depth=tower.depth, norms=norms)


def _sees_more(found: _Found, pe: PositionEmbedding, other: PositionEmbedding) -> bool:
    """Whether values, a third axis or extra tokens tell structure what a reader did not see."""
    if found.num_tokens > pe.num_prefix_tokens:
        return True
    if not (pe.has_places and other.has_places):
        return False
    own, seen = tuple(pe.grid_size), tuple(other.grid_size)
    is_line, is_deeper = min(own) == 1 < min(seen), len(own) < len(seen)
    return is_line or is_deeper or (found.is_by_values and seen != own)


def _with_blocks_of(pe: PositionEmbedding, other: PositionEmbedding) -> PositionEmbedding:
    """Return an embedding with the depth and the norms of whoever saw more blocks."""
    surer = other if _blocks_with_norms(other) > _blocks_with_norms(pe) else pe
    return replace(pe, depth=max(pe.depth, other.depth), norms=surer.norms)


def _blocks_with_norms(pe: PositionEmbedding) -> int:
    return len({norm.layer for norm in pe.norms if norm.layer})


def _with_towers(result: list[PositionEmbedding]) -> list[PositionEmbedding]:
    """Say how one of several towers is chosen, where each has a table of its own."""
    tables = [pe for pe in result if pe.scheme_kind.has_token_rows and pe.keys]
    places = dict.fromkeys(pe.keys[0].partition(".")[0] for pe in tables)
    if len(places) < len(tables) or len(tables) < _SEVERAL:
        return result
    said = f"{len(places)} towers, each with a table: --tower {' or '.join(places)} reads one alone"
    return [replace(result[0], notes=(*result[0].notes, said)), *result[1:]]


def _with_reason(pe: PositionEmbedding, why: str) -> PositionEmbedding:
    """Say in a note why an embedding has no grid, and which flags would give it one."""
    if pe.has_places or why in pe.notes:
        return pe
    return replace(pe, notes=(why, *pe.notes))


def _with_questions(
    result: list[PositionEmbedding], questions: list[AmbiguousCheckpoint | UnreadableCheckpoint]
) -> list[PositionEmbedding]:
    """Say in a note what was found beside and could not be read."""
    if not questions:
        return result
    said = tuple(f"not read: {question}" for question in questions)
    return [replace(result[0], notes=(*result[0].notes, *said)), *result[1:]]
