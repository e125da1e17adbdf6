"""Can position be read back out of each layer: linear probes with held-out places, and controls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Final

import numpy as np

from pe_inspect.analysis import questions
from pe_inspect.analysis.common.replicate_intervals import interval_of
from pe_inspect.analysis.common.sentences import count_text, number_text
from pe_inspect.analysis.common.stages import stacked_by_stage
from pe_inspect.analysis.common.trace_result import TraceResult
from pe_inspect.arrays import Float
from pe_inspect.errors import UsageError
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.ridge import (
    FOLDS,
    cell_centres,
    held_out_images,
    held_out_places,
    position_folds,
)
from pe_inspect.traces import FoldSums, TokenSums, Trace

__all__ = ["ProbeResult", "probe"]

ENOUGH: Final = 64  # images, for late layers
READABLE: Final = 0.5
_AXES: Final = ("row", "column")

_R2: Final = "R² of a linear probe for row and column, mean of both, on held-out images and places,"
DEFINITIONS: Final = {
    "num_images": "how many images the probes learn from and are tested on",
    "r2_first": f"{_R2} ahead of the first block; below 0 it is worse than the mean",
    "r2_last_block": f"{_R2} behind the last block",
    "r2_final": f"{_R2} behind the last norm",
    "r2_null_first": "the same ahead of the first block where every patch has the mean position",
    "r2_permuted_first": "the same for targets that trade places, which nothing can know",
}


@dataclass(frozen=True, eq=False)
class ProbeResult(TraceResult):
    """R² of ridge regressions from patch tokens to (row, column), by place.

    Attributes:
        trace: what was run.
        r2: on images and positions that were held out, (places, 2: row and column).
        r2_images: on held-out images alone, which flatters: positions were seen.
        r2_permuted: of targets that trade places.
        r2_null: of the run without positions; NaN where it could not be run.
        plane_share: of each channel's variance, what a plane over the grid explains, by place.
        pe: the embedding that the page shows the result beside.
    """

    question: ClassVar[str] = "probe"
    definitions: ClassVar[Mapping[str, str]] = DEFINITIONS

    trace: Trace
    r2: Float[np.ndarray, "places 2"]
    r2_images: Float[np.ndarray, "places 2"]
    r2_permuted: Float[np.ndarray, "places 2"]
    r2_null: Float[np.ndarray, "places 2"]
    plane_share: tuple[Float[np.ndarray, " _"], ...]
    pe: PositionEmbedding | None = None

    def __repr__(self) -> str:
        return f"ProbeResult({len(self.r2)} places, {self.trace.images.count} images)"

    @property
    def notes(self) -> tuple[str, ...]:
        """Every guess and omission, in words."""
        count = self.trace.images.count
        few = f"{count} images are few for late layers: {ENOUGH} are enough"
        return (*self.run_notes, *([few] if count < ENOUGH else []))

    @property
    def finding(self) -> str:
        """How far position can be read; rows and columns apart where these end elsewhere."""
        rows, columns = (self._reach(self.r2[:, axis]) for axis in range(2))
        if rows[0] == columns[0]:
            where, ends = self._reach(self.r2.mean(axis=1), rows[0])
            said = f"Position can be read linearly {where}: {ends}, on"
        else:
            said = (
                f"Rows can be read linearly {rows[0]} ({rows[1]}), columns {columns[0]} "
                f"({columns[1]}), on"
            )
        count = count_text(self.trace.images.count, "image")
        return f"{said} images and positions that were held out ({count})."

    def _reach(self, values: Float[np.ndarray, " places"], where: str = "") -> tuple[str, str]:
        """Return how far something can be read, and its R² at both ends, in words."""
        places = self.trace.places
        kept = [place for place, value in zip(places, values) if value >= READABLE]
        found = where or ("nowhere" if not kept else f"as far as {kept[-1]}")
        first, last = number_text(values[0]), number_text(values[-1])
        return found, f"R² {first} at {places[0]}, {last} at {places[-1]}"

    @property
    def r2_interval(self) -> Float[np.ndarray, "places 2 2"]:
        """The ends of 95 % intervals of `r2` over the images that are tested on; NaN where none."""
        drawn = (sums.r2_replicates for sums in self.trace.folds["base"])
        return np.array([
            [interval_of(float(value), None if held is None else held[:, axis])
             for axis, value in enumerate(values)] for values, held in zip(self.r2, drawn)
        ])  # fmt: skip

    @cached_property
    def r2_untrained(self) -> Float[np.ndarray, "places 2"]:
        """R² of a model of the same shape with fresh weights; NaN where none was run."""
        fresh = self.trace.untrained
        if fresh is None or "base" not in fresh.folds:
            return np.full_like(self.r2, np.nan)
        return _by_place(fresh, fresh.folds["base"], held_out_places)

    def ramp_channels(self, place: int, most: int = 4) -> list[tuple[int, float]]:
        """Return the channels that are most a plane over the grid, with their shares."""
        shares = self.plane_share[place]
        return [(int(c), float(shares[c])) for c in np.argsort(-shares)[:most]]

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what `probe.npz` holds."""
        return {
            "r2": self.r2, "r2_images": self.r2_images, "r2_permuted": self.r2_permuted,
            "r2_null": self.r2_null, **stacked_by_stage("plane_share", self.plane_share),
            "r2_untrained": self.r2_untrained, "r2_interval": self.r2_interval,
            "places": np.array(self.trace.places), "num_images": np.array(self.trace.images.count),
        }  # fmt: skip

    def summary(self) -> dict[str, float]:
        """Return R² at the ends, means of row and column."""
        return {
            "num_images": float(self.trace.images.count),
            "r2_first": float(self.r2[0].mean()), "r2_last_block": float(self.r2[-2].mean()),
            "r2_final": float(self.r2[-1].mean()), "r2_null_first": float(self.r2_null[0].mean()),
            "r2_permuted_first": float(self.r2_permuted[0].mean()),
        }  # fmt: skip

    def rows(self) -> list[dict[str, Any]]:
        """Return one dictionary a place."""
        ends = self.r2_interval
        named = {"r2": self.r2, "r2_low": ends[..., 0], "r2_high": ends[..., 1],
                 "r2_images": self.r2_images, "r2_permuted": self.r2_permuted,
                 "r2_null": self.r2_null, "r2_untrained": self.r2_untrained}  # fmt: skip
        rows = []
        for i, place in enumerate(self.trace.places):
            [(channel, share)] = self.ramp_channels(i, 1)
            values = {f"{name}_{axis}": float(held[i, k]) for name, held in named.items()
                      for k, axis in enumerate(_AXES)}  # fmt: skip
            rows.append(
                {"place": place, **values, "ramp_channel": channel, "plane_share_most": share}
            )
        return rows


