"""The figures of `interpolate`, by their artists."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from pe_inspect.analysis.interpolate import interpolate
from pe_inspect.figures.interpolate import draw
from pe_inspect.figures.layout.lines import layer_axis
from pe_inspect.figures.layout.maps import spread
from pe_inspect.figures.layout.style import axes_at, new_figure
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding
from pe_inspect.resampling.native import Origin


def vectors(grid_size=(3, 5), tables=1, seed=0):
    rng = np.random.default_rng(seed)
    rows = 1 + grid_size[0] * grid_size[1]
    layers = tuple(
        LayerPE(f"blocks.{i}", rng.standard_normal((rows, 6)), grid_size, 1) for i in range(tables)
    )
    return PositionEmbedding("learned_absolute", "vectors", "unshare", layers)


def bias(grid_size=(3, 5)):
    rows, columns = np.divmod(np.arange(15), 5)
    apart = np.hypot(rows[:, None] - rows, columns[:, None] - columns)
    values = np.stack([-apart, np.exp(-apart)])
    return PositionEmbedding(
        "relative_bias", "bias", "layer", (LayerPE("blocks.0", values, grid_size),)
    )


def maps(figure):
    """The axes that show a grid: the colour scales are one pixel wide."""
    return [axes for axes in figure.axes if axes.images and axes.images[0].get_array().shape[1] > 1]


def words(figure):
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    return " ".join([*(text.get_text() for text in figure.texts), *titles]).replace("\n", " ")


def test_before_and_after_are_drawn_on_one_scale():
    result = interpolate(vectors(), grid=(7, 4))
    before, after, likeness, likeness_after = maps(draw(result)["interpolate"])

    assert before.images[0].get_array().shape == (3, 5)
    assert after.images[0].get_array().shape == (7, 4)
    assert before.images[0].get_clim() == after.images[0].get_clim()
    assert likeness.images[0].get_clim() == likeness_after.images[0].get_clim() == (-1, 1)


def test_axes_count_patches_and_say_so():
    figure = draw(interpolate(vectors(), grid=(7, 4)))["interpolate"]
    before = maps(figure)[0]

    assert before.get_xlabel() == "patch column"
    assert before.get_ylabel() == "patch row"
    assert list(before.images[0].get_extent()) == [-0.5, 4.5, 2.5, -0.5]


def test_the_query_patch_is_outlined_before_and_after():
    figure = draw(interpolate(vectors(), grid=(6, 10)), token=(2, 1))["interpolate"]
    _, _, before, after = maps(figure)

    assert {patch.get_xy() for patch in before.patches} == {(0.5, 1.5)}
    assert {patch.get_xy() for patch in after.patches} == {(2.5, 4.5)}
    assert "to patch (2, 1)" in words(figure)


def test_the_title_names_the_rule_that_native_comes_down_to():
    drawn = draw(interpolate(vectors(), grid=(7, 4)))["interpolate"]
    plain = draw(interpolate(vectors(), grid=(7, 4), method="bicubic"))["interpolate"]
    library = draw(interpolate(vectors(), grid=(7, 4), method="jax"))["interpolate"]

    assert "3×5 → 7×4 patches by native (deit: bicubic)" in words(drawn)
    assert "3×5 → 7×4 patches by bicubic Above" in words(plain)
    assert "by jax (zoom)" in words(library)


def test_a_rule_that_is_its_own_library_is_named_once():
    result = interpolate(vectors(), grid=(7, 4))
    drawn = draw(replace(result, origin=Origin("bicubic", "so it was made")))["interpolate"]

    assert "patches by native (bicubic)" in words(drawn)


def test_a_bias_is_drawn_by_offset_and_on_a_scale_that_keeps_its_sign():
    figures = draw(interpolate(bias(), grid=(4, 7)))
    by_offset, _, before, after = maps(figures["interpolate"])
    low, high = before.images[0].get_clim()

    assert by_offset.images[0].get_array().shape == (5, 9)
    assert list(by_offset.images[0].get_extent()) == [-4.5, 4.5, 2.5, -2.5]
    assert by_offset.get_xlabel() == "offset column"
    assert low == -high < 0
    assert after.images[0].get_clim() == (low, high)


def test_the_round_trip_figure_separates_border_and_interior():
    result = interpolate(vectors(), grid=(4, 4))
    figure = draw(result)["interpolate_round_trip"]
    table = result.tables()[0]

    np.testing.assert_allclose(maps(figure)[0].images[0].get_array(), 100 * table.error_map)
    profile = next(axes for axes in figure.axes if axes.lines)
    np.testing.assert_allclose(profile.lines[0].get_ydata(), 100 * table.error_by_ring)
    assert f"ring, {100 * table.measures['error_border']:.1f} %" in words(figure)
    assert f"all others, {100 * table.measures['error_interior']:.1f} %" in words(figure)


def test_several_tables_are_followed_over_layers():
    figures = draw(interpolate(vectors(tables=4), grid=(2, 3)))
    ratio, error = figures["interpolate_tables"].axes

    assert len(ratio.lines[0].get_ydata()) == 4
    assert [line.get_label() for line in error.lines] == ["border", "interior"]
    assert ratio.get_xlabel() == "block"
    assert "One of 4 tables is shown" in words(figures["interpolate"])


def test_several_methods_are_put_side_by_side():
    result = interpolate(vectors(), grid=(2, 3), method="all")
    figure = draw(result)["interpolate_methods"]

    labels = [text.get_text().replace("\n", " ") for text in figure.axes[0].get_yticklabels()]
    assert [axes.get_xlabel() for axes in figure.axes] == [
        "norm ratio", "structure corr.", "round trip (%)", "off native (%)",
    ]  # fmt: skip
    assert len(labels) == len(set(result.rules.values()))
    assert labels[0].startswith("bicubic (native, deit, mae, ")
    norms = figure.axes[0].lines[0].get_xdata()
    assert norms[0] == pytest.approx(result.means("native")["norm_ratio"])


def test_labels_of_methods_stay_on_the_page():
    figure = draw(interpolate(vectors(), grid=(2, 3), method="all"))["interpolate_methods"]
    figure.canvas.draw()

    boxes = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert min(box.x0 for box in boxes) >= 0
    assert all(above.y0 >= below.y1 for above, below in pairwise(boxes))


def test_the_spectrum_has_the_source_the_chosen_method_and_the_others():
    result = interpolate(vectors((6, 8)), grid=(9, 12), method="bicubic,nearest,fourier")
    axes = draw(result)["interpolate_spectrum"].axes[0]
    before, after = result.tables()[0].spectra

    by_label = {line.get_label(): line.get_ydata() for line in axes.lines}
    np.testing.assert_allclose(by_label["source"], before[1:])
    np.testing.assert_allclose(by_label["bicubic"], after[1:])
    assert axes.get_yscale() == "log"
    assert len(axes.lines) == 5  # two others, and the mark of the highest frequency
    assert before.sum() == pytest.approx(np.mean(result.tables()[0].before ** 2) * 6, rel=0.4)


def test_a_table_that_does_not_vary_has_no_spectrum():
    pe = PositionEmbedding("x", "vectors", "input", (LayerPE("input", np.ones((15, 4)), (3, 5)),))

    axes = draw(interpolate(pe, grid=(6, 7)))["interpolate_spectrum"].axes[0]

    assert axes.texts[0].get_text() == "nothing varies over positions"


def test_angles_are_drawn_as_likeness_and_as_turns():
    speeds = np.array([1.0, 0.1])
    y, x = np.indices((4, 6)).reshape(2, 24, 1)
    table = LayerPE("blocks.0", np.concatenate([y * speeds, x * speeds], axis=1)[None], (4, 6))
    pe = PositionEmbedding("rotary", "phases", "layer", (table,))

    result = interpolate(pe, grid=(8, 6), method="all")
    figures = draw(result)

    assert list(figures) == ["interpolate", "interpolate_frequencies", "interpolate_methods"]
    rows, columns = figures["interpolate_frequencies"].axes
    by_label = {line.get_label(): line.get_ydata() for line in rows.lines}
    np.testing.assert_allclose(by_label["source"], 4 * speeds / (2 * np.pi), rtol=1e-5)
    native = by_label["native (rule unknown, rope-vit's is shown, extrapolate)"]
    np.testing.assert_allclose(native, 8 * speeds / (2 * np.pi), rtol=1e-5)
    assert len(columns.lines) == len(rows.lines)
    assert [axes.get_xlabel() for axes in figures["interpolate_methods"].axes] == [
        "structure corr.", "neighbour cosine", "off native (%)",
    ]  # fmt: skip


def test_relative_vectors_are_drawn_by_offset():
    layers = tuple(
        LayerPE("blocks.0", np.random.default_rng(0).standard_normal((2 * n - 1, 6)), (4, 6),
                part=part)
        for part, n in (("y", 4), ("x", 6))
    )  # fmt: skip
    figures = draw(interpolate(PositionEmbedding("x", "relative", "layer", layers), grid=(7, 9)))

    assert [axes.images[0].get_array().shape for axes in figures["interpolate"].axes[:2]] == [
        (7, 1), (13, 1),
    ]  # fmt: skip
    profile = next(axes for axes in figures["interpolate_round_trip"].axes if axes.lines)
    assert len(profile.lines[0].get_ydata()) == 4


def test_figures_of_all_tables_are_headed_by_the_grid_and_not_by_the_first_table():
    layers = tuple(
        LayerPE("blocks.0", np.random.default_rng(0).standard_normal((2 * n - 1, 6)), (4, 6),
                part=part)
        for part, n in (("y", 4), ("x", 6))
    )  # fmt: skip
    pe = PositionEmbedding("x", "relative", "layer", layers)
    figures = draw(interpolate(pe, grid=(7, 9), method="bicubic,nearest"))

    assert "every table · 4×6 → 7×9 patches by bicubic" in words(figures["interpolate_tables"])
    assert "methods side by side · 4×6 → 7×9 patches" in words(figures["interpolate_methods"])


def test_the_border_of_vectors_in_a_row_is_its_two_ends():
    result = interpolate(vectors((1, 7), tables=2), grid=(1, 4), method="bicubic,nearest")
    figures = draw(result)
    error = figures["interpolate_tables"].axes[1]

    for name in ("interpolate_tables", "interpolate_round_trip", "interpolate_methods"):
        assert "the two ends" in words(figures[name])
    assert all(np.isfinite(line.get_ydata()).all() for line in error.lines)


@pytest.mark.parametrize("ask", [{"grid": (3, 5)}, {"grid": (9, 15), "method": "nearest-exact"}])
def test_a_round_trip_that_loses_nothing_is_not_drawn(ask):
    assert "interpolate_round_trip" not in draw(interpolate(vectors(), **ask))


def test_tables_that_lose_nothing_say_so():
    said = "a round trip loses nothing"
    for grid, is_said in (((6, 10), True), ((7, 4), False)):
        result = interpolate(vectors(tables=3), grid=grid, method="nearest")
        error = draw(result)["interpolate_tables"].axes[1]
        assert [text.get_text() for text in error.texts] == ([said] if is_said else [])


def test_frequencies_of_a_bias_are_counted_over_its_table():
    by_patch = draw(interpolate(vectors(), grid=(6, 7)))["interpolate_spectrum"]
    by_offset = draw(interpolate(bias(), grid=(6, 7)))["interpolate_spectrum"]

    assert by_patch.axes[0].get_xlabel() == "cycles per image"
    assert by_offset.axes[0].get_xlabel() == "cycles per table of offsets"
    assert "cycles per image" not in words(by_offset)


def test_curves_of_angles_are_told_apart_below_their_legend():
    speeds = np.array([1.0, 0.1])
    y, x = np.indices((4, 6)).reshape(2, 24, 1)
    table = LayerPE("blocks.0", np.concatenate([y * speeds, x * speeds], axis=1)[None], (4, 6))
    pe = PositionEmbedding("rotary", "phases", "layer", (table,))
    figure = draw(interpolate(pe, grid=(8, 6), method="all"))["interpolate_frequencies"]
    figure.canvas.draw()
    curves = [line for line in figure.axes[0].lines if len(line.get_ydata()) == len(speeds)][:-1]
    looks = {(line.get_color(), str(line._unscaled_dash_pattern)) for line in curves}
    legend = figure.subfigs[0].legends[0].get_window_extent()

    assert len(looks) == len(curves) > 6  # more than the palette has colours
    assert legend.y0 >= max(axes.get_window_extent().y1 for axes in figure.axes)
    assert legend.x1 <= figure.bbox.x1
    assert legend.y1 <= min(text.get_window_extent().y0 for text in figure.texts[:1])
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()


def test_one_table_and_one_method_have_three_figures():
    assert list(draw(interpolate(vectors(), grid=(2, 3)))) == [
        "interpolate", "interpolate_spectrum", "interpolate_round_trip",
    ]  # fmt: skip


@pytest.mark.parametrize("grid_size", [(1, 7), (6, 1), (1, 1)])
def test_drawing_thin_grids_does_not_raise(grid_size):
    result = interpolate(vectors(grid_size, tables=2), grid=(1, 3), method="bicubic,timm")

    for figure in draw(result).values():
        figure.savefig(io.BytesIO(), format="png", dpi=30)


def test_missing_values_are_hatched_and_explained():
    pe = vectors()
    values = pe.tables[0].values.copy()
    values[1] = np.nan
    pe = PositionEmbedding("x", "vectors", "input", (LayerPE("input", values, (3, 5), 1),))

    before = maps(draw(interpolate(pe, grid=(6, 10)))["interpolate"])[0]

    assert before.patch.get_hatch()
    assert before.get_legend().get_texts()[0].get_text()


def test_rounding_is_not_stretched_into_structure():
    flat = spread(np.array([[2, 2 + 1e-7]]))

    assert (flat.vmin, flat.vmax) == pytest.approx((1.9, 2.1), rel=1e-6)
    assert (spread(np.zeros((2, 2))).vmin, spread(np.zeros((2, 2))).vmax) == (0, 1)
    assert (spread(np.full((2, 2), np.nan)).vmin, spread(np.full((2, 2), np.nan)).vmax) == (0, 1)


@pytest.mark.parametrize("count", [1, 12, 200])
def test_layer_labels_never_touch(count):
    figure = new_figure(3, 2)
    axes = axes_at(figure, 0.5, 0.5, 1.5, 1)
    layer_axis(axes, [f"blocks.{i}" for i in range(count)])
    figure.canvas.draw()

    boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert boxes
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
