"""What `interpolate` returns: every table of one embedding on another grid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any, ClassVar

import numpy as np

from pe_inspect.analysis.common.notebook_repr import Shown
from pe_inspect.analysis.interpolate.finding import finding_of, rule_words
from pe_inspect.analysis.interpolate.measures import DEFINITIONS, defined_over, pooled
from pe_inspect.analysis.interpolate.query_maps import QueryMaps, query_maps
from pe_inspect.analysis.interpolate.resampled import ResampledTable
from pe_inspect.arrays import Float32
from pe_inspect.errors import UsageError
from pe_inspect.kinds.layouts import put_back
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding
from pe_inspect.resampling.native import Origin
from pe_inspect.resampling.target_grid import is_windowed

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["InterpolationResult"]


@dataclass(frozen=True, eq=False)
class InterpolationResult(Shown):
    """Every table of one embedding on another grid, by one or several methods.

    Attributes:
        pe: the embedding as it was.
        grid_size: the target (H′, W′).
        outcomes: method → one resampled table for each of `pe.tables`; methods that come down to
            the same plain one share their tables.
        rules: method → the plain method that it comes down to for this embedding.
        origin: whose rule is the embedding's own, and whether that is known.
        parameters: what was asked for, by command-line names.
        notes: every choice and omission, in words.
        patch_size: pixels of a patch at the target, where that is known.
    """

    question: ClassVar[str] = "interpolate"
    definitions: ClassVar[Mapping[str, str]] = DEFINITIONS

    pe: PositionEmbedding
    grid_size: tuple[int, int]
    outcomes: Mapping[str, tuple[ResampledTable, ...]]
    rules: Mapping[str, str]
    origin: Origin
    parameters: dict[str, Any]
    notes: tuple[str, ...] = ()
    patch_size: tuple[int, int] | None = None

    def __repr__(self) -> str:
        (h, w), (rows, columns) = self.pe.grid_size, self.grid_size
        return f"InterpolationResult({h}×{w} to {rows}×{columns}, {', '.join(self.methods)})"

    @property
    def native(self) -> str:
        """The library whose rule is the embedding's own; where none is known, the one shown."""
        return self.origin.library

    @property
    def change(self) -> str:
        """What becomes of the grid, and by which rule: `14×14 → 24×24 (384×384 px), timm, bicubic`.

        Pixels are left out where no patch size is known, or where the grid is a window's.
        """
        (h, w), (rows, columns) = self.parameters["from"], self.grid_size
        size = f"{h}×{w} → {rows}×{columns}"
        if self.patch_size is not None and not is_windowed(self.pe):
            high, wide = self.patch_size
            size += f" ({rows * high}×{columns * wide} px)"
        return f"{size}, {self._rule}"

    @property
    def _rule(self) -> str:
        plain = self.rules[self.method]
        if self.method == "native":
            return self.origin.words(plain)
        return plain if plain == self.method else f"{self.method}, {plain}"

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods, the chosen one first."""
        return tuple(self.outcomes)

    @property
    def method(self) -> str:
        """The chosen method: the first that was asked for."""
        return self.methods[0]

    def tables(self, method: str | None = None) -> tuple[ResampledTable, ...]:
        """The tables by one method, the chosen one by default.

        Raises:
            UsageError: the method was not among those asked for.
        """
        name = self.method if method is None else method
        if name not in self.outcomes:
            known = ", ".join(self.outcomes)
            raise UsageError(f"{name!r} was not computed; this result holds {known}.")
        return self.outcomes[name]

    def embedding(self, method: str | None = None) -> PositionEmbedding:
        """The whole embedding on the target grid: it can be asked every question in turn."""
        return replace(self.pe, tables=tuple(self._layers(method)), patch_size=self.patch_size)

    def _layers(self, method: str | None) -> Iterator[LayerPE]:
        for source, table in zip(self.pe.tables, self.tables(method)):
            yield put_back(self.pe, source, table.after, self.grid_size)

    def values(self, method: str | None = None) -> Float32[np.ndarray, "tables ..."]:
        """The tables as one array.

        Returns:
            vectors: (T, H′·W′, D), prefix rows removed. bias: (L, heads, N′, N′), prefix rows and
            columns kept. phases: (L, heads, H′·W′, angles). relative: (T, offsets, D), prefix rows
            removed. Layers with fewer heads or offsets than others are padded with NaN.
        """
        if self.pe.scheme_kind.has_heads:
            return _stacked([layer.values for layer in self._layers(method)])
        return _stacked([t.after.reshape(-1, t.after.shape[-1]) for t in self.tables(method)])

    @property
    def prefix(self) -> Float32[np.ndarray, "tables ..."]:
        """The prefix rows, which no method touches: (T, P, D); for a bias (L, heads, P, N′)."""
        if self.pe.scheme_kind.is_pairwise:
            return self.values()[:, :, : self.pe.num_prefix_rows]
        return np.stack([table.prefix for table in self.pe.tables])

    def query_maps(
        self, token: tuple[int, int] | None = None, *, table: int = 0, method: str | None = None
    ) -> QueryMaps:
        """How alike every patch is to one patch, in the source and in the resampled table.

        Args:
            token: (row, column) in the source grid; the middle patch by default.
            table: which of the tables.
            method: which of the methods.

        Raises:
            UsageError: the patch lies outside the grid.
        """
        return query_maps(self.tables(method)[table], token)

    def matrices(
        self, method: str | None = None, *, table: int = 0
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """W_h (H′, H) and W_w (W′, W) in float64: new = W_h · table · W_wᵀ, channel by channel.

        They act on the table's layout: for a bias on its (2H − 1, 2W − 1) offsets. `None` for a
        method that is not separable, or that evaluates a function anew (phases).
        """
        done = self.tables(method)[table]
        rows, columns, _ = done.before.shape
        return done.resampler.matrices((rows, columns), done.size)

    def separable(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """The matrices of the first table by every method that has them.

        Raises:
            UsageError: no method has any.
        """
        found = {method: self.matrices(method) for method in self.methods}
        pairs = {method: pair for method, pair in found.items() if pair is not None}
        if not pairs:
            is_fixed = self.pe.scheme_kind.holds_angles
            way = "" if is_fixed else "pass another --method, such as bicubic, or "
            raise UsageError(
                f"--matrix: {', '.join(found)} cannot be written as one matrix for rows and one "
                f"for columns: {way}leave --matrix out."
            )
        return pairs

    def means(self, method: str | None = None) -> dict[str, float]:
        """The measures of `DEFINITIONS` by one method, over all tables."""
        tables = self.tables(method)
        return pooled(tables, [table.measures for table in tables])

    @property
    def finding(self) -> str:
        """The answer in one sentence, with its numbers."""
        source, target = (f"{h}×{w}" for h, w in (self.parameters["from"], self.grid_size))
        rule = rule_words(self.method, self.rules[self.method], self.origin)
        way = f"from {source} to {target} patches ({rule})"
        return finding_of(self.pe, way, self.summary(), is_asked_anew=self.is_asked_anew)

    @property
    def is_asked_anew(self) -> bool:
        """Whether a network gives the values, not a resampler."""
        name = self.tables()[0].resampler.name
        return self.pe.scheme_kind.is_computed and name.startswith("cpb")

    def defined(self) -> dict[str, str]:
        """The definition of every number of `summary()`."""
        count, is_bias = len(self.tables()), self.pe.is_pairwise
        return {name: defined_over(name, count, is_bias=is_bias) for name in self.summary()}

    def summary(self) -> dict[str, float]:
        """The means by the chosen method."""
        return self.means()

    def to_frame(self) -> pd.DataFrame:
        """One row a method and table, one column a measure."""
        import pandas as pd

        return pd.DataFrame(
            {"method": method, "layer": table.layer, **table.measures}
            for method, tables in self.outcomes.items()
            for table in tables
        )

    def save_npz(self, file: str | IO[bytes]) -> None:
        """Write `values`, `prefix`, `grid_size`, `methods` and, per method, `values/<method>`."""
        by_rule = {rule: self.values(method) for method, rule in self.rules.items()}
        arrays: dict[str, Any] = {
            "values": by_rule[self.rules[self.method]],
            "prefix": self.prefix,
            "grid_size": np.array(self.grid_size),
            "methods": np.array(self.methods),
            **{f"values/{method}": by_rule[rule] for method, rule in self.rules.items()},
        }
        np.savez(file, **arrays)

    def save_matrices(self, file: str | IO[bytes]) -> None:
        """Write `W_h`, `W_w` of the chosen method and `W_h/<method>`, `W_w/<method>` of each.

        `not_separable` names the methods that have none. The matrices are those of the first table.

        Raises:
            UsageError: no method has any.
        """
        pairs = self.separable()
        without = np.array([name for name in self.methods if name not in pairs], dtype=np.str_)
        arrays: dict[str, Any] = {"not_separable": without, "grid_size": np.array(self.grid_size)}
        chosen = {"": pairs[self.method]} if self.method in pairs else {}
        for name, pair in {
            **chosen,
            **{f"/{method}": pair for method, pair in pairs.items()},
        }.items():
            arrays |= dict(zip((f"W_h{name}", f"W_w{name}"), pair))
        np.savez(file, **arrays)


def _stacked(values: list[Float32[np.ndarray, "..."]]) -> Float32[np.ndarray, "tables ..."]:
    """One array, as large as the largest; what is not there is NaN."""
    shapes = [each.shape for each in values]
    if len(values) == 1:
        return values[0][None]
    if len(set(shapes)) == 1:
        return np.stack(values)
    stack = np.full((len(values), *np.max(shapes, axis=0)), np.nan, np.float32)
    for row, each in zip(stack, values):
        row[tuple(map(slice, each.shape))] = each
    return stack
