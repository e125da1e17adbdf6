"""What one patch of one image attends to, block by block; nda111's third figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from pe_inspect.figures.layout.sheets import Scale, Sheet, columns_for, draw_sheet, outline_box
from pe_inspect.figures.layout.style import sequential

if TYPE_CHECKING:
    from pe_inspect.analysis.attention import AttentionResult
    from pe_inspect.traces import AttentionExample

__all__ = ["example_maps"]


def example_maps(result: AttentionResult, layers: Sequence[str], head: int | None) -> Figure | None:
    """Draw the attention of one patch; `None` where no block's attention spans the image."""
    example = result.trace.example
    if example is None:
        return None
    kept = [k for k, layer in enumerate(example.layers) if layer in layers]
    if not kept:
        return None
    maps = [_map(example, k, head) for k in kept]
    columns = columns_for(len(kept) + 1, max(max(each.shape) for each in maps))
    row, column = example.token
    whose = "mean over heads" if head is None else f"head {head}"
    text = (
        f"The attention of the outlined patch (row {row}, column {column}) to every patch of the "
        f"first image, {whose}, block by block; what is missing to 1 is on prefix tokens. "
        "One scale, from 0; the greatest 1 % of all values are drawn as its end."
    )
    words = result.heading(f"what one patch attends to, {whose}")
    whole = result.trace.grid_size
    marks = {1 + k: _place(example, at, whole) for k, at in enumerate(kept)}
    names = ["the image", *(example.layers[k].replace("blocks.", "block ") for k in kept)]
    top = max(float(np.quantile(np.concatenate([each.ravel() for each in maps]), 0.99)), 1e-9)
    scale = Scale(sequential(), Normalize(0, top, clip=True), "attention")
    sheet = Sheet(words, text, [_blank(maps[0]), *maps], columns, names, marks=marks)
    figure = draw_sheet(sheet, scale)
    _show_image(figure, example, whole)
    return figure


def _map(example: AttentionExample, k: int, head: int | None) -> np.ndarray:
    weights = example.weights[k]
    own = weights[head] if head is not None and head < len(weights) else weights.mean(axis=0)
    return np.asarray(own.reshape(example.grid_sizes[k]))


def _place(example: AttentionExample, k: int, whole: tuple[int, int]) -> tuple[int, int]:
    (row, column), (rows, columns) = example.token, example.grid_sizes[k]
    return row * rows // whole[0], column * columns // whole[1]


def _blank(like: np.ndarray) -> np.ndarray:
    return np.full(like.shape, np.nan)


def _show_image(figure: Figure, example: AttentionExample, whole: tuple[int, int]) -> None:
    """Draw the image where the first map would be, with its patch outlined."""
    axes = next(each for each in figure.axes if each.get_images())
    left, right, bottom, top = axes.get_images()[0].get_extent()
    axes.imshow(example.image, extent=(left, right, bottom, top), aspect="auto", zorder=2,
                interpolation="antialiased")  # fmt: skip
    tall, wide = (bottom - top) / whole[0], (right - left) / whole[1]
    row, column = example.token
    outline_box(axes, (left + column * wide, top + row * tall), (wide, tall))
