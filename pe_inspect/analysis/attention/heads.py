"""What one block's sums say of each of its heads, in numbers and in a word."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from pe_inspect.analysis.common.replicate_intervals import interval_of
from pe_inspect.traces import AttentionSums

__all__ = ["HALF_PLANE", "OFFSET_HEAD", "HeadNumbers", "heads_of"]

OFFSET_HEAD: Final = 0.45  # attention to one offset other than self
HALF_PLANE: Final = 0.75  # of patch-to-patch attention on one side
_SIDES: Final = ("up", "down", "left", "right")
_DIRECTIONS: Final = {(-1, 0): "up", (1, 0): "down", (0, -1): "left", (0, 1): "right"}


@dataclass(frozen=True)
class HeadNumbers:
    """One head over all images. Distances are in patches, entropies and budget in nats.

    Attributes:
        layer: the block.
        head: its number.
        distance_renormalised: mean distance of the attention among patches.
        distance_low: the lower end of its 95 % interval over images; NaN where none was drawn.
        distance_high: the upper end.
        distance_raw: the same of all attention, prefix keys counting 0.
        distance_pixels: `distance_renormalised` in pixels of the patch's geometric mean side.
        distance_of_uniform: `distance_renormalised` over that of equal attention.
        entropy_all_keys: of patch queries, prefix keys included.
        entropy_renormalised: of the attention among patches.
        position_nats: what the mean over images tells beyond equal attention.
        content_nats: what one image tells beyond the mean; at most ln n.
        spread_nats: what is left; the three sum to ln N.
        offset_share: of the variance of the mean attention over pairs, by offset alone.
        prefix_share: of patch queries' attention, on prefix keys.
        top_dy: rows down to the offset that has most attention.
        top_dx: columns right to it.
        top_attention: what it has: the mean over queries that have that neighbour.
        neighbour: the offset other than self that has most, as (dy, dx).
        neighbour_attention: what that has.
        near: share within one patch, self included.
        up: share strictly above; likewise `down`, `left`, `right`.
        down: below.
        left: to the left.
        right: to the right.
        word: `"offset"`, `"half-plane"`, or empty.
    """

    layer: str
    head: int
    distance_renormalised: float
    distance_low: float
    distance_high: float
    distance_raw: float
    distance_pixels: float
    distance_of_uniform: float
    entropy_all_keys: float
    entropy_renormalised: float
    position_nats: float
    content_nats: float
    spread_nats: float
    offset_share: float
    prefix_share: float
    top_dy: int
    top_dx: int
    top_attention: float
    neighbour: tuple[int, int]
    neighbour_attention: float
    near: float
    up: float
    down: float
    left: float
    right: float
    word: str

    def row(self) -> dict[str, Any]:
        """Return a row of the table."""
        plain = asdict(self)
        del plain["neighbour"]
        return plain

    @property
    def in_words(self) -> str:
        """Where it looks: `"blocks.3 head 1 down (.69)"`."""
        if self.word == "half-plane":
            side = max(_SIDES, key=lambda name: float(getattr(self, name)))
            return f"{self.layer} head {self.head} {side} ({_short(getattr(self, side))})"
        dy, dx = self.neighbour
        where = _DIRECTIONS.get((dy, dx), f"({dy:+d}, {dx:+d})".replace("-", "−"))
        return f"{self.layer} head {self.head} {where} ({_short(self.neighbour_attention)})"


def heads_of(sums: AttentionSums, pixels: float) -> tuple[HeadNumbers, ...]:
    """Return the numbers of every head of a block.

    Args:
        sums: the block's.
        pixels: the side of a patch.
    """
    return tuple(_head(sums, head, pixels) for head in range(sums.num_heads))


def _head(sums: AttentionSums, head: int, pixels: float) -> HeadNumbers:
    profile = np.nan_to_num(sums.offset_profile[head].astype(np.float64))
    shares = _shares(profile, sums.pair_counts)
    middle = (sums.grid_size[0] - 1, sums.grid_size[1] - 1)
    top, others = _argmax(profile), profile.copy()
    others[middle] = -1.0
    neighbour = _argmax(others)
    distance = float(sums.distance_renormalised[head])
    of_mean, spread = float(sums.entropy_of_mean[head]), float(sums.entropy_renormalised[head])
    side = max(shares[name] for name in _SIDES)
    is_offset = profile[neighbour] >= OFFSET_HEAD
    drawn = sums.distance_replicates
    low, high = interval_of(distance, None if drawn is None else drawn[:, head])
    return HeadNumbers(
        sums.layer, head, distance, low, high, float(sums.distance_raw[head]), distance * pixels,
        _over(distance, sums.distance_uniform), float(sums.entropy_all_keys[head]), spread,
        sums.log_keys - of_mean, of_mean - spread, spread, _offset_share(sums, head, profile),
        float(sums.prefix_share[head]), top[0] - middle[0], top[1] - middle[1],
        float(profile[top]), (neighbour[0] - middle[0], neighbour[1] - middle[1]),
        float(profile[neighbour]), **shares,
        word="offset" if is_offset else "half-plane" if side >= HALF_PLANE else "",
    )  # fmt: skip


def _over(value: float, whole: float) -> float:
    return value / whole if whole > 0 else float("nan")


def _argmax(profile: np.ndarray) -> tuple[int, int]:
    row, column = np.unravel_index(int(np.argmax(profile)), profile.shape)
    return int(row), int(column)


def _shares(profile: np.ndarray, counts: np.ndarray) -> dict[str, float]:
    """Return shares of all patch-to-patch attention, weighted by how many pairs there are."""
    weights = profile * counts
    weights = weights / weights.sum()
    row, column = profile.shape[0] // 2, profile.shape[1] // 2
    near = weights[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
    return {
        "near": float(near.sum()),
        "up": float(weights[:row].sum()),
        "down": float(weights[row + 1 :].sum()),
        "left": float(weights[:, :column].sum()),
        "right": float(weights[:, column + 1 :].sum()),
    }


def _offset_share(sums: AttentionSums, head: int, profile: np.ndarray) -> float:
    mean = float((profile * sums.pair_counts).sum()) / sums.num_pairs
    explained = float((sums.pair_counts * (profile - mean) ** 2).sum())
    whole = float(sums.mean_square[head]) - sums.num_pairs * mean**2
    return explained / whole if whole > 0 else float("nan")


def _short(share: float) -> str:
    return f"{share:.2f}".removeprefix("0")
