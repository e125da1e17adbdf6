"""Results → the frames of views: pairwise maps of all tokens, encoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from pe_inspect.analysis.common.selection import by_layer
from pe_inspect.arrays import Float32
from pe_inspect.kinds.affinity import Affinity, Values, cosines
from pe_inspect.kinds.all_kinds import (
    BIAS,
    COMPUTED_BIAS,
    PHASES,
    RELATIVE,
    RESPONSE,
    VECTORS,
    SchemeKind,
)
from pe_inspect.kinds.position_embedding import LayerNormParams, PositionEmbedding
from pe_inspect.kinds.tables_by_layer import Received
from pe_inspect.page.encode import encoded, from_chain
from pe_inspect.page.payload import num_bytes
from pe_inspect.page.tables import Chain, Norm, Resampling, RoundedTable, fitted
from pe_inspect.page.views import Frame, Track

if TYPE_CHECKING:
    from pe_inspect.analysis.interpolate import InterpolationResult
    from pe_inspect.analysis.similarity import SimilarityResult

__all__ = ["frame_of", "head_names", "prefix_names", "resampled_tracks", "similarity_frames"]

_SMALL: Final = 1024  # tokens; the maps of more are larger than any table

_HOW: Final = {
    "joined": "as the model computes it for this layer",
    "proxy": "LN1 of this layer on the table, a proxy",
    "stored": "as stored",
}


def frame_of(
    name: str,
    alike: Affinity,
    grid_size: tuple[int, int],
    *,
    heads: Sequence[int] | None = None,
    prefix: tuple[str, ...] = (),
    norms: Float32[np.ndarray, " tokens"] | None = None,
    detail: str = "",
    num_frames: int = 1,
) -> Frame:
    """Encode every head's map of one layer, epoch or grid.

    Args:
        name: of the frame.
        alike: the affinity of its tokens, those of `prefix` first.
        grid_size: (H, W).
        heads: those to keep; all by default.
        prefix: the prefix tokens' names.
        norms: the length of each token's vector, where dot products make sense.
        detail: how the map comes to be.
        num_frames: how many frames stand side by side in the W columns.
    """
    tokens = len(prefix) + grid_size[0] * grid_size[1]
    chosen = range(alike.num_heads) if heads is None else heads
    maps = tuple(encoded(alike, head, tokens, grid_size) for head in chosen)
    return Frame(name, grid_size, maps, prefix, norms, detail, num_frames=num_frames)


def similarity_frames(result: SimilarityResult) -> tuple[Frame, ...]:
    """Return one frame a layer of a similarity result, prefix tokens included.

    Where all layers start from one table, that and the layers' norms are kept if they are smaller.
    """
    tables = {id(step.table) for step in result.pe.steps}
    if not result.pe.scheme_kind.has_token_rows or len(tables) > 1:
        return tuple(_frames_by_layer(result))
    shared = _sharing(result)
    is_small = shared[0].maps[0].num_tokens <= _SMALL
    each = tuple(_frames_by_layer(result)) if is_small else shared
    return min((shared, each), key=lambda frames: num_bytes([Track("", frames)]))


def _sharing(result: SimilarityResult) -> tuple[Frame, ...]:
    """One frame a layer, all of one table."""
    pe, views = result.pe, {view.name: view for view in result.views}
    table = pe.steps[0].table
    found = [(views[name], chain) for name, chain in _chains(result) if name in views]
    chains = fitted(table.values, [chain for _, chain in found])
    prefix = prefix_names(pe, table.num_prefix_rows)
    return tuple(
        Frame(
            view.name, view.grid_size, (from_chain(chain, view.grid_size),), prefix,
            _row_norms(chain.rows), _detail(view.notion, view.norm), num_frames=view.num_frames,
        )
        for (view, _), chain in zip(found, chains)
    )  # fmt: skip


def _chains(result: SimilarityResult) -> Iterator[tuple[str, Chain]]:
    """Each layer's norms, from the stored table on."""
    norms: tuple[Norm, ...] = ()
    for step in result.pe.steps:
        norms = norms if step.continues else ()
        if step.norm is not None:
            eps = step.norm.eps if result.ln_eps is None else result.ln_eps
            norms = (*norms, _norm_of(step.norm, eps))
        yield step.name, Chain(step.table.values, norms)


def _norm_of(params: LayerNormParams, eps: float) -> Norm:
    return Norm(params.weight, params.bias, eps)


def _frames_by_layer(result: SimilarityResult) -> Iterator[Frame]:
    views = {view.name: view for view in result.views}
    heads = None if result.head is None else [result.head]
    for name, tables in by_layer(result.pe, result.ln_eps):
        if name in views:
            alike, prefix, norms = _OF_TOKENS[result.pe.scheme_kind](result.pe, tables)
            yield frame_of(
                name, alike, views[name].grid_size, heads=heads, prefix=prefix, norms=norms,
                detail=_detail(views[name].notion, views[name].norm),
                num_frames=views[name].num_frames,
            )  # fmt: skip


def _detail(notion: str, norm: str) -> str:
    return f"{_HOW[notion]}, {norm}" if norm and notion != "proxy" else _HOW[notion]


def _of_vectors(pe: PositionEmbedding, tables: Sequence[Received]) -> _OfTokens:
    values = tables[0].values
    return cosines(values), prefix_names(pe, tables[0].num_prefix_rows), _row_norms(values)


