"""R² of position by layer, with its controls, and the channels that are ramps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from pe_inspect.analysis.common.places import Chosen, chosen_states
from pe_inspect.figures import drawings, drawings_each
from pe_inspect.figures.layout.lines import in_rows, key, panel_figure, panel_title, reference
from pe_inspect.figures.layout.places import place_band, place_line, places_axis
from pe_inspect.figures.layout.rows import evenly
from pe_inspect.figures.layout.sheets import Scale, Sheet, draw_sheet
from pe_inspect.figures.layout.style import INK, MUTED, PALETTE, diverging

if TYPE_CHECKING:
    from pe_inspect.analysis.probe import ProbeResult

__all__ = ["draw", "draw_each"]

HEIGHT: Final = 2.6  # inches
LOWEST: Final = -0.6  # R² may be −12: what is less is drawn at the edge, and kept in the data
RAMPS: Final = 5  # channels of a place
MOST_ROWS: Final = 7
DASHED: Final = (0, (4, 2))
LINES: Final = (
    ("r2", "held-out images and places", INK, "-", "o"),
    ("r2_images", "held-out images alone", PALETTE[5], "-", "s"),
    ("r2_permuted", "control: targets trade places", PALETTE[1], DASHED, "^"),
    ("r2_null", "control: model without positions", MUTED, DASHED, "v"),
)


@drawings.register("probe")
def draw(result: ProbeResult, layer: Chosen = None, token: object = None) -> dict[str, Figure]:  # noqa: ARG001
    """Draw R² by place with its controls, and the channels that are most a ramp.

    Args:
        result: what `probe` answered with.
        layer: the places whose channels are shown: `h3`, or `blocks.3` for what enters it; some
            of all, evenly spaced, unless given.
        token: no patch is asked about.

    Returns:
        `"probe"` and `"probe_ramps"`.
    """
    return {"probe": curves(result), "probe_ramps": ramps(result, _shown(result, layer))}


@drawings_each.register("probe")
def draw_each(
    result: ProbeResult, layer: Chosen = None, token: object = None  # noqa: ARG001
) -> Iterator[tuple[str, Figure]]:  # fmt: skip
    """Yield the ramps of every place."""
    for place in chosen_states(result.trace.layer_names, layer):
        yield f"probe_ramps_{result.trace.places[place]}", ramps(result, [place])


def curves(result: ProbeResult) -> Figure:
    """Draw R² of row and column by place."""
    text = (
        "R² of ridge regressions from a patch's token to its row and column, on images and places "
        "that the fit has not seen, mean over 4 folds; features standardised, penalty 10⁻³ · n "
        f"({result.trace.images.count} images). Held-out images alone flatters: an untrained "
        f"model can learn places by heart. What is below {_minus(LOWEST)} is drawn at the edge as "
        "▾, and kept in the data. Band: 95 % interval over the images that are tested on."
    )
    figure, inside = panel_figure(result.heading("how well position can be read out"), text, HEIGHT)
    panels = in_rows(inside, 2, sharey=True)
    for k, (axes, what) in enumerate(zip(panels, ("row", "column"))):
        places_axis(axes, result.trace.places, "R²" if k == 0 else "")
        panel_title(axes, what)
        for name, label, colour, line, marker in LINES:
            values = getattr(result, name)[:, k]
            place_line(axes, np.maximum(values, LOWEST), label, colour, line, marker)
            _mark_clipped(axes, values, colour)
        place_band(axes, np.maximum(result.r2_interval[:, k], LOWEST), INK)
        if result.trace.untrained is not None:
            values = result.r2_untrained[:, k]
            place_line(axes, np.maximum(values, LOWEST), "untrained model", PALETTE[3], DASHED, "P")
        reference(axes, 0)
        axes.set_ylim(LOWEST - 0.05, 1.05)
    key(inside, panels[0])
    return figure


def ramps(result: ProbeResult, places: Sequence[int]) -> Figure:
    """Draw the mean maps of the channels that a plane over the grid explains best."""
    maps, names = [], []
    for place in places:
        sums = result.trace.states["base"][place]
        for channel, share in result.ramp_channels(place, RAMPS):
            own = sums.patches[:, channel].astype(np.float64)
            own = own - own.mean()
            limit = np.abs(own).max()
            maps.append((own / limit if limit > 0 else own).reshape(sums.grid_size))
            names.append(f"channel {channel}: {share:.2f}")
    text = (
        "The mean over images of the channels of which a plane a + b · row + c · column explains "
        f"most (the number: its share of the channel's variance over {result.trace.images.count} "
        "images and all patches), less its mean over patches, each in units of its largest "
        "absolute value."
    )
    sheet = Sheet(
        result.heading("channels that are ramps"), text, maps, RAMPS, names,
        [result.trace.places[place] for place in places],
    )  # fmt: skip
    return draw_sheet(sheet, Scale(diverging(), Normalize(-1, 1), "of the largest"))


def _shown(result: ProbeResult, layer: Chosen) -> list[int]:
    places = chosen_states(result.trace.layer_names, layer)
    return [places[k] for k in evenly(len(places), MOST_ROWS)] if layer is None else places


def _mark_clipped(axes: Axes, values: np.ndarray, colour: str) -> None:
    below = np.flatnonzero(values < LOWEST)
    axes.plot(below, np.full(len(below), LOWEST), "v", color=colour, markersize=4.5,
              linestyle="")  # fmt: skip


def _minus(value: float) -> str:
    return f"{value:g}".replace("-", "−")
