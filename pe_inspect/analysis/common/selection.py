"""Which layers a question shows, and whether the patch, head and layer asked for exist."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeAlias

from pe_inspect.errors import UsageError
from pe_inspect.kinds.parts import Notion, Step
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.kinds.tables_by_layer import Received, received
from pe_inspect.registry import did_you_mean

__all__ = [
    "LayerView",
    "Layers",
    "by_layer",
    "checked_head",
    "checked_token",
    "chosen",
    "flat_index",
    "views_of",
]

Layers: TypeAlias = int | str | Sequence[int | str]
"""One layer or several, by name or by place: `3`, `"blocks.3"`, `(0, "blocks.11")`."""


@dataclass(frozen=True)
class LayerView:
    """One layer of a result.

    Attributes:
        name: the layer.
        notion: `joined`, `proxy` or `stored`: how the table comes to be what the layer receives.
        norm: the norm that was applied; empty for none.
        grid_size: (H, W) patches.
        num_heads: maps of this layer.
        num_frames: how many frames stand side by side in the W columns; 1 for images.
    """

    name: str
    notion: Notion
    norm: str
    grid_size: tuple[int, int]
    num_heads: int
    num_frames: int = 1

    @property
    def num_patches(self) -> int:
        """H·W."""
        return self.grid_size[0] * self.grid_size[1]

    @property
    def middle(self) -> tuple[int, int]:
        """(H//2, W//2), of the middle frame: the query patch, where none is chosen."""
        height, width = self.grid_size[0], self.grid_size[1] // self.num_frames
        return height // 2, self.num_frames // 2 * width + width // 2


def views_of(pe: PositionEmbedding) -> tuple[LayerView, ...]:
    """Return every layer that receives the embedding; nothing is computed."""
    groups = groupby(pe.steps, key=lambda step: _view_name(pe, step))
    return tuple(_view(pe, name, list(group)) for name, group in groups)


def by_layer(
    pe: PositionEmbedding, ln_eps: float | None
) -> Iterator[tuple[str, tuple[Received, ...]]]:
    """Yield the tables that each layer receives: one, or the parts of a relative scheme."""
    names = [_view_name(pe, step) for step in pe.steps]
    tables = zip(names, received(pe, ln_eps=ln_eps))
    for name, group in groupby(tables, key=lambda pair: pair[0]):
        yield name, tuple(table for _, table in group)


def chosen(views: Sequence[LayerView], layer: Layers | None) -> tuple[LayerView, ...]:
    """Return the views of some layers, given by name or by place among the layers; or all.

    Raises:
        UsageError: there is no such layer.
    """
    if layer is None:
        return tuple(views)
    asked = [layer] if isinstance(layer, (int, str)) else layer
    found = {_view_of(views, each) for each in asked}
    return tuple(view for view in views if view in found)


def _view_of(views: Sequence[LayerView], layer: int | str) -> LayerView:
    names = [view.name for view in views]
    if layer in names:
        return views[names.index(str(layer))]
    if not str(layer).lstrip("-").isdigit():
        raise UsageError(did_you_mean("layer", str(layer), names))
    if not 0 <= int(layer) < len(views):
        raise UsageError(
            f"--layer {layer} is outside 0–{len(views) - 1}: {names[0]} … {names[-1]}."
        )
    return views[int(layer)]


def checked_token(
    token: Sequence[int] | None, views: Sequence[LayerView]
) -> tuple[int, int] | None:
    """Return the query patch as (row, column), inside every view's grid.

    Raises:
        UsageError: it is outside, or not two numbers.
    """
    if token is None:
        return None
    if len(token) != 2:
        raise UsageError(f"--token takes a row and a column, as in 7,7; not {list(token)}.")
    row, column = (int(place) for place in token)
    for height, width in {view.grid_size: None for view in views}:
        if not (0 <= row < height and 0 <= column < width):
            raise UsageError(
                f"--token {row},{column} is outside the {height}×{width} grid: "
                f"rows 0–{height - 1}, columns 0–{width - 1}"
            )
    return row, column


def checked_head(head: int | None, views: Sequence[LayerView]) -> int | None:
    """Return the head, which every view must have.

    Raises:
        UsageError: some layer has no such head, or layers have no heads at all.
    """
    if head is None:
        return None
    for view in views:
        if not 0 <= head < view.num_heads:
            has = (
                f"heads 0–{view.num_heads - 1}"
                if view.num_heads > 1
                else "one map, shared by all heads"
            )
            raise UsageError(f"--head {head} does not exist in {view.name}, which has {has}.")
    return head


def flat_index(token: tuple[int, int] | None, view: LayerView) -> int:
    """Return the row of the query patch in a view's N×N map."""
    row, column = view.middle if token is None else token
    return row * view.grid_size[1] + column


def _view_name(pe: PositionEmbedding, step: Step) -> str:
    return step.layer if pe.scheme_kind.has_parts else step.name


def _view(pe: PositionEmbedding, name: str, group: Sequence[Step]) -> LayerView:
    step = group[0]
    norm, table = step.norm.path if step.norm else "", step.table
    num_maps = pe.scheme_kind.num_maps([one.table for one in group])
    return LayerView(name, step.notion, norm, table.grid_size, num_maps, table.num_frames)
