"""Figures of a model's norms: γ and β by layer and channel, and what they do to the table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

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
    in_rows,
    key,
    key_height,
    layer_axis,
    layer_room,
    lined,
    marker_size,
    panel_figure,
    panel_title,
    reference,
)
from pe_inspect.figures.layout.look import page_width
from pe_inspect.figures.layout.maps import spread
from pe_inspect.figures.layout.style import (
    DPI,
    INK,
    LABEL_SIZE,
    PALETTE,
    color_scale,
    sequential,
    tidy,
)

if TYPE_CHECKING:
    import pandas as pd

    from pe_inspect.analysis.layernorm import LayerNormResult, NormRow
    from pe_inspect.analysis.layernorm.decomposition import Decomposition, NormVariant

__all__ = ["draw"]

COLUMNS: Final = 4
PANEL: Final = 1.55  # inches with its title, without the axis of layers
TALL: Final = 1.7  # the same of a panel with several lines
MAP: Final = 0.24  # inches of a map's title
WIDEST: Final = 0.78  # of the page's width: a map
SATURATED: Final = (0.5, 99.5)  # percentiles: one outlying channel would flatten all others
DECOMPOSED: Final = (
    ("scale", "std over channels"),
    ("mean_cosine", "mean cosine"),
    ("neighbour_cosine", "cosine of neighbours"),
    ("distance_to_full", "distance to the whole"),
)
MARKERS: Final = ("o", "s", "^", "D", "v", "P")
_BANDS: Final = (
    "Over the channels of each norm: mean (line), the middle 50 % and the middle 90 % (bands), "
    "least and greatest (thin lines)."
)
_SEVERAL: Final[dict[str, Any]] = {
    "err_style": "band", "err_kws": {"alpha": 0.2, "linewidth": 0},
}  # fmt: skip
_LONE: Final[dict[str, Any]] = {"err_style": "bars", "err_kws": {"elinewidth": 5}, "alpha": 0.3}


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
    figures = {"layernorm": _statistics(result), "layernorm_channels": _channel_maps(result)}
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
    text = f"{_BANDS}{_left_out(result, names)}"
    height = sum(PANEL + layer_room(_layers_with(result, shown)) for _, shown in lines)
    figure, inside = panel_figure("LayerNorm weights by layer", text, height)
    panels = inside.subplots(len(lines), len(groups[0]), sharey="row", squeeze=False)
    for (part, shown), row in zip(lines, panels):
        _statistics_line(result, part, shown, list(row))
        for axes in row[len(shown) :]:
            axes.remove()
    return figure


def _statistics_line(
    result: LayerNormResult, part: str, names: Sequence[str], panels: Sequence[Axes]
) -> None:
    sign = "γ" if part == "weight" else "β"
    for k, (name, axes) in enumerate(zip(names, panels)):
        layers = [row.layer for row in result.rows_named(name) if getattr(row, part)]
        if not layers:  # an RMS norm beside LayerNorms has no β
            axes.remove()
            continue
        _bands(axes, result, name, part, layers, PALETTE[0] if part == "weight" else PALETTE[1])
        lined(axes, axes.get_xlabel(), sign if k == 0 else "")
        reference(axes, 1 if part == "weight" else 0)
        panel_title(axes, f"{name} · {sign}")


def _bands(
    axes: Axes,
    result: LayerNormResult,
    name: str,
    part: str,
    layers: Sequence[str],
    colour: str,
    *,
    label: str | None = None,
) -> None:
    """Draw how the channels are spread, layer by layer; a lone layer has bars instead of bands."""
    import seaborn as sns

    channels = _channel_frame(result, name, part, layers)
    rows = [row for row in result.rows_named(name) if getattr(row, part)]
    size = marker_size(len(rows))
    drawn = {"data": channels, "x": "layer", "y": part, "color": colour, "ax": axes}
    style = _LONE if len(rows) == 1 else _SEVERAL
    sns.lineplot(
        **drawn,
        **style,
        errorbar=("pi", 50),
        label=label,
        linewidth=1.4,
        marker="o",
        markersize=size,
        markeredgecolor=colour,
        legend=False,
    )
    sns.lineplot(**drawn, **style, errorbar=("pi", 90), linewidth=0, legend=False)
    places = [layers.index(row.layer) for row in rows]
    for bound in ("min", "max"):
        values = [getattr(row, part)[bound] for row in rows]
        axes.plot(places, values, color=colour, linewidth=0.6, marker="_" if len(rows) == 1 else "")
    layer_axis(axes, layers)


def _channel_frame(
    result: LayerNormResult, name: str, part: str, layers: Sequence[str]
) -> pd.DataFrame:
    """Every finite channel of one norm, and the place of its layer."""
    import pandas as pd

    norms = [norm for norm in result.norms_named(name) if getattr(norm, part) is not None]
    values = [getattr(norm, part) for norm in norms]
    places = np.repeat([layers.index(norm.layer) for norm in norms], [v.size for v in values])
    frame = pd.DataFrame({"layer": places, part: np.concatenate(values)})
    return frame[np.isfinite(frame[part])]


def _position(result: LayerNormResult) -> Figure:
    names = [*_position_names(result), "norm1"]
    names = [name for name in names if result.rows_named(name)]
    parts = [part for part in ("weight", "bias") if _has(result, names, part)]
    layers = _layers_with(result, names)
    text = (
        f"The norm of the position table beside the norm of the tokens in the same block. {_BANDS}"
    )
    height = key_height(names) + TALL + layer_room(layers)
    figure, inside = panel_figure("Position norms beside token norms", text, height)
    for part, axes in zip(parts, in_rows(inside, len(parts))):
        for name, colour in zip(names, PALETTE):
            if _has(result, [name], part):
                _bands(axes, result, name, part, layers, colour, label=name)
        lined(axes, axes.get_xlabel(), "γ" if part == "weight" else "β")
        reference(axes, 1 if part == "weight" else 0)
    key(inside, *inside.axes)
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
    height = key_height(several) + TALL + layer_room(_layers_with(result, several))
    figure, inside = panel_figure("How alike the norms' weights are", text, height)
    drawn = in_rows(inside, len(panels))
    for (what, names, read), axes in zip(panels, drawn):
        lined(axes, "", "cosine of γ")
        _cosine_lines(axes, result, names, read)
        panel_title(axes, f"with the {what}")
    key(inside, *drawn)
    return figure


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
    layers = _layers_with(result, names)
    for name in names:
        rows, k = result.rows_named(name), result.names.index(name)
        axes.plot(
            [layers.index(row.layer) for row in rows], [read(row) for row in rows],
            color=PALETTE[k % len(PALETTE)], linewidth=1.2,
            marker=MARKERS[k % len(MARKERS)], markersize=marker_size(len(rows)), label=name,
        )  # fmt: skip
    layer_axis(axes, layers)


def _narrower(tables: Sequence[np.ndarray]) -> str:
    """Say what is white where layers are of several widths."""
    differ = any(np.isnan(table[:, -1]).any() for table in tables)
    return " White: channels that narrower layers do not have." if differ else ""


def _channel_maps(result: LayerNormResult) -> Figure:
    names = _block_names(result)
    tables = [result.weights(name) for name in names]
    text = (
        "γ of each norm, one row a layer, one column a channel. Colours end at the "
        f"{SATURATED[0]:g}th and {SATURATED[1]:g}th percentile of all values shown. Where channels "
        f"are more than pixels, neighbours are averaged.{_narrower(tables)}"
    )
    heights = [min(max(0.11 * len(table), 0.3), 2.2) for table in tables]
    height = sum(heights) + len(tables) * (MAP + 0.2) + 0.25
    figure, inside = panel_figure("LayerNorm weights by channel", text, height)
    panels = inside.subplots(len(names), 1, squeeze=False, height_ratios=heights)[:, 0]
    norm = _saturating(tables)
    for name, table, axes in zip(names, tables, panels):
        image = _gamma_image(axes, table, norm, [row.layer for row in result.rows_named(name)])
        panel_title(axes, f"{name} · γ")
    panels[-1].set_xlabel("channel", size=LABEL_SIZE, color=INK, labelpad=2)
    color_scale(inside, image, list(panels), "γ")
    return figure


def _gamma_image(
    axes: Axes, table: Float[np.ndarray, "layers channels"], norm: Normalize, layers: Sequence[str]
) -> AxesImage:
    image = axes.imshow(
        table, cmap=sequential(), norm=norm, aspect="auto",
        interpolation="auto" if table.shape[1] > WIDEST * page_width() * DPI else "nearest",
    )  # fmt: skip
    tidy(axes)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    what = "block" if are_blocks(layers) else "layer"
    axes.set_ylabel(what, size=LABEL_SIZE, color=INK, labelpad=2)
    return image


def _saturating(tables: Sequence[Float[np.ndarray, "_layers_with _channel_maps"]]) -> Normalize:
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
    names = [variant.name for variant in _fullest(parts)]
    height = 2 * (PANEL + layer_room([part.layer for part in parts])) + key_height(names)
    figure, inside = panel_figure("What norm, γ and β do to the position table", text, height)
    panels = inside.subplots(2, 2)
    for axes, (measure, label) in zip(panels.flat, DECOMPOSED):
        lined(axes, "", label)
        _variant_lines(axes, parts, measure)
    key(inside, *panels.flat)
    return figure


def _fullest(parts: Sequence[Decomposition]) -> Sequence[NormVariant]:
    """The variants of the layer that has most."""
    return max((part.variants for part in parts), key=len)


def _variant_lines(axes: Axes, parts: Sequence[Decomposition], measure: str) -> None:
    for k, name in enumerate(variant.name for variant in _fullest(parts)):
        axes.plot(
            [_read(part, name, measure) for part in parts], color=PALETTE[k], linewidth=1.2,
            marker=MARKERS[k], markersize=marker_size(len(parts)), markerfacecolor="white",
            linestyle="solid" if "Norm" in name else (0, (4, 2)), label=name,
        )  # fmt: skip
    layer_axis(axes, [part.layer for part in parts])


def _read(part: Decomposition, name: str, measure: str) -> float:
    found = [getattr(variant, measure) for variant in part.variants if variant.name == name]
    return float(found[0]) if found else float("nan")


def _block_names(result: LayerNormResult) -> list[str]:
    """The norms that several layers have; all, where none does."""
    several = [name for name in result.names if len(result.rows_named(name)) > 1]
    return several or list(result.names)


def _position_names(result: LayerNormResult) -> list[str]:
    return [name for name in result.names if result.is_position_norm(name)]


def _has(result: LayerNormResult, names: Sequence[str], part: str) -> bool:
    return any(getattr(row, part) for name in names for row in result.rows_named(name))


def _layers_with(result: LayerNormResult, names: Sequence[str]) -> list[str]:
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
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    return f" Not shown: {shown}{more}."
