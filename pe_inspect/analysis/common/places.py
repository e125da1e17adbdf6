"""Which blocks or places of a live model are meant: by name, by number, or by what they enter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from pe_inspect.errors import UsageError
from pe_inspect.registry import did_you_mean

__all__ = ["Chosen", "chosen_head", "chosen_places", "chosen_states"]

Chosen: TypeAlias = int | str | tuple[int | str, ...] | None


def chosen_places(
    names: Sequence[str], layer: Chosen, also: Mapping[str, str] | None = None
) -> list[int]:
    """Return where the chosen ones are among `names`, in their order; all where none is chosen.

    Args:
        names: of all.
        layer: names, or numbers from 0; one, or several.
        also: other names for some: `{"blocks.3": "h3"}`.

    Raises:
        UsageError: there is no such one.
    """
    if layer is None:
        return list(range(len(names)))
    asked = [layer] if isinstance(layer, (int, str)) else layer
    return sorted({_place_of(names, each, also or {}) for each in asked})


def _place_of(names: Sequence[str], asked: int | str, also: Mapping[str, str]) -> int:
    name = also.get(str(asked), str(asked))
    if name in names:
        return list(names).index(name)
    if not name.lstrip("-").isdigit():
        raise UsageError(did_you_mean("layer", name, list(names)))
    if not 0 <= int(name) < len(names):
        raise UsageError(f"--layer {name} is outside 0–{len(names) - 1}: {names[0]} … {names[-1]}.")
    return int(name)


def chosen_states(blocks: Sequence[str], layer: Chosen) -> list[int]:
    """Return which places of the residual stream are chosen: `h0` … and `final`.

    Args:
        blocks: the names of the blocks; that of one stands for what enters it.
        layer: as of `chosen_places`.
    """
    states = [f"h{i}" for i in range(len(blocks) + 1)]
    return chosen_places([*states, "final"], layer, dict(zip(blocks, states)))


def chosen_head(head: int | None, heads: Sequence[int]) -> int | None:
    """Return the head, which some block must have.

    Args:
        head: a number from 0, or `None` for all.
        heads: how many each block has.

    Raises:
        UsageError: no block has it.
    """
    most = max(heads, default=0)
    if head is not None and head >= most:
        raise UsageError(f"--head {head} is outside 0–{most - 1}: blocks have {most} heads.")
    return head
