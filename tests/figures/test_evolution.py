"""Figures of a run, by their artists: curves, rows of layers, columns of epochs, one scale."""

from __future__ import annotations

import numpy as np
import pytest
from closeness import assert_close

from pe_inspect.analysis.evolution import evolution
from pe_inspect.analysis.similarity import similarity
from pe_inspect.figures import drawings
from pe_inspect.figures.layout.rows import evenly
from pe_inspect.figures.thumbnail import draw_thumbnail


@pytest.fixture(scope="module")
def result(vectors):
    return evolution([vectors(depth=6, seed=k) for k in range(11)], epochs=range(0, 110, 10))


@pytest.fixture(scope="module")
def figures(result):
    return drawings["evolution"](result)


def caption(figure):
    (text,) = [text.get_text() for text in figure.texts if text.get_gid() == "caption"]
    return " ".join(text.split())


def test_the_curves_are_the_results_numbers_over_epochs(figures, result):
    first, second, third = figures["evolution"].axes
    drawn = {line.get_label(): line for line in (*first.lines, *second.lines)}
    for label, name in (
        ("share an edge", "neighbours"),
        ("far", "far"),
        ("maps", "structure_to_last"),
        ("stored values", "cosine_to_last"),
    ):
        np.testing.assert_array_equal(drawn[label].get_xdata(), result.epochs)
        np.testing.assert_array_equal(drawn[label].get_ydata(), result.curve(name))
    np.testing.assert_array_equal(third.lines[0].get_ydata(), result.curve("norm"))
    assert [axes.get_xlabel() for axes in (first, second, third)] == ["epoch"] * 3
    assert third.get_ylabel() == "mean row norm"
    assert third.get_ylim()[0] == 0
    styles = {drawn["share an edge"].get_linestyle(), drawn["far"].get_linestyle()}
    assert len(styles) == 2  # told apart without their colours


def test_a_row_is_a_layer_and_a_column_an_epoch_thinned_evenly_and_said_so(figures):
    figure = figures["evolution_maps"]
    axes = figure.axes[0]
    names = [text.get_text() for text in axes.texts]
    assert names == [str(10 * k) for k in evenly(11, 8)] * 4
    assert names[0] == "0"
    assert names[7] == "100"
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert [row.removeprefix("blocks.") for row in rows] == ["0", "2", "3", "5"]
    assert "Thinned: 8 of 11 snapshots, evenly spaced." in caption(figure)
    assert "Thinned: 4 of 6 layers, evenly spaced." in caption(figure)
    assert "One scale, −1 to 1." in caption(figure)
    assert axes.images[0].get_clim() == (-1, 1)


def test_the_maps_are_those_of_the_query_patch(figures, result):
    image = np.asarray(figures["evolution_maps"].axes[0].images[0].get_array())
    (_, stack) = next(result.query_maps())
    assert_close(image[:3, :5], np.clip(stack[0], -1, 1))


def test_two_snapshots_of_one_layer_are_enough(vectors):
    run = evolution([vectors(depth=1, seed=k, grid=(1, 5)) for k in (0, 1)])
    figures = drawings["evolution"](run)
    assert set(figures) == {"evolution", "evolution_maps", "evolution_structure"}
    assert "Thinned" not in caption(figures["evolution_maps"])


@pytest.mark.parametrize("grid", [(3, 5), (1, 7), (1, 1), (20, 9)])
def test_a_thumbnail_keeps_the_grids_proportions(vectors, grid):
    result = similarity(vectors(grid=grid))
    figure = draw_thumbnail(result)
    (axes,) = figure.axes
    assert max(figure.get_size_inches()) == pytest.approx(1)
    assert axes.images[0].get_clim() == (-1, 1)
    rows, columns = min(grid[0], 5), min(grid[1], 5)
    height, width = np.asarray(axes.images[0].get_array()).shape
    gap = max(max(grid) // 8, 1)
    assert (height, width) == (rows * (grid[0] + gap) - gap, columns * (grid[1] + gap) - gap)


def test_every_index_of_structure_is_a_panel_with_a_line_a_layer(figures, result):
    *panels, last = figures["evolution_structure"].axes
    labels = [axes.get_ylabel() for axes in panels]
    assert labels[:2] == ["SSDC, L1", "half-radius (patches)"]
    assert [line.get_label() for line in panels[0].lines] == list(result.layer_names)
    np.testing.assert_array_equal(
        [line.get_ydata() for line in panels[1].lines], result.by_layer("half_radius").T
    )
    np.testing.assert_array_equal(last.lines[0].get_ydata(), result.curve("hierarchy"))


def test_a_single_patch_has_no_structure_to_draw(vectors):
    run = evolution([vectors(depth=1, seed=k, grid=(1, 1)) for k in (0, 1)])
    assert set(drawings["evolution"](run)) == {"evolution", "evolution_maps"}


def test_what_a_kind_does_not_have_is_no_panel(per_layer):
    draw = np.random.default_rng(0)
    run = [per_layer("bias", [draw.normal(size=(2, 12, 12))] * 2, (3, 4)) for _ in range(2)]
    figure = drawings["evolution"](evolution(run))["evolution_structure"]
    labels = [axes.get_ylabel() for axes in figure.axes if axes.axison]
    assert "effective rank" not in labels
    assert "translation share" in labels
