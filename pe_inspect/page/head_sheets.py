"""Every head of a model as a small map by offset, to be explored: what the page's script reads."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pe_inspect.page.tables import gzipped

if TYPE_CHECKING:
    from pe_inspect.analysis.attention import AttentionResult, HeadNumbers
    from pe_inspect.traces import AttentionSums

__all__ = ["HeadSheet", "head_sheet"]

MOST_CODES: Final = 400_000  # offsets of all heads: about half a megabyte of the page
LEVELS: Final = 254
UNDEFINED: Final = 255
TENTH: Final = 0.1  # of equal attention: the lower end of the scale
_WORDS: Final = {"offset": "looks mostly at one neighbour", "half-plane": "looks at one half"}


@dataclass(frozen=True, eq=False)
class HeadSheet:
    """What the page shows of all heads.

    Attributes:
        title: in a few words.
        low: the value of code 0; the scale is logarithmic.
        high: the value of code 254.
        blocks: the name of each block, with what is told of its heads.
        codes: the profiles, one after the other, row by row; 255 is undefined.
        note: what was left out; empty where nothing was.
    """

    title: str
    low: float
    high: float
    blocks: tuple[dict[str, Any], ...]
    codes: bytes
    note: str = ""

    @property
    def data(self) -> str:
        """The JSON of the sheet; it can stand in a script element."""
        from pe_inspect.figures.layout.style import sequential

        colours = sequential()(np.linspace(0, 1, 256), bytes=True)[:, :3]
        held = {
            "title": self.title, "low": self.low, "high": self.high, "note": self.note,
            "blocks": list(self.blocks), "palette": b64encode(colours.tobytes()).decode("ascii"),
            "codes": b64encode(self.codes).decode("ascii"),
        }  # fmt: skip
        return json.dumps(held, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")


def head_sheet(result: AttentionResult) -> HeadSheet:
    """Return the sheet of a result: offsets around the middle, as many as fit the page."""
    low, high = _scale(result)
    most = _reach(result)
    kept = [_middle(block.offset_profile, most) for block in result.blocks]
    codes = np.concatenate([_codes(each, low, high).ravel() for each in kept])
    blocks = tuple(map(_described, result.blocks, kept, [result] * len(kept)))
    whole = max(max(block.grid_size) for block in result.blocks) - 1
    note = f"Offsets up to {most} of {whole} are shown; the figures show more." if (
        most < whole) else ""  # fmt: skip
    title = "What each head looks at, by offset"
    return HeadSheet(title, low, high, blocks, gzipped(codes), note)


def _scale(result: AttentionResult) -> tuple[float, float]:
    """Return a tenth of equal attention, and the greatest value."""
    equal = min(1 / (block.grid_size[0] * block.grid_size[1]) for block in result.blocks)
    most = max(float(np.nanmax(block.offset_profile)) for block in result.blocks)
    return TENTH * equal, max(most, equal)


def _reach(result: AttentionResult) -> int:
    """Return how many rows and columns from the middle are kept."""
    reach = max(max(block.grid_size) for block in result.blocks) - 1
    while reach > 1 and _count(result, reach) > MOST_CODES:
        reach -= 1
    return reach


def _count(result: AttentionResult, reach: int) -> int:
    return sum(
        block.num_heads * int(np.prod([2 * min(reach, side - 1) + 1 for side in block.grid_size]))
        for block in result.blocks
    )


def _middle(profiles: np.ndarray, most: int) -> np.ndarray:
    rows, columns = (side // 2 for side in profiles.shape[1:])
    down, right = min(most, rows), min(most, columns)
    return profiles[:, rows - down : rows + down + 1, columns - right : columns + right + 1]


def _codes(profiles: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return 8-bit codes of the logarithm; what is less than `low` is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        places = np.log(profiles.astype(np.float64) / low) / np.log(high / low)
    codes = np.clip(np.nan_to_num(np.rint(places * LEVELS), nan=0.0), 0, LEVELS)
    return np.where(np.isnan(profiles), UNDEFINED, codes).astype(np.uint8)


def _described(
    block: AttentionSums, kept: np.ndarray, result: AttentionResult
) -> dict[str, Any]:  # fmt: skip
    heads = [_told(head) for head in result.heads if head.layer == block.layer]
    return {"name": block.layer, "grid": list(kept.shape[1:]), "heads": heads}


def _told(head: HeadNumbers) -> dict[str, Any]:
    """Return what is said of one head: where it looks, and its numbers."""
    where = head.in_words.partition(f"head {head.head} ")[2]
    numbers = {
        "distance": f"{head.distance_renormalised:.2f} patches",
        "of equal attention's": f"{head.distance_of_uniform:.2f}",
        "entropy": f"{head.entropy_all_keys:.2f} nats",
        "position": f"{head.position_nats:.2f} nats",
        "content": f"{head.content_nats:.2f} nats",
        "explained by offset": f"{head.offset_share:.0%}",
        "on prefix tokens": f"{head.prefix_share:.0%}",
    }
    said = f"{_WORDS.get(head.word, 'besides itself, most at one offset')}: {where}"
    return {"word": head.word, "said": said, "numbers": list(map(list, numbers.items()))}
