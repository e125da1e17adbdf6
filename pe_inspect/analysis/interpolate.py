"""The position embedding at another resolution, and what resampling does to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from pe_inspect._typing import Float32
from pe_inspect.analysis import questions
from pe_inspect.analysis._affinity import cosines
from pe_inspect.analysis._numbers import mean_of
from pe_inspect.analysis._offsets import OffsetTable, offset_table
from pe_inspect.analysis._resampled import (
    DEFINITIONS,
    MAX_QUERIES,
    ResampledTable,
    covering,
    resample_table,
)
from pe_inspect.analysis._resampling import Method, methods
from pe_inspect.analysis._target_grid import Size, refuse_if_too_large, shown, target_grid
from pe_inspect.errors import UsageError
from pe_inspect.position_embedding import LayerPE, PositionEmbedding

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["METHODS", "InterpolationResult", "QueryMaps", "interpolate"]

METHODS: Final[Mapping[str, str]] = {name: str(method) for name, method in methods.items()}
"""What each method does: its exact arguments and where it is defined, by name."""

REFUSALS: Final[Mapping[str, str]] = {
    "phases": "Rotary phases are computed from positions, not stored by position, so there is no "
    "table to resample. Extract them on the new grid instead: --grid-size HxW.",
    "relative": "Tables of relative offsets are clipped, not resampled: they serve any grid as "
    "they are, and there is nothing to interpolate.",
    "function": "This embedding is computed from the input, so there is no table to resample: "
    "it follows the size of the image by itself.",
}


@dataclass(frozen=True, eq=False)
class QueryMaps:
    """How alike every patch is to one patch, before and after.

    Attributes:
        token: (row, column) of the patch in the source grid.
        token_after: the target patch that covers its centre.
        before: (H, W): cosine, or for a bias the bias itself (mean over heads).
        after: (H′, W′), likewise.
    """

    token: tuple[int, int]
    token_after: tuple[int, int]
    before: Float32[np.ndarray, "rows columns"]
    after: Float32[np.ndarray, "new_rows new_columns"]


@dataclass(frozen=True, eq=False)
class InterpolationResult:
    """Every table of one embedding on another grid, by one or several methods.

    Attributes:
        pe: the embedding as it was.
        grid_size: the target (H′, W′).
        outcomes: method → one resampled table for each of `pe.layers`.
        rules: method → the plain method that it comes down to for this embedding.
        parameters: what was asked for, by command-line names.
        notes: every choice and omission, in words.
    """

    question: ClassVar[str] = "interpolate"
    definitions: ClassVar[Mapping[str, str]] = DEFINITIONS

    pe: PositionEmbedding
    grid_size: tuple[int, int]
    outcomes: Mapping[str, tuple[ResampledTable, ...]]
    rules: Mapping[str, str]
    parameters: dict[str, Any]
    notes: tuple[str, ...] = ()

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
        return replace(self.pe, layers=tuple(self._layers(method)))

    def _layers(self, method: str | None) -> Iterator[LayerPE]:
        for source, table in zip(self.pe.layers, self.tables(method)):
            yield replace(source, values=_joined(source, table), grid_size=self.grid_size)

    def values(self, method: str | None = None) -> Float32[np.ndarray, "tables ..."]:
        """The tables as one array.

        Returns:
            vectors: (T, H′·W′, D), prefix rows removed. bias: (L, heads, N′, N′), prefix rows and
            columns kept; layers with fewer heads than others are padded with NaN.
        """
        if self.pe.kind == "bias":
            return _stacked([layer.values for layer in self._layers(method)])
        return np.stack([t.after.reshape(-1, t.after.shape[-1]) for t in self.tables(method)])

    @property
    def prefix(self) -> Float32[np.ndarray, "tables ..."]:
        """The prefix rows, which no method touches: (T, P, D); for a bias (L, heads, P, N′)."""
        if self.pe.kind == "bias":
            return self.values()[:, :, : self.pe.num_prefix_rows]
        return np.stack([table.prefix for table in self.pe.layers])

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
        source, done = self.pe.layers[table], self.tables(method)[table]
        token = _checked_token(token, source.grid_size)
        after = tuple(
            int(covering(n, m)[place])
            for place, n, m in zip(token, source.grid_size, self.grid_size)
        )
        row, column = after
        read = _bias_map if done.is_bias else _cosine_map
        return QueryMaps(token, (row, column), read(done.before, token), read(done.after, after))

    def means(self, method: str | None = None) -> dict[str, float]:
        """The measures of `DEFINITIONS` by one method: means over tables, sums of counts."""
        tables = self.tables(method)
        means = {
            name: mean_of(np.array([table.measures[name] for table in tables]))
            for name in tables[0].measures
        }
        return {**means, "num_missing": sum(table.measures["num_missing"] for table in tables)}

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
        arrays: dict[str, Any] = {
            "values": self.values(),
            "prefix": self.prefix,
            "grid_size": np.array(self.grid_size),
            "methods": np.array(self.methods),
            **{f"values/{method}": self.values(method) for method in self.methods},
        }
        np.savez(file, **arrays)


@questions.register("interpolate")
def interpolate(
    pe: PositionEmbedding,
    *,
    res: Size | None = None,
    grid: Size | None = None,
    patch_size: Size | None = None,
    method: str = "native",
) -> InterpolationResult:
    """Resample every table of an embedding to another grid. Prefix rows are kept as they are.

    Tables are resampled as stored, before any norm: the two do not commute. A bias is resampled
    as a table of offsets. Equal to timm's `resample_abs_pos_embed` to 1e-6 (`method="timm"`).

    Args:
        pe: one scheme of one checkpoint.
        res: the target in pixels: one side, or (height, width).
        grid: the target in patches, instead of `res`.
        patch_size: pixels of a patch, where the checkpoint does not say or to overrule it.
        method: a name of `METHODS`, several with commas (the first is the chosen one), or `all`.

    Raises:
        UsageError: an unknown method, an impossible size, one that would not fit into memory, or
            a kind that is not resampled.
    """
    if pe.kind in REFUSALS:
        raise UsageError(REFUSALS[pe.kind])
    chosen = _chosen(method)
    size = target_grid(pe, res, grid, patch_size)
    refuse_if_too_large(pe, size, len(chosen))
    sources = [offset_table(table) for table in pe.layers] if pe.kind == "bias" else None
    outcomes = {each.name: _resampled(pe, sources, size, each) for each in chosen}
    parameters = {"method": ",".join(outcomes), "grid": list(size), "from": list(pe.grid_size)}
    if res is not None:
        parameters["res"] = shown(res)
    rules = {each.name: each.rule(pe).__name__.replace("_", "-") for each in chosen}
    notes = tuple(_notes(pe, rules, outcomes))
    return InterpolationResult(pe, size, outcomes, rules, parameters, notes)


def _chosen(method: str) -> list[Method]:
    names = [name.strip() for name in method.split(",") if name.strip()]
    if names == ["all"]:
        names = ["native", *(name for name in methods if name != "native")]
    if not names:
        raise UsageError(f"--method names no method. Known: {', '.join(methods)}, all.")
    return [methods[name] for name in dict.fromkeys(names)]


def _resampled(
    pe: PositionEmbedding,
    sources: list[OffsetTable] | None,
    size: tuple[int, int],
    method: Method,
) -> tuple[ResampledTable, ...]:
    resample = method.rule(pe)
    if sources is None:
        return tuple(
            resample_table(table.name, table.patches.reshape(*table.grid_size, -1), size, resample)
            for table in pe.layers
        )
    offsets = (2 * size[0] - 1, 2 * size[1] - 1)
    return tuple(
        resample_table(table.name, source.offsets, offsets, resample, is_bias=True)
        for table, source in zip(pe.layers, sources)
    )


def _joined(source: LayerPE, table: ResampledTable) -> Float32[np.ndarray, "... channels"]:
    """The values of a `LayerPE`: prefix rows and resampled patches."""
    if not table.is_bias:
        patches = table.after.reshape(-1, table.after.shape[-1])
        return np.concatenate([source.prefix, patches])
    return replace(offset_table(source), offsets=table.after).expanded()


def _stacked(
    values: list[Float32[np.ndarray, "heads tokens tokens"]],
) -> Float32[np.ndarray, "layers heads tokens tokens"]:
    heads = max(len(bias) for bias in values)
    stack = np.full((len(values), heads, *values[0].shape[1:]), np.nan, np.float32)
    for row, bias in zip(stack, values):
        row[: len(bias)] = bias
    return stack


def _checked_token(token: tuple[int, int] | None, grid_size: tuple[int, int]) -> tuple[int, int]:
    rows, columns = grid_size
    row, column = (rows // 2, columns // 2) if token is None else token
    if not (0 <= row < rows and 0 <= column < columns):
        raise UsageError(
            f"--token {row},{column} is outside the {rows}×{columns} grid: "
            f"rows 0–{rows - 1}, columns 0–{columns - 1}."
        )
    return row, column


def _cosine_map(
    table: Float32[np.ndarray, "rows columns channels"], token: tuple[int, ...]
) -> Float32[np.ndarray, "rows columns"]:
    rows, columns, channels = table.shape
    found = cosines(table.reshape(-1, channels)).rows([token[0] * columns + token[1]])
    return found.reshape(rows, columns)


def _bias_map(
    offsets: Float32[np.ndarray, "offset_rows offset_columns heads"], token: tuple[int, ...]
) -> Float32[np.ndarray, "rows columns"]:
    """The mean over heads of the query's bias on each key: offset query − key, so reversed."""
    rows, columns = ((side + 1) // 2 for side in offsets.shape[:2])
    block = offsets[token[0] : token[0] + rows, token[1] : token[1] + columns]
    mean: np.ndarray = block[::-1, ::-1].mean(axis=-1)
    return mean


def _notes(
    pe: PositionEmbedding,
    rules: Mapping[str, str],
    outcomes: Mapping[str, tuple[ResampledTable, ...]],
) -> Iterator[str]:
    for name, plain in rules.items():
        if name != plain:
            yield f"{name} resamples this embedding by {plain}"
    yield from _notes_on_kind(pe)
    for name, tables in outcomes.items():
        missing = sum(int(table.measures["num_missing"]) for table in tables)
        if missing:
            yield f"{missing} values of {name} are NaN: they draw on values that are not finite"


def _notes_on_kind(pe: PositionEmbedding) -> Iterator[str]:
    if pe.kind == "bias" and pe.norms_named("attn.pe_norm"):
        yield (
            "the stored bias was resampled, not what its norm over the keys makes of it: that "
            "norm's γ and β have one entry a patch, and do not fit another grid"
        )
    if pe.kind == "bias" and len({table.values.shape[0] for table in pe.layers}) > 1:
        yield "layers have different numbers of heads: missing heads are NaN in the saved values"
    if pe.kind == "vectors" and pe.join in ("lape", "share", "unshare"):
        yield "the tables were resampled before the norms of the layers, as the model does"
        yield "LaPE's own loader resamples without antialiasing: --method bicubic"
    if pe.family.startswith("sinusoidal"):
        yield "a sinusoidal table can also be computed anew on the new grid; this is the stored one"
    if pe.kind == "vectors" and pe.layers[0].num_patches > MAX_QUERIES:
        yield f"correlations of cosine maps use at most {MAX_QUERIES} evenly spread query patches"
