"""What heads attend to, summed over images in tiles: no map of one image is ever kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import torch

from pe_inspect.arrays import Float, Int
from pe_inspect.live.interception import Attended
from pe_inspect.traces import AttentionSums, LogitSums

__all__ = ["AttentionAccumulator", "offset_indices", "tiles"]

TILE_BYTES: Final = 48 << 20
BYTES: Final = 4


class AttentionAccumulator:
    """Sums of one block's attention.

    Args:
        layer: the block.
        grid_size: (rows, columns) of the patches that attend to each other.
        prefix: tokens ahead of them.
        has_cls: whether the first of those is a CLS token.
        is_window: whether the grid is a window.
        most_queries: how many patch queries are looked at, evenly spread.
    """

    def __init__(
        self,
        layer: str,
        grid_size: tuple[int, int],
        prefix: int,
        *,
        has_cls: bool,
        is_window: bool,
        most_queries: int | None = None,
    ) -> None:
        self.layer, self.grid_size, self.prefix = layer, grid_size, prefix
        self.has_cls, self.is_window = has_cls and not is_window, is_window
        self.num_patches = grid_size[0] * grid_size[1]
        count = min(most_queries or self.num_patches, self.num_patches)
        spread = np.linspace(0, self.num_patches - 1, count).round().astype(np.int64)
        self.queries = torch.from_numpy(np.unique(spread))
        self.distances = torch.from_numpy(_distances(grid_size))[self.queries]
        self.count = 0
        self.log_keys = 0.0
        self.scalars: torch.Tensor | None = None  # (5, heads): sums over images and queries
        self.mean: torch.Tensor  # (heads, queries, patches): the sum of R
        self.is_allowed: torch.Tensor  # (queries, patches)
        self.cls: torch.Tensor
        self.cls_entropy: torch.Tensor
        self.logits: LogitSums | None = None

    def add(self, attended: Attended) -> None:
        """Add one call of attention, prefix keys included."""
        batch, heads, _, keys = attended.shape
        if self.scalars is None:
            self._begin(heads, _device_of(attended))
        self.count += batch
        for some in tiles(len(self.queries), batch * heads * keys):
            places = self.queries[some] + self.prefix
            self._add_tile(attended.logits(places), attended.allowed(places), some)
        if self.has_cls:
            row = attended.logits(slice(0, 1))[:, :, 0]
            weights = row.softmax(dim=-1)
            self.cls += weights[..., self.prefix :].sum(dim=0)
            self.cls_entropy += torch.special.entr(weights).sum(dim=(0, -1)).double()

    def _begin(self, heads: int, device: torch.device) -> None:
        self.queries, self.distances = self.queries.to(device), self.distances.to(device)
        self.scalars = torch.zeros(5, heads, dtype=torch.float64, device=device)
        shape = (len(self.queries), self.num_patches)
        self.mean = torch.zeros(heads, *shape, device=device)
        self.is_allowed = torch.zeros(shape, dtype=torch.bool, device=device)
        self.cls = torch.zeros(heads, self.num_patches, device=device)
        self.cls_entropy = torch.zeros(heads, dtype=torch.float64, device=device)

    def _add_tile(self, logits: torch.Tensor, is_allowed: torch.Tensor, some: slice) -> None:
        allowed = is_allowed.expand(logits.shape)[..., self.prefix :]
        self.is_allowed[some] |= allowed.any(dim=0).any(dim=0)
        self.log_keys += float(allowed[:, 0].sum(dim=-1).double().log().sum())
        whole = logits.logsumexp(dim=-1)
        weights = (logits - whole[..., None]).exp_()
        finite = logits.clamp_min(torch.finfo(logits.dtype).min)
        every = whole - (weights * finite).sum(dim=-1)
        patches, finite = weights[..., self.prefix :], finite[..., self.prefix :]
        share = patches.sum(dim=-1)
        own = whole + share.log() - (patches * finite).sum(dim=-1) / share
        raw = torch.einsum("bhqk,qk->bhq", patches, self.distances[some])
        found = (raw, raw / share, every, own, 1 - share)
        if self.scalars is None:
            raise ValueError("the sums of a block begin with `add`")
        self.scalars += torch.stack([each.double().sum(dim=(0, 2)) for each in found])
        self.mean[:, some] += (patches / share[..., None]).sum(dim=0)

    def sums(self) -> AttentionSums | None:
        """Return what a trace holds of them; `None` where nothing was added."""
        if self.scalars is None:
            return None
        averaged = (self.scalars / (self.count * len(self.queries))).cpu().numpy()
        mean = self.mean / self.count
        pairs = self.is_allowed.cpu().numpy()
        profile, counts = _profile(mean, self.queries, pairs, self.grid_size)
        of_mean = torch.special.entr(mean.double()).sum(dim=-1).mean(dim=-1)
        distance = self.distances.cpu().numpy()
        uniform = float(((distance * pairs).sum(1) / pairs.sum(1)).mean())
        return AttentionSums(
            self.layer, self.grid_size, self.is_window, len(self.queries), averaged[0],
            averaged[1], uniform, averaged[2], averaged[3], of_mean.cpu().numpy(),
            self.log_keys / (self.count * len(self.queries)), averaged[4],
            profile.astype(np.float32), counts, (mean.double() ** 2).sum(dim=(1, 2)).cpu().numpy(),
            int(pairs.sum()),
            (self.cls / self.count).cpu().numpy() if self.has_cls else None,
            (self.cls_entropy / self.count).cpu().numpy() if self.has_cls else None,
            self.logits,
        )  # fmt: skip


def tiles(queries: int, bytes_each: int) -> Iterator[slice]:
    """Yield ranges of queries whose maps take about 48 MiB together."""
    size = max(1, TILE_BYTES // max(1, bytes_each * BYTES))
    for start in range(0, queries, size):
        yield slice(start, min(start + size, queries))


def offset_indices(grid_size: tuple[int, int]) -> Int[np.ndarray, "queries keys"]:
    """Return which cell of (2H − 1)·(2W − 1) offsets key − query each pair of patches has."""
    rows, columns = np.divmod(np.arange(grid_size[0] * grid_size[1]), grid_size[1])
    down, right = rows[None] - rows[:, None], columns[None] - columns[:, None]
    cells: np.ndarray = (down + grid_size[0] - 1) * (2 * grid_size[1] - 1) + right
    return cells + grid_size[1] - 1


def _profile(
    mean: Float[torch.Tensor, "heads queries patches"],
    queries: torch.Tensor,
    pairs: np.ndarray,
    grid_size: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean over the pairs of every offset, and how many there are."""
    cells = offset_indices(grid_size)[queries.cpu().numpy()][pairs]
    shape = (2 * grid_size[0] - 1, 2 * grid_size[1] - 1)
    counts = np.bincount(cells, minlength=shape[0] * shape[1])
    kept = [head[torch.from_numpy(pairs)].double().numpy() for head in mean.cpu()]
    totals = np.stack([np.bincount(cells, head, minlength=len(counts)) for head in kept])
    with np.errstate(invalid="ignore"):
        return (totals / counts).reshape(-1, *shape), counts.reshape(shape)


def _distances(grid_size: tuple[int, int]) -> np.ndarray:
    rows, columns = np.divmod(np.arange(grid_size[0] * grid_size[1]), grid_size[1])
    apart: np.ndarray = np.hypot(rows[:, None] - rows[None], columns[:, None] - columns[None])
    return apart.astype(np.float32)


def _device_of(attended: Attended) -> torch.device:
    held = attended.eager if attended.q is None else attended.q
    if held is None:
        raise ValueError("attention was caught with neither queries nor a map")
    return held.device
