"""Heads in numbers: distance and entropy by depth, the information budget, parts of the logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from pe_inspect.figures.layout.lines import (
    from_zero,
    in_rows,
    key,
    layer_axis,
    lined,
    panel_figure,
)
from pe_inspect.figures.layout.style import (
    INK,
    LABEL_SIZE,
    MUTED,
    PALETTE,
    TICK_SIZE,
    color_scale,
    diverging,
    tidy,
)

if TYPE_CHECKING:
    from pe_inspect.analysis.attention import AttentionResult, HeadNumbers
    from pe_inspect.traces import AttentionSums

__all__ = ["budget", "depth", "logits"]

HEIGHT: Final = 2.5  # inches of the panels by depth
ROW: Final = 1.35  # inches of a row of bars
MOST_BARS: Final = 96  # in a row
NEITHER: Final = "other heads"
WORDS: Final = {"offset": "offset heads", "half-plane": "half-plane heads", "": NEITHER}
COLOURS: Final = {"offset": PALETTE[1], "half-plane": PALETTE[5], "": "#8b8e96"}
PARTS: Final = (
    ("position_nats", "position: the mean map over images", PALETTE[0]),
    ("content_nats", "content: what one image adds", PALETTE[4]),
    ("spread_nats", "spread: what is left", "#dcdde1"),
)
MANY: Final = 24  # blocks


def depth(
    result: AttentionResult,
    blocks: Sequence[AttentionSums],
    head: int | None,
    *,
    renormalised: bool,
) -> Figure:
    """Draw distance and entropy, a dot a head; ViT's Figure 7, right."""
    name = "distance_renormalised" if renormalised else "distance_raw"
    how = "among patches (renormalised)" if renormalised else "as it is: prefix tokens count 0"
    text = (
        f"Mean over patches and {result.trace.images.count} images; a dot a head, the line is the "
        f"mean of a block. Distance: Euclidean, between the middles of patches, {how}; dashed: "
        "equal attention to all patches. Entropy: of a patch's attention over all keys, prefix "
        "tokens included; dashed: ln of the number of patches. On prefix tokens: what they take "
        "of a patch's attention."
    )
    words = result.heading("how far and how widely heads attend, by depth")
    figure, inside = panel_figure(words, text, HEIGHT)
    far, wide, sinks = in_rows(inside, 3)
    heads = _heads(result, blocks, head)
    lined(far, "block", "attention distance (patches)")
    lined(wide, "block", "entropy (nats)")
    lined(sinks, "block", "on prefix tokens (share)")
    _dots(far, blocks, heads, name)
    _dots(wide, blocks, heads, "entropy_all_keys")
    _dots(sinks, blocks, heads, "prefix_share")
    _by_block(far, [block.distance_uniform for block in blocks])
    _by_block(wide, [block.log_keys for block in blocks])
    _untrained(far, result, blocks, name)
    _untrained(wide, result, blocks, "entropy_all_keys")
    _untrained(sinks, result, blocks, "prefix_share")
    for axes, uniform in ((far, [b.distance_uniform for b in blocks]),
                          (wide, [b.log_keys for b in blocks]), (sinks, [])):  # fmt: skip
        shown = [line.get_ydata() for line in axes.get_lines()]
        from_zero(axes, *(np.asarray(values, float) for values in shown), np.asarray(uniform))
    key(inside, far)
    return figure


def budget(result: AttentionResult, blocks: Sequence[AttentionSums], head: int | None) -> Figure:
    """Draw position, content and spread of every head as one bar of ln N."""
    heads = _heads(result, blocks, head)
    rows = [heads[k : k + MOST_BARS] for k in range(0, len(heads), MOST_BARS)]
    count = result.trace.images.count
    text = (
        "ln N, the most that attention among N patches can say, has three parts: position, ln N − "
        "the entropy of the mean map over images; content, the entropy of the mean map − the mean "
        f"entropy of the maps; spread, that mean. Over {count} images: content is at most ln "
        f"{count} = {np.log(count):.2f} nats, so that few images flatter position. One bar a "
        "head, by block."
    )
    words = result.heading("what position says, and what the image adds")
    figure, inside = panel_figure(words, text, ROW * len(rows) + 0.7)
    panels = inside.subplots(len(rows), 1, squeeze=False)[:, 0]
    for axes, some in zip(panels, rows):
        lined(axes, "", "nats")
        _bars(axes, some)
    panels[-1].set_xlabel("block", size=LABEL_SIZE, color=INK, labelpad=2)
    key(inside, panels[0])
    return figure