def _of_bias(pe: PositionEmbedding, tables: Sequence[Received]) -> _OfTokens:
    table = tables[0]
    return Values(table.values), prefix_names(pe, table.num_prefix_rows), None


def _of_response(pe: PositionEmbedding, tables: Sequence[Received]) -> _OfTokens:
    alike, _, _ = _of_patches(pe, tables)
    return alike, (), _row_norms(tables[0].patches)


def _of_patches(pe: PositionEmbedding, tables: Sequence[Received]) -> _OfTokens:
    return pe.scheme_kind.affinity(tables, pe.relation), (), None


_OfTokens: TypeAlias = tuple[Affinity, tuple[str, ...], "np.ndarray | None"]
"""The affinity of a layer's tokens, the names of its prefix tokens, and the lengths of rows."""

_OF_TOKENS: Final[
    Mapping[SchemeKind, Callable[[PositionEmbedding, Sequence[Received]], _OfTokens]]
] = {
    VECTORS: _of_vectors,
    BIAS: _of_bias,
    PHASES: _of_patches,
    RELATIVE: _of_patches,
    RESPONSE: _of_response,
    COMPUTED_BIAS: _of_patches,
}


def _row_norms(values: np.ndarray) -> np.ndarray | None:
    norms: np.ndarray = np.linalg.norm(values.astype(np.float64), axis=-1).astype(np.float32)
    return norms if np.isfinite(norms).all() else None


def head_names(pe: PositionEmbedding) -> tuple[str, ...]:
    """Name the maps of a layer where they are no heads: those of query, key and value tables."""
    return pe.scheme_kind.map_names(pe.tables)


def prefix_names(pe: PositionEmbedding, count: int) -> tuple[str, ...]:
    """Name the prefix tokens as far as the architecture tells: CLS, distillation, registers."""
    architecture = pe.architecture or ""
    if count == 1:
        return ("CLS",)
    if count == 2 and "distilled" in architecture:
        return ("CLS", "distillation")
    if "reg" in architecture:
        return ("CLS", *(f"register {k}" for k in range(1, count)))
    return tuple(f"prefix {k}" for k in range(1, count + 1))


def resampled_tracks(
    results: Sequence[InterpolationResult], *, table: int = 0, like: Sequence[Frame] = ()
) -> tuple[Track, ...]:
    """Return a track a method, with a frame a grid: maps of the table as resampled, before norms.

    Methods that are two products with small matrices share the one stored table, and the page
    resamples it itself.

    Args:
        results: one a target grid, in order of size, each with the same methods.
        table: which of the stored tables.
        like: frames of the same embedding that are on the page as well: they may share a table.
    """
    methods = [name for name in results[0].methods if all(name in r.methods for r in results)]
    shared = _products(results, methods, table, _table_of(like))
    return tuple(
        Track(
            name,
            tuple(shared.get((id(r), name)) or _frame_alone(r, name, table) for r in results),
        )
        for name in methods
    )


def _products(
    results: Sequence[InterpolationResult],
    methods: Sequence[str],
    table: int,
    like: RoundedTable | None,
) -> dict[tuple[int, str], Frame]:
    """The frames whose rows are W_h · table · W_wᵀ, of one shared table of vectors."""
    pe = results[0].pe
    exact, skip = pe.tables[table].values, pe.tables[table].num_prefix_rows
    if not pe.scheme_kind.has_token_rows or not np.isfinite(exact).all():
        return {}
    found = {
        (id(result), name): (result, name, Chain(exact, (_resampling(sides, skip),)))
        for result in results
        for name in methods
        if (sides := result.matrices(name, table=table)) is not None
    }
    chains = fitted(exact, [chain for _, _, chain in found.values()], like) if found else ()
    return {
        key: _of_product(result, name, chain)
        for (key, (result, name, _)), chain in zip(found.items(), chains)
    }


def _table_of(frames: Sequence[Frame]) -> RoundedTable | None:
    chains = [item.chain for frame in frames[:1] for item in frame.maps]
    return chains[0].table if chains and chains[0] is not None else None


def _resampling(sides: tuple[np.ndarray, np.ndarray], skip: int) -> Resampling:
    rows, columns = (np.ascontiguousarray(side, np.float32) for side in sides)
    return Resampling(rows, columns, skip)


def _of_product(result: InterpolationResult, method: str, chain: Chain) -> Frame:
    grid, made = result.grid_size, from_chain(chain, result.grid_size)
    name, rule = f"{grid[0]}×{grid[1]}", _made_by(result, method)
    return Frame(name, grid, (made,), (), _row_norms(chain.rows), rule)


def _made_by(result: InterpolationResult, method: str) -> str:
    return f"made by the rule {result.rules[method]}"


def _frame_alone(result: InterpolationResult, method: str, table: int) -> Frame:
    """A frame of its own, of the resampled values; of relative vectors, of a layer's parts."""
    pe = result.embedding(method)
    held = pe.tables[table]
    kind = pe.scheme_kind
    parts = next(by_layer(pe, None))[1] if kind.has_parts else [held]
    height, width = held.grid_size
    norms = _row_norms(held.patches) if kind.has_token_rows else None
    return frame_of(
        f"{height}×{width}", kind.affinity(parts, pe.relation), held.grid_size,
        norms=norms, detail=_made_by(result, method),
    )  # fmt: skip
