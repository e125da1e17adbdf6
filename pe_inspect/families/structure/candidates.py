"""Tensors that may hold positions though nothing could read them: what a refusal must list."""

from __future__ import annotations

from typing import Final

from pe_inspect.families.reading.tensors import NamedTensors
from pe_inspect.families.structure.names import (
    NamedTensor,
    is_no_position,
    named_tensors,
    says_position,
    says_relative,
    token_sort,
    wildcard,
)
from pe_inspect.families.structure.towers import Survey, survey

__all__ = ["candidates"]

_FEWEST: Final = 4
_MOST: Final = 6
_OF_MATRICES: Final = ("weight", "kernel", "bias", "in_proj_weight", "running_mean", "running_var")


def candidates(tensors: NamedTensors) -> str:
    """Return one sentence that lists candidates with their shapes; empty where there are none.

    Args:
        tensors: of a file in which no position embedding was found.
    """
    seen = survey(named_tensors(tensors.checkpoint))
    found: dict[str, NamedTensor] = {}
    for path, named in seen.tensors.items():
        if _may_hold(seen, named):
            found.setdefault(wildcard(path), named)
    nets = [named for named in found.values() if seen.has_bias(named)]
    tables = [named for named in found.values() if not seen.has_bias(named)]
    return " ".join(filter(None, (_of_tables(tensors, tables), _of_networks(tensors, nets))))


def _of_tables(tensors: NamedTensors, found: list[NamedTensor]) -> str:
    if not found:
        return ""
    listed = [f"{tensors.stored_key(t.key)} {t.shape}" for t in found[:_MOST]]
    more = f", and {len(found) - _MOST} more forms" if len(found) > _MOST else ""
    return (
        f"Not recognised. These may hold positions: {'; '.join(listed)}{more}. "
        "--state-dict-key KEY reads one of them as a table of vectors."
    )


def _of_networks(tensors: NamedTensors, found: list[NamedTensor]) -> str:
    if not found:
        return ""
    name, inputs = tensors.stored_key(found[0].key), found[0].shape[1]
    return (
        f"Not recognised. {name} {found[0].shape} may begin a network that computes positions "
        f"from {inputs} coordinates: no table of them is in the file."
    )


def _takes_coordinates(named: NamedTensor) -> bool:
    """Whether a matrix begins a network from coordinates, by its inputs and its name."""
    return len(named.shape) == 2 and named.shape[1] in (2, 3) and says_position(named.path)


def _may_hold(seen: Survey, named: NamedTensor) -> bool:
    if not named.is_floating or seen.is_text(named.path):
        return False
    if seen.has_bias(named):
        return _takes_coordinates(named)
    if named.leaf == "bias" or is_no_position(named.path) or named.size < _FEWEST:
        return False
    if says_position(named.path) or says_relative(named.path):
        return len(named.shape) > 1
    is_free = named.path not in seen.in_block and named.leaf not in _OF_MATRICES
    widths = frozenset().union(*(tower.widths for tower in seen.towers if tower.attends))
    rows = named.size // max(1, max(set(named.shape) & widths, default=named.size))
    return is_free and rows >= _FEWEST and not token_sort(named.path)
