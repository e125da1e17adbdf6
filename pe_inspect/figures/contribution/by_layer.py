"""Numbers of position by layer, as lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pe_inspect.figures.layout.lines import (
    from_zero,
    in_rows,
    key,
    key_height,
    layer_axis,
    lined,
    marker_size,
    panel_figure,
    panel_title,
    reference,
)
from pe_inspect.figures.layout.places import place_band, place_line, places_axis
from pe_inspect.figures.layout.style import INK, MUTED, PALETTE

if TYPE_CHECKING:
    from pe_inspect.analysis.contribution import ContributionResult

__all__ = ["edits", "mixing", "norms", "shares"]

HEIGHT: Final = 2.5  # inches
DASHED: Final = (0, (4, 2))
EDITS: Final[Mapping[str, tuple[str, str, Any, str]]] = {
    "zero": ("no positions", PALETTE[0], "-", "o"),
    "mean_row": ("mean position everywhere", PALETTE[5], "-", "s"),
    "shuffled": ("shuffled", PALETTE[1], "-", "^"),
    "roll_1": ("rolled by one column", PALETTE[2], "-", "D"),
    "transposed": ("transposed", PALETTE[3], "-", "v"),
    "flipped": ("left and right exchanged", PALETTE[4], "-", "<"),
    "half": ("half", MUTED, DASHED, ">"),
    "double": ("double", INK, DASHED, "P"),
}


def shares(result: ContributionResult) -> Figure:
    """Draw ω² by place, beside the run without positions, and after each block's norm."""
    count = result.trace.images.count
    text = (
        "ω²: the share of the variance of patch tokens, over images and positions and all "
        f"channels, that position explains, corrected for chance ({count} images). Null: the same "
        "images through the same model where every patch has the mean of all positions: what the "
        "images themselves have by place. After the norm: what each block's attention receives. "
        "Band: 95 % interval over images."
    )
    if result.trace.mean_colour:
        text += (
            " Right: linear CKA of each position map with the tokens of one image of the mean "
            "colour, which needs no images; and with those of patches whose projection is 0, which "
            "no image gives."
        )
    figure, inside = panel_figure(result.heading("how much of each layer is position"), text,
                                  HEIGHT)  # fmt: skip
    axes, *beside = in_rows(inside, 2 if result.trace.mean_colour else 1)
    places_axis(axes, result.trace.places, "ω² of position (share)")
    place_line(axes, result.omega2, "ω²", INK)
    place_band(axes, result.omega2_interval, INK)
    place_line(axes, result.omega2_after_norm, "ω² after the block's norm", PALETTE[0], "-", "s")
    place_line(axes, result.omega2_null, "null: without positions", MUTED, DASHED, "")
    if result.trace.untrained is not None:
        place_line(axes, result.omega2_untrained, "untrained model", PALETTE[3], DASHED, "v")
    _from_zero_or_below(axes, result.omega2, result.omega2_null, result.omega2_after_norm)
    for other in beside:
        places_axis(other, result.trace.places, "CKA with the position map")
        place_line(other, result.mean_colour_cka, "mean colour", PALETTE[2])
        if result.trace.zero_patch:
            place_line(other, result.zero_patch_cka, "zero patches", PALETTE[4], DASHED, "s")
        other.set_ylim(0, 1.05)
    key(inside, axes, *beside)
    return figure


def _from_zero_or_below(axes: Axes, *series: np.ndarray) -> None:
    """Let the y axis begin at 0, or below where an estimate is: ω² has no bias, and can be."""
    from_zero(axes, *series)
    finite = np.concatenate([values[np.isfinite(values)] for values in series])
    if finite.size and finite.min() < 0:
        axes.set_ylim(bottom=float(finite.min()) - 0.05 * float(np.ptp(finite)))
        reference(axes, 0)