@questions.register("probe")
def probe(trace: Trace) -> ProbeResult:
    """Answer whether position can be read back out of each layer.

    Args:
        trace: of a live model, with the sums that probes need.

    Raises:
        UsageError: it has none, or fewer images than folds.

    Source: arXiv:1909.03368 (control tasks).
    """
    if "base" not in trace.folds:
        raise UsageError(
            f"the trace of {trace.source} holds no sums for probes. Run pei.trace with "
            'questions=["probe"].'
        )
    if trace.images.count < FOLDS:
        raise UsageError(
            f"a probe takes at least {FOLDS} images, and {ENOUGH} for late layers; the trace has "
            f"{trace.images.count}."
        )
    base = trace.states["base"]
    order = {s.num_patches: np.random.default_rng(0).permutation(s.num_patches) for s in base}
    null = trace.folds.get("null")
    return ProbeResult(
        trace,
        _by_place(trace, trace.folds["base"], held_out_places),
        _by_place(trace, trace.folds["base"], held_out_images),
        _by_place(trace, trace.folds["base"], held_out_places, order),
        _by_place(trace, null, held_out_places) if null else np.full((len(base), 2), np.nan),
        tuple(_plane_share(sums, trace.images.count) for sums in base),
    )


def _by_place(
    trace: Trace,
    folds: tuple[FoldSums, ...],
    fitted: Callable[..., np.ndarray],
    order: dict[int, np.ndarray] | None = None,
) -> np.ndarray:
    rows = []
    for sums, place in zip(folds, trace.states["base"]):
        targets = cell_centres(place.grid_size)
        if order is not None:
            targets = targets[order[len(targets)]]
        among = position_folds(len(targets))
        rows.append(fitted(sums, targets, trace.image_fold_counts, among))
    return np.array(rows)


def _plane_share(sums: TokenSums, images: int) -> np.ndarray:
    """Return the share of each channel's variance that a + b·row + c·column explains."""
    centres = cell_centres(sums.grid_size)
    mean = sums.patches.astype(np.float64)
    length = (centres**2).sum(axis=0)
    slopes = centres.T @ (mean - mean.mean(axis=0))  # (2, channels): rows and columns are apart
    explained = images * (slopes**2 / np.where(length > 0, length, 1)[:, None]).sum(axis=0)
    whole = np.where(sums.ss_channels > 0, sums.ss_channels, np.inf)
    shares: np.ndarray = explained / whole
    return shares
