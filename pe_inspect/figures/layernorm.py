"""Figures of a model's norms: γ and β by layer and channel, and what they do to the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from pe_inspect.arrays import Float
from pe_inspect.figures import drawings
from pe_inspect.figures.layout.lines import (
    are_blocks,
    layer_axis,
    layer_room,
    lined,
    marker_size,
    reference,
)
from pe_inspect.figures.layout.maps import spread
from pe_inspect.figures.layout.style import (
    DIGIT,
    DPI,
    INK,
    LABEL_SIZE,
    PAGE_WIDTH,
    PALETTE,
    TICK_SIZE,
    axes_at,
    caption,
    caption_height,
    colorbar,
    new_figure,
    sequential,
    tidy,
    title,
)

if TYPE_CHECKING:
    from pe_inspect.analysis.layernorm import LayerNormResult, NormRow
    from pe_inspect.analysis.layernorm.decomposition import Decomposition

__all__ = ["draw"]

TITLE: Final = 0.36
LEFT: Final = 0.78
RIGHT: Final = 0.15
ABOVE: Final = 0.24
COLUMNS: Final = 4
GAP: Final = 0.8  # inches between panels that do not share an axis
PLOT_HEIGHT: Final = 1.3
LEGEND: Final = 0.26
LEGEND_ROW: Final = 0.16  # inches
LEGEND_HANDLE: Final = 0.40
SATURATED: Final = (0.5, 99.5)  # percentiles: one outlying channel would flatten all others
DECOMPOSED: Final = (
    ("scale", "std over channels"),
    ("mean_cosine", "mean cosine"),
    ("neighbour_cosine", "cosine of neighbours"),
    ("distance_to_full", "distance to the whole"),
)
MARKERS: Final = ("o", "s", "^", "D", "v", "P")


@drawings.register("layernorm")
def draw(result: LayerNormResult) -> dict[str, Figure]:
    """Draw the norms.

    Args:
        result: what `layernorm` answered with.

    Returns:
        `layernorm` (γ and β by layer) and `layernorm_channels` (γ by layer and channel);
        `layernorm_cosine` where some norm has several layers, `layernorm_position` where there
        are position norms, and `layernorm_decomposition` where norms act on a table's rows.
    """
    figures = {"layernorm": _statistics(result), "layernorm_channels": _channels(result)}
    if any(len(result.rows_named(name)) > 1 for name in result.names):
        figures["layernorm_cosine"] = _cosines(result)
    if _position_names(result):
        figures["layernorm_position"] = _position(result)
    if result.decompositions:
        figures["layernorm_decomposition"] = _decomposition(result)
    return figures


def _statistics(result: LayerNormResult) -> Figure:
    names = _block_names(result)
    parts = [part for part in ("weight", "bias") if _has(result, names, part)]
    groups = [names[k : k + COLUMNS] for k in range(0, len(names), COLUMNS)]
    lines = [(part, group) for group in groups for part in parts]
    text = (
        "Over the channels of each norm: mean (line), one standard deviation to either side "
        f"(band), least and greatest (thin lines).{_left_out(result, names)}"
    )
    rooms = [layer_room(_layers(result, shown)) for _, shown in lines]
    figure, floor = _figure(_height(rooms), "LayerNorm weights by layer", text)
    top = floor + _height(rooms)
    for (part, shown), room in zip(lines, rooms):
        top -= ABOVE + PLOT_HEIGHT
        _statistics_line(figure, result, part, shown, top)
        top -= room
    return figure


def _height(rooms: Sequence[float]) -> float:
    return sum(rooms) + len(rooms) * (ABOVE + PLOT_HEIGHT)


def _statistics_line(
    figure: Figure, result: LayerNormResult, part: str, names: Sequence[str], bottom: float
) -> None:
    first: Axes | None = None
    sign = "γ" if part == "weight" else "β"
    for k, (name, box) in enumerate(zip(names, _boxes(len(names), bottom))):
        axes = axes_at(figure, *box)
        if first is not None:
            axes.sharey(first)
        rows = [row for row in result.rows_named(name) if getattr(row, part) is not None]
        lined(axes, "", sign if k == 0 else "")
        layers = [row.layer for row in rows]
        _band(axes, rows, part, layers, PALETTE[0] if part == "weight" else PALETTE[1])
        reference(axes, 1 if part == "weight" else 0)
        axes.set_title(f"{name} · {sign}", size=LABEL_SIZE, color=INK, loc="left", pad=4)
        axes.tick_params(labelleft=k == 0)
        first = first or axes


def _band(
    axes: Axes,
    rows: Sequence[NormRow],
    part: str,
    layers: Sequence[str],
    colour: str,
    *,
    label: str | None = None,
) -> None:
    """Mean, standard deviation and range by layer; a lone layer is drawn as bars."""
    read = {key: np.array([getattr(row, part)[key] for row in rows])
            for key in ("mean", "std", "min", "max")}  # fmt: skip
    x = np.array([layers.index(row.layer) for row in rows])
    mean, std = read["mean"], read["std"]
    size = marker_size(len(rows))
    axes.plot(x, mean, color=colour, linewidth=1.4, marker="o", markersize=size, label=label)
    if len(rows) == 1:
        axes.vlines(x, read["min"], read["max"], color=colour, linewidth=0.6)
        axes.vlines(x, mean - std, mean + std, color=colour, linewidth=4, alpha=0.35)
    else:
        axes.fill_between(x, mean - std, mean + std, color=colour, alpha=0.22, linewidth=0)
        for bound in ("min", "max"):
            axes.plot(x, read[bound], color=colour, linewidth=0.6)
    layer_axis(axes, layers)


def _position(result: LayerNormResult) -> Figure:
    names = [*_position_names(result), "norm1"]
    names = [name for name in names if result.rows_named(name)]
    parts = [part for part in ("weight", "bias") if _has(result, names, part)]
    text = (
        "The norm of the position table beside the norm of the tokens in the same block: mean over "
        "channels (line), one standard deviation to either side (band), least and greatest (thin)."
    )
    room = layer_room(_layers(result, names))
    columns, legend = _legend_size(names, len(parts))
    height = legend + PLOT_HEIGHT + 0.4 + room
    figure, floor = _figure(height, "Position norms beside token norms", text)
    boxes = _boxes(len(parts), floor + room, height=PLOT_HEIGHT + 0.4, gap=GAP)
    for part, box in zip(parts, boxes):
        axes = axes_at(figure, *box)
        sign = "γ" if part == "weight" else "β"
        lined(axes, "", sign)
        for name, colour in zip(names, PALETTE):
            rows = [row for row in result.rows_named(name) if getattr(row, part) is not None]
            if rows:
                _band(axes, rows, part, _layers(result, names), colour, label=name)
        reference(axes, 1 if part == "weight" else 0)
        _legend_above(axes, columns)
    return figure


def _cosines(result: LayerNormResult) -> Figure:
    several = [name for name in result.names if len(result.rows_named(name)) > 1]
    panels = [("γ of the layer before", several, _to_previous)]
    if _position_names(result):
        panels.append(("γ of norm1 in the same block", _position_names(result), _to_norm1))
    text = (
        "Cosine of a norm's γ with another: 1 where they point the same way, whatever their "
        "length. Two γ of positive entries have a high cosine without having anything in common."
    )
    room = layer_room(_layers(result, several))
    columns, legend = _legend_size(several, len(panels))
    height = ABOVE + legend + PLOT_HEIGHT + 0.4 + room
    figure, floor = _figure(height, "How alike the norms' weights are", text)
    boxes = _boxes(len(panels), floor + room, height=PLOT_HEIGHT + 0.4, gap=GAP)
    for (what, names, read), box in zip(panels, boxes):
        axes = axes_at(figure, *box)
        lined(axes, "", "cosine of γ")
        _cosine_lines(axes, result, names, read)
        pad = 4 + legend * 72
        axes.set_title(f"with the {what}", size=LABEL_SIZE, color=INK, loc="left", pad=pad)
        _legend_above(axes, columns)
    return figure


def _legend_size(names: Sequence[str], panels: int) -> tuple[int, float]:
    """How many names fit side by side above a panel, and the inches that all of them take."""
    width = next(iter(_boxes(panels, 0.0, gap=GAP)))[2]
    name = max(map(len, names)) * DIGIT * TICK_SIZE / 72 + LEGEND_HANDLE
    columns = min(max(int(width / name), 1), len(names))
    return columns, -(-len(names) // columns) * LEGEND_ROW


def _legend_above(axes: Axes, columns: int) -> None:
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, borderpad=0, borderaxespad=0.2,
        labelspacing=0.3, columnspacing=1.2, handlelength=1.6, fontsize=TICK_SIZE, frameon=False,
    )  # fmt: skip


def _to_previous(row: NormRow) -> float:
    return row.cosine_to_previous_layer


def _to_norm1(row: NormRow) -> float:
    return row.cosine_to_norm1


def _cosine_lines(
    axes: Axes,
    result: LayerNormResult,
    names: Sequence[str],
    read: Callable[[NormRow], float],
) -> None:
    layers = _layers(result, names)
    for k, name in enumerate(names):
        rows = result.rows_named(name)
        axes.plot(
            [layers.index(row.layer) for row in rows], [read(row) for row in rows],
            color=PALETTE[k % len(PALETTE)], linewidth=1.2,
            marker=MARKERS[k % len(MARKERS)], markersize=marker_size(len(rows)), label=name,
        )  # fmt: skip
    layer_axis(axes, layers)


def _channels(result: LayerNormResult) -> Figure:
    names = _block_names(result)
    tables = [result.weights(name) for name in names]
    text = (
        "γ of each norm, one row a layer, one column a channel. Colours end at the "
        f"{SATURATED[0]:g}th and {SATURATED[1]:g}th percentile of all values shown. Where channels "
        "are more than pixels, neighbours are averaged."
    )
    heights = [min(max(0.11 * len(table), 0.3), 2.2) for table in tables]
    total = sum(heights) + len(tables) * (ABOVE + 0.2) + 0.25
    figure, floor = _figure(total, "LayerNorm weights by channel", text)
    norm = _saturating(tables)
    top = floor + total
    for name, table, height in zip(names, tables, heights):
        top -= ABOVE + height
        axes = axes_at(figure, LEFT, top, PAGE_WIDTH - LEFT - 0.85, height)
        image = _gamma_image(axes, table, norm, [row.layer for row in result.rows_named(name)])
        axes.set_title(f"{name} · γ", size=LABEL_SIZE, color=INK, loc="left", pad=4)
        top -= 0.2
    axes.set_xlabel("channel", size=LABEL_SIZE, color=INK, labelpad=2)
    bar = min(total - ABOVE - 0.45, 2.2)
    colorbar(figure, image, (PAGE_WIDTH - 0.75, floor + total - ABOVE - bar, 0.11, bar), "γ")
    return figure


def _gamma_image(
    axes: Axes, table: Float[np.ndarray, "layers channels"], norm: Normalize, layers: Sequence[str]
) -> AxesImage:
    wide = table.shape[1] > DPI * (PAGE_WIDTH - LEFT - 0.85)
    image = axes.imshow(
        table, cmap=sequential(), norm=norm, aspect="auto",
        interpolation="auto" if wide else "nearest",
    )  # fmt: skip
    tidy(axes)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    what = "block" if are_blocks(layers) else "layer"
    axes.set_ylabel(what, size=LABEL_SIZE, color=INK, labelpad=2)
    return image


def _saturating(tables: Sequence[Float[np.ndarray, "_layers _channels"]]) -> Normalize:
    values = np.concatenate([table[np.isfinite(table)] for table in tables])
    norm = spread(np.percentile(values, SATURATED) if values.size else values)
    norm.clip = True
    return norm


def _decomposition(result: LayerNormResult) -> Figure:
    parts = result.decompositions
    notion = (
        "The position norm acts on the table itself."
        if all(part.notion == "joined" for part in parts)
        else "norm1 on the table alone is a proxy: the model applies it to content and position."
    )
    text = (
        f"The table that each layer's norm receives (ω), and what γ, β and the normalisation make "
        f"of it, alone and together. {notion} Distance: root mean square difference of the cosines "
        "from those of the whole LayerNorm. Source: LaPE, ICCV 2023, Table 8."
    )
    room = layer_room([part.layer for part in parts])
    row = ABOVE + PLOT_HEIGHT + room
    figure, floor = _figure(2 * row + LEGEND, "What norm, γ and β do to the position table", text)
    for k, (measure, label) in enumerate(DECOMPOSED):
        box = list(_boxes(2, floor + room + (k < 2) * row, gap=0.85))[k % 2]
        axes = axes_at(figure, *box)
        lined(axes, "", label)
        _variant_lines(axes, parts, measure)
    handles, labels = axes.get_legend_handles_labels()
    height = figure.get_size_inches()[1]
    figure.legend(
        handles, labels, loc="upper center", bbox_to_anchor=(0.5, 1 - (TITLE - 0.02) / height),
        ncols=len(labels), fontsize=TICK_SIZE, frameon=False, columnspacing=1.4, handlelength=1.8,
    )  # fmt: skip
    return figure


def _variant_lines(axes: Axes, parts: Sequence[Decomposition], measure: str) -> None:
    names = max(([v.name for v in part.variants] for part in parts), key=len)
    for k, name in enumerate(names):
        axes.plot(
            [_read(part, name, measure) for part in parts], color=PALETTE[k], linewidth=1.2,
            marker=MARKERS[k], markersize=marker_size(len(parts)), markerfacecolor="white",
            linestyle="solid" if "Norm" in name else (0, (4, 2)), label=name,
        )  # fmt: skip
    layer_axis(axes, [part.layer for part in parts])


def _read(part: Decomposition, name: str, measure: str) -> float:
    found = [getattr(variant, measure) for variant in part.variants if variant.name == name]
    return float(found[0]) if found else float("nan")


def _figure(height: float, headline: str, text: str) -> tuple[Figure, float]:
    """A figure with room for its title, and the inches that its caption takes below."""
    floor = caption_height(text, PAGE_WIDTH)
    figure = new_figure(PAGE_WIDTH, TITLE + height + floor)
    title(figure, headline)
    caption(figure, text)
    return figure, floor


def _boxes(
    count: int, bottom: float, *, height: float = PLOT_HEIGHT, gap: float = 0.2
) -> Iterator[tuple[float, float, float, float]]:
    """Boxes of equal width side by side, in inches."""
    width = (PAGE_WIDTH - LEFT - RIGHT - gap * (count - 1)) / count
    for k in range(count):
        yield LEFT + k * (width + gap), bottom, width, height


def _block_names(result: LayerNormResult) -> list[str]:
    """The norms that several layers have; all, where none does."""
    several = [name for name in result.names if len(result.rows_named(name)) > 1]
    return several or list(result.names)


def _position_names(result: LayerNormResult) -> list[str]:
    return [name for name in result.names if result.is_position_norm(name)]


def _has(result: LayerNormResult, names: Sequence[str], part: str) -> bool:
    return any(getattr(row, part) for name in names for row in result.rows_named(name))


def _layers(result: LayerNormResult, names: Sequence[str]) -> list[str]:
    """The layers that have one of these norms, each once, in the model's order."""
    return list(dict.fromkeys(row.layer for row in result.rows if row.name in names))


def _left_out(result: LayerNormResult, names: Sequence[str]) -> str:
    others = [row for row in result.rows if row.name not in names]
    if not others:
        return ""
    shown = ", ".join(
        f"{row.layer}.{row.name}".lstrip(".") + f" (mean γ {row.weight['mean']:.3g})"
        for row in others[:3]
    )
    return f" Not shown: {shown}{' and more' if len(others) > 3 else ''}."
