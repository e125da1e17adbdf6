"""Heads: what they look at by offset, how far and how widely by depth, and what position says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from pe_inspect.analysis.common.places import Chosen, chosen_head, chosen_places
from pe_inspect.figures import drawings, drawings_each
from pe_inspect.figures.attention.by_depth import budget, depth, logits
from pe_inspect.figures.attention.example import example_maps
from pe_inspect.figures.layout.sheets import Framed, Scale, Sheet, draw_sheet, room_for
from pe_inspect.figures.layout.style import PALETTE, sequential

if TYPE_CHECKING:
    from pe_inspect.analysis.attention import AttentionResult, HeadNumbers
    from pe_inspect.traces import AttentionSums

__all__ = ["draw", "draw_each"]

PIXELS: Final = 2  # an offset in a sheet has at least so many
TENTH: Final = 0.1  # of equal attention: the lower end of the scale
FRAMES: Final = {
    "offset": Framed(PALETTE[1], "looks mostly at one neighbour"),
    "half-plane": Framed(PALETTE[5], "looks mostly at one half of the image"),
}
LABEL: Final = "attention at an offset"


@drawings.register("attention")
def draw(
    result: AttentionResult,
    layer: Chosen = None,
    head: int | None = None,
    token: tuple[int, int] | None = None,  # noqa: ARG001  # the trace has it
    *,
    renormalised: bool = True,
) -> dict[str, Figure]:
    """Draw the offset profiles of all heads, distance and entropy by depth, and the budget.

    Args:
        result: what `attention` answered with.
        layer: the blocks to show.
        head: the head to show; all, and means over them, unless given.
        token: which patch's maps are shown; the trace holds those of one.
        renormalised: whether distances are those among patches alone.

    Returns:
        `"attention"`, `"attention_depth"`, `"attention_budget"`; where there are, the parts of
        the logits and one patch's maps, `"attention_logits"` and `"attention_maps"`.
    """
    blocks = [result.blocks[i] for i in chosen_places(_names(result), layer)]
    chosen_head(head, [block.num_heads for block in blocks])
    figures = {
        "attention": profiles(result, blocks, head),
        "attention_depth": depth(result, blocks, head, renormalised=renormalised),
        "attention_budget": budget(result, blocks, head),
    }
    if any(block.logits is not None for block in blocks):
        figures["attention_logits"] = logits(result, blocks, head)
    shown = example_maps(result, [block.layer for block in blocks], head)
    return figures if shown is None else {**figures, "attention_maps": shown}


@drawings_each.register("attention")
def draw_each(
    result: AttentionResult,
    layer: Chosen = None,
    head: int | None = None,
    token: tuple[int, int] | None = None,  # noqa: ARG001
    *,
    renormalised: bool = True,  # noqa: ARG001
) -> Iterator[tuple[str, Figure]]:
    """Yield every head's profile, whole."""
    for i in chosen_places(_names(result), layer):
        block = result.blocks[i]
        for k in range(block.num_heads) if head is None else (head,):
            yield f"attention_{block.layer}_head{k}", profiles(result, [block], k, is_whole=True)


def profiles(
    result: AttentionResult,
    blocks: Sequence[AttentionSums],
    head: int | None,
    *,
    is_whole: bool = False,
) -> Figure:
    """Draw one map a head: attention by offset, on a logarithmic scale."""
    columns = 1 if head is not None else max(block.num_heads for block in blocks)
    most = None if is_whole else max(1, room_for(columns) // PIXELS // 2)
    numbers = {(each.layer, each.head): each for each in result.heads}
    maps: list[np.ndarray | None] = []
    names, frames = [], {}
    for block in blocks:
        heads = range(columns) if head is None else (head,)
        for k in heads:
            own = numbers.get((block.layer, k))
            if own is not None and own.word in FRAMES:
                frames[len(maps)] = FRAMES[own.word]
            maps.append(None if own is None else _middle(block.offset_profile[k], most))
            names.append("" if own is None else _name(own))
    scale = _log_scale(blocks, maps)
    words = result.heading("what each head looks at, by offset")
    sheet = Sheet(
        words, _caption(result, blocks, most), maps, columns, names,
        [block.layer.removeprefix("blocks.") for block in blocks], "head", "block", frames,
        tuple(dict.fromkeys(frames[k] for k in sorted(frames))),
    )  # fmt: skip
    return draw_sheet(sheet, scale)


def _names(result: AttentionResult) -> list[str]:
    return [block.layer for block in result.blocks]


def _name(head: HeadNumbers) -> str:
    """Return a head's number, and in a word where it looks."""
    where = head.in_words.partition(f"head {head.head} ")[2] if head.word else ""
    return f"{head.head} {where}".rstrip()


def _middle(profile: np.ndarray, most: int | None) -> np.ndarray:
    """Return the offsets of at most `most` rows and columns."""
    if most is None:
        return profile
    rows, columns = (side // 2 for side in profile.shape)
    down, right = min(most, rows), min(most, columns)
    return profile[rows - down : rows + down + 1, columns - right : columns + right + 1]


def _log_scale(blocks: Sequence[AttentionSums], maps: Sequence[np.ndarray | None]) -> Scale:
    """Return a scale from a tenth of equal attention to the greatest value."""
    equal = min(1 / (block.grid_size[0] * block.grid_size[1]) for block in blocks)
    most = max(float(np.nanmax(each)) for each in maps if each is not None)
    return Scale(sequential(), LogNorm(TENTH * equal, max(most, equal), clip=True), LABEL)


def _caption(result: AttentionResult, blocks: Sequence[AttentionSums], most: int | None) -> str:
    shapes = dict.fromkeys(block.grid_size for block in blocks)
    grids = ", ".join(f"{rows}×{columns}" for rows, columns in shapes)
    windows = " (windows)" if any(block.is_window for block in blocks) else ""
    is_cut = most is not None and any(max(shape) - 1 > most for shape in shapes)
    cut = f" Offsets up to {most} are shown; --each draws all." if is_cut else ""
    return (
        "Mean attention of a patch to the one that many rows down and columns right, among patches "
        f"(renormalised), over {result.trace.images.count} images and all pairs of a grid of "
        f"{grids}{windows}. Middle: the patch itself; up is up. Logarithmic; the lower end of the "
        f"scale is a tenth of equal attention, what is less is drawn as that.{cut}"
    )
