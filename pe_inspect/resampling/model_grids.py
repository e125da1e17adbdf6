"""What becomes of each grid of a model that has several, where one of them becomes another.

A request names one grid: that of the table at the input. Levels, branches and stages keep their
proportion to it; tables of windows, of the pixels of a patch and of time stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from pe_inspect.kinds.layouts import in_proportion, is_rounded_up, source_grid
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.resampling.target_grid import Size, is_windowed, target_grid

__all__ = ["grid_beside", "grid_in_model", "is_free", "main_of", "notes_beside", "size_of"]

Grid = tuple[int, int]
_WITHIN: Final = ("pixel", "temporal", "window")
"""Tables of the pixels of a patch, of time, and of a window: no image's size is theirs."""


def grid_in_model(
    pe: PositionEmbedding,
    model: Sequence[PositionEmbedding],
    res: Size | None,
    grid: Size | None,
    patch_size: Size | None,
) -> Grid:
    """Return what an embedding's largest grid becomes where a model is asked for another size.

    Args:
        pe: one of the model's embeddings.
        model: all of them; none where it is the only one.
        res: the target in pixels, or
        grid: in patches, of the model's main embedding.
        patch_size: pixels of a patch.

    Raises:
        UsageError: an impossible size.
    """
    main = main_of(model, in_pixels=res is not None) if model else pe
    main.require_flat_grid("interpolate")
    if _is_the_same(pe, main):
        return target_grid(pe, res, grid, patch_size)
    return grid_beside(main, size_of(main, res, grid, patch_size), pe)


def notes_beside(
    pe: PositionEmbedding, model: Sequence[PositionEmbedding], size: Grid
) -> Iterator[str]:
    """Yield what becomes of an embedding that a request does not name.

    Args:
        pe: one of the model's embeddings.
        model: all of them; none where it is the only one.
        size: what its largest grid becomes.
    """
    if not model or any(_is_the_same(pe, main_of(model, in_pixels=way)) for way in (True, False)):
        return
    (height, width), (rows, columns) = source_grid(pe), size
    if (height, width) == size:
        yield f"this table stays on its {height}×{width} grid: the image's size does not change it"
    else:
        yield (
            f"its {height}×{width} grid becomes {rows}×{columns} as that at the input becomes what "
            "was asked for"
        )


def main_of(model: Sequence[PositionEmbedding], *, in_pixels: bool) -> PositionEmbedding:
    """Return the embedding whose grid a request names: a table or angles, else windows, else any.

    Args:
        model: all embeddings of a model.
        in_pixels: whether the request is; then one whose patch is known comes first.
    """

    def rank(pe: PositionEmbedding) -> int:
        if is_free(pe):
            return 3
        return 2 if is_windowed(pe) else 0 if not in_pixels or pe.patch_size else 1

    return min(model, key=rank)


def size_of(
    main: PositionEmbedding, res: Size | None, grid: Size | None, patch_size: Size | None
) -> Grid:
    """Return the grid that a request gives the main embedding.

    Raises:
        UsageError: an impossible size.
    """
    is_open = main.patch_size is None and patch_size is None
    if is_free(main) and grid is None and (is_open or _has_windows(main)):
        return main.grid_size  # of any size, or of windows, which do not grow with the image
    return target_grid(main, res, grid, patch_size)


def grid_beside(main: PositionEmbedding, size: Grid, pe: PositionEmbedding) -> Grid:
    """Return what an embedding's largest grid becomes where the main one's becomes `size`."""
    old, own = source_grid(main), source_grid(pe)
    if is_windowed(pe) or _has_windows(pe) or pe.tables[0].part in _WITHIN:
        return own
    if own == old or _exceeds(pe, old):
        return size
    return in_proportion(own, old, size, rounding_up=is_rounded_up(pe))


def _is_the_same(pe: PositionEmbedding, other: PositionEmbedding) -> bool:
    """Whether both are one embedding of a model, or one is a selection of the other's layers."""
    return (pe.family, pe.keys) == (other.family, other.keys)


def is_free(pe: PositionEmbedding) -> bool:
    """Whether no table of it is resampled: only its buffers, if any, know a grid."""
    return pe.scheme_kind.is_computed or pe.facts.serves_any_grid


def _has_windows(pe: PositionEmbedding) -> bool:
    """Whether it is computed for windows of the image, as Swin v2's bias is."""
    plain, kind = ("blocks.", "shared_rel_pos"), pe.scheme_kind
    return kind.is_computed and kind.is_pairwise and not pe.tables[0].layer.startswith(plain)


def _exceeds(pe: PositionEmbedding, grid: Grid) -> bool:
    """Whether offsets reach over more patches than the main table has.

    VitDet keeps the table of the smaller images that it was pre-trained on.
    """
    own = source_grid(pe)
    return pe.scheme_kind.has_reach and all(side > other for side, other in zip(own, grid))