def mixing(result: ContributionResult) -> Figure:
    """Draw LaPE's λ by block, and the correlation of what they weigh."""
    names = [share.layer for share in result.trace.shares]
    lambdas = np.array([(share.content, share.position) for share in result.trace.shares])
    alike = np.array([share.correlation for share in result.trace.shares])
    text = (
        "x = x̃ + ω, the token without and the position vector: LN(x) = λ₁ LN(x̃) + λ₂ LN(ω) "
        "without affine, λ₁ = σ(x̃)/σ(x) and λ₂ = σ(ω)/σ(x): coefficients, not shares; their sum "
        "is at least 1. Means over patches and images. Behind the first block of a model that adds "
        "ω once this assumes that ω survives unchanged. Right: Pearson's correlation of LN(x̃) "
        "with LN(ω) over channels."
    )
    figure, inside = panel_figure(result.heading("what the norms mix: λ by block"), text, HEIGHT)
    left, right = in_rows(inside, 2)
    size = marker_size(len(names))
    lined(left, "", "λ")
    left.plot(lambdas[:, 0], color=INK, marker="o", markersize=size, label="λ₁ of content")
    left.plot(lambdas[:, 1], color=PALETTE[0], marker="s", markersize=size,
              label="λ₂ of position")  # fmt: skip
    from_zero(left, lambdas)
    lined(right, "", "correlation")
    right.plot(alike, color=PALETTE[2], marker="o", markersize=size)
    reference(right, 0)
    limit = max(1.2 * float(np.nanmax(np.abs(alike))), 0.1)
    right.set_ylim(-limit, limit)
    for axes in (left, right):
        layer_axis(axes, names)
    key(inside, left)
    return figure


def edits(result: ContributionResult) -> Figure:
    """Draw how alike tokens stay when positions are changed, CLS and patches by layer."""
    found = result.trace.edits
    has_cls = all(edit.cls_cosine is not None for edit in found)
    labels = [EDITS[edit.name][0] for edit in found]
    text = (
        "Cosine of a token with itself in the model as it is, where what the model receives of its "
        f"positions was changed; means over {result.trace.images.count} images, and over patches. "
        "Prefix tokens keep theirs. Shuffled: patches trade places, the same for all images; "
        "rolled: the last column goes first."
    )
    words = result.heading("what follows from changed positions")
    figure, inside = panel_figure(words, text, HEIGHT + key_height(labels))
    panels = in_rows(inside, 2 if has_cls else 1, sharey=True)
    for axes, what in zip(panels, ("CLS token", "patches") if has_cls else ("patches",)):
        places_axis(axes, result.trace.places, "cosine to the unedited run")
        panel_title(axes, what)
        for edit in found:
            label, colour, line, marker = EDITS[edit.name]
            values = edit.cls_cosine if what == "CLS token" else edit.patch_cosine
            place_line(axes, np.asarray(values), label, colour, line, marker)
    key(inside, panels[0])
    return figure


def norms(result: ContributionResult) -> Figure:
    """Draw the mean length of tokens by place: patches, with their range, and prefix tokens."""
    trace = result.trace
    text = (
        f"Mean 2-norm of tokens over {trace.images.count} images. Line: mean over patches; band: "
        "from the least to the greatest mean of a patch's place. Logarithmic."
    )
    figure, inside = panel_figure(result.heading("how long tokens are"), text, HEIGHT)
    axes = inside.subplots()
    places_axis(axes, trace.places, "mean 2-norm")
    base = trace.states["base"]
    patches = [sums.norm[len(sums.norm) - sums.num_patches :] for sums in base]
    place_line(axes, np.array([each.mean() for each in patches]), "patches", INK)
    axes.fill_between(range(len(base)), [each.min() for each in patches],
                      [each.max() for each in patches], color=INK, alpha=0.14, lw=0)  # fmt: skip
    if trace.has_cls:
        cls = np.array([float(sums.norm[0]) for sums in base])
        place_line(axes, cls, "CLS token", PALETTE[1], "-", "s")
    others = trace.num_prefix_tokens - trace.has_cls
    if others > 0:
        mean = np.array([float(sums.norm[trace.has_cls : trace.num_prefix_tokens].mean())
                         for sums in base])  # fmt: skip
        place_line(axes, mean, f"{others} other prefix tokens, mean", PALETTE[2], "-", "^")
    axes.set_yscale("log")
    key(inside, axes)
    return figure
