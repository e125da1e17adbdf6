"""Figures of `structure` and `filters`: labels, limits and counts of their artists."""

from __future__ import annotations

import numpy as np
import pytest

from pe_inspect.analysis.filters import PatchKernel, filters
from pe_inspect.analysis.structure import structure
from pe_inspect.figures import drawings
from pe_inspect.figures.structure.profiles import scale_of

GRID = (3, 5)


def rand(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def words_of(figure):
    return " ".join(text.get_text() for text in figure.texts)


@pytest.fixture(scope="module")
def of_vectors(vectors):
    result = structure(vectors(join="lape", grid=GRID, depth=3))
    return result, drawings["structure"](result)


def test_vectors_have_profiles_indices_table_and_colours(of_vectors):
    _, figures = of_vectors
    assert list(figures) == ["structure", "structure_indices", "structure_table", "structure_pca"]


def test_profiles_are_named_with_their_words_on_the_scale_of_cosines(of_vectors):
    result, figures = of_vectors
    axes, *_ = figures["structure"].axes
    names = [text.get_text() for text in axes.texts]
    assert names == [f"{row.name}: {row.word.word}" for row in result.all_rows]
    assert axes.images[0].get_clim() == (-1, 1)
    assert axes.get_xlabel() == "offset in columns"


def test_every_panel_of_indices_has_a_unit_and_a_line_a_layer(of_vectors):
    result, figures = of_vectors
    panels = figures["structure_indices"].axes
    assert [axes.get_title(loc="left") for axes in panels][:3] == [
        "affinity and nearness", "what the offset explains", "half-radius",
    ]  # fmt: skip
    assert all(axes.get_ylabel() for axes in panels)
    line = panels[1].lines[0]
    assert line.get_ydata() == pytest.approx(
        [row["translation_share"] for row in result.rows()[1:]]
    )
    mirrors = [text.get_text() for text in panels[4].get_legend().get_texts()]
    assert mirrors == ["mirror x", "transpose"]  # a symmetric affinity has one mirror image


def test_the_table_s_maps_have_scales_with_units(of_vectors):
    _, figures = of_vectors
    labels = {axes.get_ylabel() for axes in figures["structure_table"].axes}
    assert {"coordinate, of the table's norm", "Euclidean norm", "share of energy"} <= labels


def test_colours_are_one_image_with_a_name_a_row(of_vectors):
    result, figures = of_vectors
    (axes,) = figures["structure_pca"].axes
    assert axes.images[0].get_array().shape[-1] == 3
    assert len(axes.texts) == len(result.all_rows)


def test_what_the_form_decides_has_no_panel_and_heads_have_figures(per_layer):
    places = np.stack(np.indices(GRID), axis=-1).reshape(-1, 2)
    angles = np.einsum("hax,nx->hna", rand(2, 4, 2), places)
    result = structure(per_layer("phases", [angles, 2 * angles], GRID))
    figures = drawings["structure"](result)

    assert list(figures) == [
        "structure", "structure_indices", "structure_heads", "structure_distance",
        "structure_rotary",
    ]  # fmt: skip
    titles = [axes.get_title(loc="left") for axes in figures["structure_indices"].axes]
    assert "what the offset explains" not in titles
    scatter, *_ = figures["structure_rotary"].axes
    assert len(scatter.collections) == 2  # a layer each
    assert "turns over columns" in scatter.get_xlabel()


def test_a_constant_table_is_drawn(table_of):
    figures = drawings["structure"](structure(table_of(np.ones((15, 4)), GRID)))
    assert list(figures) == ["structure", "structure_indices"]


def test_the_scale_of_a_bias_is_centred_at_zero_unless_all_lie_far_to_one_side():
    assert scale_of([np.array([[-1.0, 3.0]])], None) == (0.0, 3.0)
    assert scale_of([np.array([[7.0, 9.0]])], None) == (8.0, 1.0)
    assert scale_of([np.array([[0.1]])], 1.0) == (0.0, 1.0)


def test_filters_are_tiles_and_a_spectrum(table_of):
    result = filters(PatchKernel("k", rand(20, 3, 4, 3)), table_of(rand(15, 20), GRID))
    figures = drawings["filters"](result)
    (tiles,) = figures["filters"].axes
    rows, columns, colours = tiles.images[0].get_array().shape
    assert (rows, columns, colours) == (3 * 4 + 2, 7 * 3 + 6, 3)  # 19 tiles, seven a row
    assert "Number 1 to 19" in words_of(figures["filters"]).replace("\n", " ")
    _, inside = figures["filters_spectrum"].axes
    assert [line.get_label() for line in inside.lines] == ["random directions", "position table"]


@pytest.mark.parametrize("shape", [(20, 1, 4, 3), (20, 6, 4, 3), (20, 3, 2, 4, 3)])
def test_filters_of_any_image_have_tiles(shape):
    figures = drawings["filters"](filters(PatchKernel("k", rand(*shape))))
    assert figures["filters"].axes[0].images[0].get_array().shape[-1] == 3


def test_equal_filters_have_no_figure():
    assert drawings["filters"](filters(PatchKernel("k", np.ones((8, 3, 2, 2), np.float32)))) == {}
