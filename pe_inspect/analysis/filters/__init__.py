"""What the filters that make patches look for, and whether the position table lies among them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from pe_inspect.analysis import questions
from pe_inspect.analysis.common.notebook_repr import Shown
from pe_inspect.analysis.common.sentences import number_text, percent_text, sentence
from pe_inspect.analysis.filters.components import (
    Components,
    PatchKernel,
    components_of,
    share_inside,
)
from pe_inspect.arrays import Float, Float32
from pe_inspect.errors import UsageError
from pe_inspect.kinds.position_embedding import PositionEmbedding

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["TILES", "FiltersResult", "PatchKernel", "filters"]

TILES: Final = 28  # as many as ViT's Figure 7 shows
MOST: Final = 0.9  # of the variance, which `num_for_most` components explain
DEFINITIONS: Final[Mapping[str, str]] = {
    "num_filters": "filters: channels that each patch is given",
    "num_components": "principal components with a variance, of the filters centred over channels",
    "effective_rank": "exp of the entropy of the components' shares of the variance",
    "num_for_most": "the fewest first components that explain 90 % of the variance",
    "num_compared": "the first components with which the table is compared",
    "inside": "the share of the centred table (prefix rows left out) inside the span of the "
    "first `num_compared` components' directions among the channels",
    "inside_at_random": "the same of as many random directions, on average: their number over "
    "that of the channels",
}
"""What each number of the summary is."""


@dataclass(frozen=True, eq=False)
class FiltersResult(Shown):
    """The principal components of the filters that make patches.

    Attributes:
        kernel: what was analysed.
        pe: the table that is compared with them; `None` where none has their channels.
    """

    question: ClassVar[str] = "filters"
    definitions: ClassVar[Mapping[str, str]] = DEFINITIONS

    kernel: PatchKernel
    pe: PositionEmbedding | None = None

    def __repr__(self) -> str:
        sides = "×".join(map(str, self.kernel.values.shape))
        return f"FiltersResult({self.kernel.key}, {sides})"

    @property
    def parameters(self) -> dict[str, Any]:
        """Which tensor was read; nothing is chosen."""
        return {"key": self.kernel.key}

    @cached_property
    def components(self) -> Components:
        """The principal components, first to last."""
        return components_of(self.kernel.rows)

    @property
    def tiles(self) -> Float32[np.ndarray, "tiles channels *sides"]:
        """The first components as filters, each of length one."""
        shape = self.kernel.values.shape[1:]
        return self.components.filters[:TILES].reshape(-1, *shape).astype(np.float32)

    @cached_property
    def inside(self) -> Float[np.ndarray, " components"]:
        """The share of the table inside the first 1, 2, 3, … components; empty without a table."""
        if self.pe is None:
            return np.zeros(0)
        return share_inside(self.pe.tables[0].patches, self.components.directions)

    @property
    def at_random(self) -> Float[np.ndarray, " components"]:
        """What as many random directions hold on average: k/D."""
        count = len(self.components.spectrum)
        return np.arange(1, count + 1) / len(self.kernel.values)

    @property
    def finding(self) -> str:
        """The answer in one sentence, with its numbers."""
        numbers = self.summary()
        if not numbers["num_components"]:
            return f"All {len(self.kernel.values)} filters are equal."
        count = int(numbers["num_for_most"])
        rank = number_text(numbers["effective_rank"], on_a_scale=False)
        said = (
            f"{count} of {int(numbers['num_components'])} components explain "
            f"{percent_text(MOST)} of the filters (effective rank {rank})"
        )
        return sentence([said, self._of_table(numbers)])

    def _of_table(self, numbers: Mapping[str, float]) -> str:
        if math.isnan(numbers["inside"]):
            return ""
        first = int(numbers["num_compared"])
        return (
            f"{percent_text(numbers['inside'])} of the position table lies within the first "
            f"{first}, where random directions hold {percent_text(numbers['inside_at_random'])}"
        )

    def summary(self) -> dict[str, float]:
        """Return the result in a few numbers, which `DEFINITIONS` defines."""
        spectrum = self.components.spectrum
        first = min(TILES, len(spectrum))
        known = first and len(self.inside)
        return {
            "num_filters": float(len(self.kernel.values)),
            "num_components": float(len(spectrum)),
            "effective_rank": _effective_rank(spectrum),
            "num_for_most": float(np.count_nonzero(np.cumsum(spectrum) < MOST) + 1),
            "num_compared": float(first),
            "inside": float(self.inside[first - 1]) if known else float("nan"),
            "inside_at_random": float(self.at_random[first - 1]) if first else float("nan"),
        }

    def rows(self) -> list[dict[str, Any]]:
        """Return one dictionary a component: what `to_frame` holds, without pandas."""
        spectrum, count = self.components.spectrum, len(self.components.spectrum)
        inside = self.inside if len(self.inside) else np.full(count, np.nan)
        columns = zip(spectrum, np.cumsum(spectrum), inside, self.at_random)
        return [
            {"component": k, "variance_share": float(share), "variance_so_far": float(so_far),
             "table_inside": float(within), "random_inside": float(random)}
            for k, (share, so_far, within, random) in enumerate(columns, start=1)
        ]  # fmt: skip

    def to_frame(self) -> DataFrame:
        """Return one row a component."""
        from pandas import DataFrame

        return DataFrame(self.rows())

    @property
    def notes(self) -> tuple[str, ...]:
        """What was compared with what, and why not."""
        if self.pe is None:
            return ("No table of vectors has the channels of these filters: none is compared.",)
        if len(self.inside) and np.isnan(self.inside).all():
            return ("The table is constant or not finite: no share of it is defined.",)
        return ()

    def save_npz(self, file: IO[bytes]) -> None:
        """Write the components, their shares, and the shares of the table inside them."""
        np.savez(
            file,
            tiles=self.tiles,
            spectrum=self.components.spectrum,
            directions=self.components.directions[:TILES],
            table_inside=self.inside,
            random_inside=self.at_random,
            key=np.array(self.kernel.key),
        )


@questions.register("filters")
def filters(kernel: PatchKernel, pe: PositionEmbedding | None = None) -> FiltersResult:
    """Say what the filters that make patches look for, and what of a table lies among them.

    Args:
        kernel: the convolution that makes patches.
        pe: a table of vectors with its channels, where there is one.

    Raises:
        UsageError: the kernel holds values that are not finite.

    Source: arXiv:2010.11929, Figure 7, left.
    """
    broken = int(np.count_nonzero(~np.isfinite(kernel.values)))
    if broken:
        raise UsageError(
            f"filters: {broken} of {kernel.values.size} values of {kernel.key} are not finite, so "
            "that it has no principal components. pe-inspect doctor says more."
        )
    fits = pe is not None and pe.scheme_kind.has_token_rows
    fits = fits and pe is not None and pe.embed_dim == len(kernel.values)
    return FiltersResult(kernel, pe if fits else None)


def _effective_rank(spectrum: Float[np.ndarray, " components"]) -> float:
    if not len(spectrum):
        return float("nan")
    return float(np.exp(-np.sum(spectrum * np.log(spectrum))))