def logits(result: AttentionResult, blocks: Sequence[AttentionSums], head: int | None) -> Figure:
    """Draw the nine parts of every block's logits: query parts times key parts."""
    held = [block for block in blocks if block.logits is not None]
    shares = np.array([_share(block, head) for block in held])  # (blocks, 3, 3)
    names = held[0].logits.parts if held[0].logits else ()
    labels = [f"{query} × {of_key}" for query in names for of_key in names]
    text = (
        "With the norm's σ frozen, a logit is the sum of nine products of a part of the query "
        "and a part of the key. Share: Σ term · logit / Σ logit², over patch pairs, centred over "
        f"keys, pooled over {result.trace.images.count} images"
        + (" and heads" if head is None else "")
        + "; shares of a block sum to 1 (with a bias, less by its share), and may be negative. "
        "In later blocks position is the mean over images of a place's tokens."
    )
    words = result.heading("parts of the logits, query × key")
    figure, inside = panel_figure(words, text, 2.4)
    axes = inside.subplots()
    limit = float(np.nanmax(np.abs(shares)))
    image = axes.imshow(
        shares.reshape(len(held), -1).T, cmap=diverging(), norm=Normalize(-limit, limit),
        aspect="auto", interpolation="nearest",
    )  # fmt: skip
    layer_axis(axes, [block.layer for block in held])
    axes.set_yticks(range(len(labels)), labels)
    tidy(axes)
    if len(held) <= MANY:
        _write_values(axes, shares.reshape(len(held), -1).T, limit)
    color_scale(inside, image, [axes], "share of the logits")
    return figure


def _share(block: AttentionSums, head: int | None) -> np.ndarray:
    if block.logits is None:
        raise ValueError(f"the logits of {block.layer} were not taken apart")
    terms, square = block.logits.terms, block.logits.square
    if head is not None and head < len(square):
        return np.asarray(terms[head] / square[head])
    return np.asarray(terms.sum(axis=0) / square.sum())


def _write_values(axes: Axes, values: np.ndarray, limit: float) -> None:
    """Write every share in percent on its cell, in ink, or white where it is dark."""
    for (row, column), value in np.ndenumerate(values):
        shade = INK if value > -0.3 * limit else "white"
        axes.text(column, row, f"{100 * value:z.0f}".replace("-", "−"), size=TICK_SIZE - 1,
                  color=shade, ha="center", va="center")  # fmt: skip


def _heads(
    result: AttentionResult, blocks: Sequence[AttentionSums], head: int | None
) -> list[HeadNumbers]:
    layers = {block.layer for block in blocks}
    return [each for each in result.heads
            if each.layer in layers and head in (None, each.head)]  # fmt: skip


def _dots(
    axes: Axes, blocks: Sequence[AttentionSums], heads: Sequence[HeadNumbers], name: str
) -> None:
    """Draw a dot a head in the colour of its kind, and a line through the means of blocks."""
    places = {block.layer: k for k, block in enumerate(blocks)}
    for word, label in WORDS.items():
        own = [each for each in heads if each.word == word]
        axes.plot([places[each.layer] for each in own], [getattr(each, name) for each in own],
                  "o", markersize=3.4, color=COLOURS[word], label=label, alpha=0.9, zorder=3,
                  markeredgewidth=0)  # fmt: skip
    means = [np.mean([getattr(each, name) for each in heads if each.layer == block.layer] or
                     [np.nan]) for block in blocks]  # fmt: skip
    axes.plot(range(len(blocks)), means, color=INK, linewidth=1.0, zorder=2, label="mean")
    layer_axis(axes, [block.layer for block in blocks])


def _untrained(
    axes: Axes, result: AttentionResult, blocks: Sequence[AttentionSums], name: str
) -> None:
    """Draw the means of a model of the same shape with fresh weights, where one was run."""
    fresh = result.trace.untrained
    if fresh is None:
        return
    held = {block.layer: float(np.mean(getattr(block, name))) for block in fresh.attention}
    axes.plot([held.get(block.layer, np.nan) for block in blocks], color=PALETTE[3],
              linewidth=1.0, linestyle=(0, (4, 2)), zorder=2, label="untrained, mean")  # fmt: skip


def _by_block(axes: Axes, values: Sequence[float]) -> None:
    axes.plot(range(len(values)), values, color=MUTED, linewidth=0.8, linestyle=(0, (4, 2)),
              zorder=1)  # fmt: skip


def _bars(axes: Axes, heads: Sequence[HeadNumbers]) -> None:
    """Draw the bars of some heads, those of a block side by side."""
    layers = list(dict.fromkeys(each.layer for each in heads))
    places = np.array([k + layers.index(each.layer) for k, each in enumerate(heads)], float)
    base = np.zeros(len(heads))
    for name, label, colour in PARTS:
        values = np.array([getattr(each, name) for each in heads])
        axes.bar(places, values, 0.84, bottom=base, color=colour, label=label, linewidth=0)
        base = base + values
    of_layer = np.array([layers.index(each.layer) for each in heads])
    middles = [float(places[of_layer == k].mean()) for k in range(len(layers))]
    axes.set_xticks(middles, [name.removeprefix("blocks.") for name in layers])
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False, axis="x")
    axes.set_xlim(-0.8, places[-1] + 0.8)
