"""What heads attend to, summed over images in tiles: no map of one image is ever kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import torch

from pe_inspect.arrays import Float
from pe_inspect.live.interception import Attended
from pe_inspect.live.mean_maps import (
    KeptMaps,
    MeanMaps,
    OffsetSums,
    distances_of,
    offset_indices,
)
from pe_inspect.live.replicates import MeanReplicates
from pe_inspect.traces import AttentionSums, LogitSums

__all__ = ["AttentionAccumulator", "tiles"]

TILE_BYTES: Final = 2 << 20  # a tile is gone over several times: it stays in a core's cache
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
        with_maps: keep the mean map of every head, which a budget of information needs.
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
        with_maps: bool = True,
    ) -> None:
        self.layer, self.grid_size, self.prefix = layer, grid_size, prefix
        self.has_cls, self.is_window = has_cls and not is_window, is_window
        self.with_maps = with_maps
        self.num_patches = grid_size[0] * grid_size[1]
        count = min(most_queries or self.num_patches, self.num_patches)
        spread = np.linspace(0, self.num_patches - 1, count).round().astype(np.int64)
        self.queries = torch.from_numpy(np.unique(spread))
        self.count = 0
        self.log_keys = 0.0
        self.scalars: torch.Tensor | None = None  # (5, heads): sums over images and queries
        self.maps: KeptMaps
        self.is_allowed: torch.Tensor | None = None  # (queries, patches), where there is a mask
        self.cls: torch.Tensor
        self.cls_entropy: torch.Tensor
        self.distance_replicates = MeanReplicates()
        self.has_replicates = False
        self.logits: LogitSums | None = None

    def add(
        self,
        attended: Attended,
        weights: Float[torch.Tensor, "replicates images"] | None = None,
    ) -> None:
        """Add one call of attention, prefix keys included.

        Args:
            attended: of a batch of images, or of all of their windows.
            weights: how often each image is drawn in each replicate.
        """
        batch, heads, _, keys = attended.shape
        if self.scalars is None:
            self._begin(heads, attended.device)
        self.count += batch
        distances = torch.zeros(batch, heads, dtype=torch.float64, device=attended.device)
        for some in tiles(len(self.queries), batch * heads * keys):
            distances += self._add_tile(attended, some)
        if weights is not None:
            by_image = distances.reshape(weights.shape[1], -1, heads).mean(dim=1)
            self.distance_replicates.add(by_image / len(self.queries), weights)
            self.has_replicates = True
        if self.has_cls:
            self._add_cls(attended)

    def _add_cls(self, attended: Attended) -> None:
        row = attended.logits(slice(0, 1))[:, :, 0]
        weights = row.softmax(dim=-1)
        self.cls += weights[..., self.prefix :].sum(dim=0)
        self.cls_entropy += torch.special.entr(weights).sum(dim=(0, -1)).double()

    def _begin(self, heads: int, device: torch.device) -> None:
        self.queries = self.queries.to(device)
        self.scalars = torch.zeros(5, heads, dtype=torch.float64, device=device)
        kept = MeanMaps if self.with_maps else OffsetSums
        self.maps = kept(heads, self.queries, self.grid_size)
        self.cls = torch.zeros(heads, self.num_patches, device=device)
        self.cls_entropy = torch.zeros(heads, dtype=torch.float64, device=device)

    def _add_tile(self, attended: Attended, some: slice) -> Float[torch.Tensor, "batch heads"]:
        """Add some queries, and return each image's sum of their distances, renormalised."""
        places = self.queries[some] + self.prefix
        logits = attended.logits(places)  # a copy, which is worked on in place
        self._count_keys(attended, places, some, len(logits))
        logits -= logits.amax(dim=-1, keepdim=True)
        weights = logits.exp()
        if attended.may_forbid:
            logits.clamp_(min=torch.finfo(logits.dtype).min)
        energies = logits.mul_(weights)  # w ln w, but for the sum of all w
        patches = weights[..., self.prefix :]
        mass, energy = patches.sum(dim=-1), energies[..., self.prefix :].sum(dim=-1)
        all_mass = mass + weights[..., : self.prefix].sum(dim=-1)
        all_energy = energy + energies[..., : self.prefix].sum(dim=-1)
        apart = torch.einsum("bhqk,qk->bhq", patches, self._apart(some))
        found = (
            apart / all_mass, apart / mass, all_mass.log() - all_energy / all_mass,
            mass.log() - energy / mass, 1 - mass / all_mass,
        )  # fmt: skip
        by_image = torch.stack([each.double().sum(dim=2) for each in found])
        if self.scalars is not None:
            self.scalars += by_image.sum(dim=1)
        self.maps.add(some, torch.einsum("bhqk,bhq->hqk", patches, mass.reciprocal()))
        return by_image[1]

    def _apart(self, some: slice) -> Float[torch.Tensor, "some patches"]:
        places = self.queries[some]
        return distances_of(self.grid_size).to(places.device)[places]

    def _count_keys(
        self, attended: Attended, places: torch.Tensor, some: slice, batch: int
    ) -> None:
        """Count how many patches each query may attend to, and which pairs there are."""
        if not attended.may_forbid:
            self.log_keys += batch * len(places) * float(np.log(self.num_patches))
            return
        heads = attended.shape[1]
        shape = (batch, heads, len(places), self.prefix + self.num_patches)
        allowed = attended.allowed(places).expand(shape)[..., self.prefix :]
        if self.is_allowed is None:
            whole = (len(self.queries), self.num_patches)
            self.is_allowed = torch.zeros(whole, dtype=torch.bool, device=places.device)
        self.is_allowed[some] |= allowed.any(dim=0).any(dim=0)
        self.log_keys += float(allowed[:, 0].sum(dim=-1).double().log().sum())

    def sums(self) -> AttentionSums | None:
        """Return what a trace holds of them; `None` where nothing was added."""
        if self.scalars is None:
            return None
        averaged = (self.scalars / (self.count * len(self.queries))).cpu().numpy()
        pairs = self._pairs()
        profile, counts = self._profile(pairs)
        of_mean, mean_square = self.maps.of_mean(self.count)
        distance = distances_of(self.grid_size)[self.queries.cpu()].numpy()
        uniform = float(((distance * pairs).sum(1) / pairs.sum(1)).mean())
        return AttentionSums(
            self.layer, self.grid_size, self.is_window, len(self.queries), averaged[0],
            averaged[1], uniform, averaged[2], averaged[3], of_mean,
            self.log_keys / (self.count * len(self.queries)), averaged[4],
            profile.astype(np.float32), counts, mean_square, int(pairs.sum()),
            (self.cls / self.count).cpu().numpy() if self.has_cls else None,
            (self.cls_entropy / self.count).cpu().numpy() if self.has_cls else None,
            self.logits, self.distance_replicates.means() if self.has_replicates else None,
        )  # fmt: skip

    def _pairs(self) -> np.ndarray:
        if self.is_allowed is None:
            return np.ones((len(self.queries), self.num_patches), dtype=bool)
        return self.is_allowed.cpu().numpy()

    def _profile(self, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean over the pairs of every offset, and how many there are."""
        cells = offset_indices(self.grid_size)[self.queries.cpu().numpy()][pairs]
        shape = (2 * self.grid_size[0] - 1, 2 * self.grid_size[1] - 1)
        counts = np.bincount(cells, minlength=shape[0] * shape[1])
        totals = self.maps.by_offset(pairs) / self.count
        with np.errstate(invalid="ignore"):
            return (totals / counts).reshape(-1, *shape), counts.reshape(shape)


def tiles(queries: int, bytes_each: int) -> Iterator[slice]:
    """Yield ranges of queries whose maps take about 2 MiB together."""
    size = max(1, TILE_BYTES // max(1, bytes_each * BYTES))
    for start in range(0, queries, size):
        yield slice(start, min(start + size, queries))
