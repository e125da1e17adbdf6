from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from closeness import ROUNDING
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb

from pe_inspect.analysis.similarity import similarity
from pe_inspect.errors import UsageError
from pe_inspect.figures import drawings, drawings_each, figure
from pe_inspect.figures.layout.style import diverging
from pe_inspect.figures.similarity import draw, draw_each
from pe_inspect.kinds.position_embedding import LayerPE

STEMS = ["similarity", "similarity_query", "similarity_fig7"]


def main_axes(fig):
    return fig.axes[0]


def image_of(fig):
    (image,) = main_axes(fig).images
    return image


def words_of(fig):
    return " ".join(" ".join(text.get_text() for text in texts_of(fig)).split())


def texts_of(fig):
    found = [text for text in fig.texts if text.get_text()]
    for axes in fig.axes:
        labels = [axes.xaxis.label, axes.yaxis.label, axes.title]
        ticks = [*axes.get_xticklabels(), *axes.get_yticklabels()]
        found += [t for t in (*axes.texts, *labels, *ticks) if t.get_text() and t.get_visible()]
    return found


def broken(pe, row):
    values = pe.tables[0].values.copy()
    values[row] = 0
    return replace(pe, tables=(replace(pe.tables[0], values=values),))


@pytest.fixture(scope="module")
def result(vectors):
    return similarity(vectors(grid=(3, 5), depth=7))


@pytest.fixture(scope="module")
def figures(result):
    return draw(result)


def test_a_result_has_three_figures_of_one_image_each(figures):
    assert list(figures) == STEMS
    assert [len(main_axes(fig).images) for fig in figures.values()] == [1, 1, 1]


def test_the_figures_are_found_by_the_questions_name(result, figures):
    assert drawings["similarity"] is draw
    assert drawings_each["similarity"] is draw_each
    main = figure(result)
    np.testing.assert_array_equal(
        image_of(main).get_array(), image_of(figures["similarity"]).get_array()
    )
    assert main._repr_png_().startswith(b"\x89PNG")


def test_all_figures_share_one_scale_that_shows_negatives_and_is_printed(figures):
    for fig in figures.values():
        assert image_of(fig).get_clim() == (-1, 1)
        scale = fig.axes[1]
        assert [t.get_text() for t in scale.get_yticklabels()] == [
            "−1.0",
            "−0.5",
            "0.0",
            "0.5",
            "1.0",
        ]
        assert scale.get_ylabel() == "cosine similarity"
        assert scale.images[0].get_clim() == (-1, 1)
        assert "One scale, −1 to 1." in words_of(fig)


def test_the_scale_of_a_bias_covers_its_greatest_value(per_layer):
    bias = np.zeros((2, 6, 6))
    bias[:, 1, 4] = -2.5
    figs = draw(similarity(per_layer("bias", [bias], (2, 3))))

    for fig in figs.values():
        assert image_of(fig).get_clim() == (-2.5, 2.5)
        assert fig.axes[1].get_ylabel() == "attention bias"


def test_every_layer_has_its_map_and_its_name(result, figures):
    image = np.asarray(image_of(figures["similarity"]).get_array())
    names = [text.get_text() for text in main_axes(figures["similarity"]).texts]

    assert names == list(result.layer_names)
    corners = [text.get_position() for text in main_axes(figures["similarity"]).texts]
    scale = 3 / 28  # names stand a little above the upper left corner of their map
    for (left, top), maps in zip(corners, result.matrix):
        row, column = round(top + 0.5 + scale), round(left + 0.5)
        np.testing.assert_array_equal(image[row : row + 15, column : column + 15], maps[0])


def test_gaps_lie_above_the_scale_and_are_white(figures):
    image = image_of(figures["similarity"])

    assert np.asarray(image.get_array()).max() > 1
    assert to_rgb(image.get_cmap().get_over()) == (1, 1, 1)


def test_the_query_patch_is_outlined_in_every_layer(result):
    fig = draw(result, token=(2, 4))["similarity_query"]
    halo, ink = (c for c in main_axes(fig).collections if isinstance(c, LineCollection))
    image = np.asarray(image_of(fig).get_array())

    assert len(ink.get_segments()) == len(halo.get_segments()) == 7
    for square in ink.get_segments():
        column, row = square.mean(axis=0, where=[[True, True]] * 4 + [[False, False]])
        assert image[round(row), round(column)] == pytest.approx(1, abs=ROUNDING)
    assert "Cosine similarity of patch (2, 4) with every patch, layer by layer" in words_of(fig)
    assert main_axes(fig).get_xlabel() == "patch column"
    assert main_axes(fig).get_ylabel() == "patch row"


def test_figure_7_puts_the_map_of_each_patch_at_its_place(result, figures):
    fig = figures["similarity_fig7"]
    image = np.asarray(image_of(fig).get_array())
    axes = main_axes(fig)
    tiles = result.fig7()

    for row in range(3):
        for column in range(5):
            part = image[row * 4 :, column * 6 :][:3, :5]
            np.testing.assert_array_equal(part, tiles.values[row, column])
    assert image.shape == (3 * 4 - 1, 5 * 6 - 1)
    assert [t.get_text() for t in axes.get_xticklabels()] == ["0", "1", "2", "3", "4"]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["0", "1", "2"]
    assert list(axes.get_xticks()) == [2, 8, 14, 20, 26]
    assert list(axes.get_yticks()) == [1, 5, 9]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("patch column", "patch row")
    assert "stored table" in words_of(fig)


@pytest.mark.parametrize(
    ("join", "said"), [("lape", "Joined:"), ("input", "Proxy: LN1"), ("share", "Proxy: LN1")]
)
def test_the_notion_is_named_in_every_figure_of_layers(vectors, join, said):
    figs = draw(similarity(vectors(join)))

    assert said in words_of(figs["similarity"])
    assert said in words_of(figs["similarity_query"])
    assert said not in words_of(figs["similarity_fig7"])


def test_where_notions_differ_each_layer_says_which_it_shows(vectors):
    pe = vectors("pvg")
    pe = replace(pe, norms=tuple(n for n in pe.norms if n.path != "blocks.0.pe_norm"))
    fig = draw(similarity(pe))["similarity"]

    names = [text.get_text() for text in main_axes(fig).texts]
    assert names == ["blocks.0 (proxy)", "blocks.1 (joined)", "blocks.2 (joined)"]


def test_missing_values_are_hatched_and_have_a_key(vectors):
    for fig in draw(similarity(broken(vectors("none"), 3))).values():
        assert main_axes(fig).patch.get_hatch()
        assert "undefined" in words_of(fig)
        assert np.isnan(np.asarray(image_of(fig).get_array(), float)).any()


def test_without_missing_values_there_is_no_key(figures):
    for fig in figures.values():
        assert not main_axes(fig).patch.get_hatch()
        assert "undefined" not in words_of(fig)


def test_thinning_is_said_aloud(table_of):
    values = np.random.default_rng(0).normal(size=(18 * 20, 4))
    figs = draw(similarity(table_of(values, (18, 20))))

    assert "is a square of 2×2 patches" in words_of(figs["similarity"])
    assert "256 evenly spaced patches of 360 have a tile" in words_of(figs["similarity_fig7"])
    assert "Thinned" not in words_of(figs["similarity_query"])


def test_every_map_can_have_a_file_of_its_own(result):
    seen = {}
    for stem, fig in draw_each(result):
        seen[stem] = (fig, np.array(image_of(fig).get_array()), words_of(fig))

    layers = [f"blocks.{k}" for k in range(7)]
    assert list(seen) == [
        "similarity_raw_query",
        *(f"similarity_{layer}" for layer in layers),
        *(f"similarity_query_{layer}" for layer in layers),
    ]
    queries = result.query_maps()
    for k, layer in enumerate(layers):
        np.testing.assert_array_equal(seen[f"similarity_{layer}"][1], result.matrix[k, 0])
        np.testing.assert_array_equal(seen[f"similarity_query_{layer}"][1], queries[k, 0])
        assert f"{layer}: cosine similarity of all pairs" in seen[f"similarity_{layer}"][2]
        assert f"{layer}: cosine similarity with" in seen[f"similarity_query_{layer}"][2]
    assert "stored table: cosine similarity with" in seen["similarity_raw_query"][2]
    assert len({id(fig) for fig, _, _ in seen.values()}) == 3


def test_a_key_appears_on_the_maps_that_miss_something_and_only_there(vectors):
    pe = vectors("none", depth=0)
    hurt = broken(pe, 3).tables[0]
    tables = tuple(
        replace(table, layer=f"blocks.{k}") for k, table in enumerate((hurt, pe.tables[0], hurt))
    )
    result = similarity(replace(pe, tables=tables), layer=None)

    keys = [
        "undefined" in words_of(fig)
        for stem, fig in draw_each(result)
        if stem.startswith("similarity_blocks")
    ]

    assert keys == [True, False, True]


def test_file_names_sort_as_layers_do(vectors):
    stems = [stem for stem, _ in draw_each(similarity(vectors(depth=12, grid=(1, 2))))]

    assert stems[1:13] == sorted(stems[1:13])
    assert stems[1] == "similarity_blocks.00"


def test_a_relative_scheme_has_maps_but_no_stored_table(per_layer):
    parts = ["query.y", "query.x"]
    tables = [np.random.default_rng(0).normal(size=(4, 3)) for _ in parts]
    names = ["encoder.0", "encoder.0"]
    pe = per_layer("relative", tables, (2, 3), prefix=1, names=names, parts=parts)

    figs = draw(similarity(pe))

    assert figs["similarity"].axes[1].get_ylabel() == "relation cosine"
    assert "encoder.0" in words_of(figs["similarity_fig7"])
    stems = [stem for stem, _ in draw_each(similarity(pe))]
    assert stems == ["similarity_encoder.0", "similarity_query_encoder.0"]


def test_heads_are_averaged_or_chosen_and_the_caption_says_which(per_layer):
    pe = per_layer("bias", [np.random.default_rng(0).normal(size=(100, 6, 6))], (2, 3))

    assert "Mean over heads." in words_of(draw(similarity(pe))["similarity"])
    assert "Head 42." in words_of(draw(similarity(pe, head=42))["similarity"])


def test_layers_of_different_grids_lie_in_the_corners_of_their_cells(per_layer):
    tables = (
        LayerPE("layers.0", np.full((2, 6, 6), 0.5, np.float32), (2, 3)),
        LayerPE("layers.1", np.ones((2, 2, 2), np.float32), (1, 2)),
    )
    pe = replace(per_layer("bias", [np.zeros((2, 6, 6))], (2, 3)), tables=tables)
    figs = draw(similarity(pe))

    assert "the middle patch" in words_of(figs["similarity_query"])
    image = np.asarray(image_of(figs["similarity_query"]).get_array())
    assert (image == 1).sum() == 2
    assert (image == 0.5).sum() == 6


@pytest.mark.parametrize(
    ("grid", "depth"), [((14, 14), 12), ((1, 40), 3), ((40, 1), 3), ((1, 1), 2), ((3, 4), 200)]
)
def test_nothing_is_cut_off_and_names_do_not_overlap(vectors, grid, depth):
    result = similarity(vectors(grid=grid, depth=depth, width=4))
    singles = (fig for _, fig in draw_each(similarity(vectors(grid=grid, depth=1, width=4))))
    for fig in (*draw(result).values(), *singles):
        renderer = fig.canvas.get_renderer()
        fig.draw(renderer)
        boxes = [text.get_window_extent(renderer) for text in texts_of(fig)]
        assert min(box.x0 for box in boxes) >= 0
        assert min(box.y0 for box in boxes) >= 0
        assert max(box.x1 for box in boxes) <= fig.bbox.width
        assert max(box.y1 for box in boxes) <= fig.bbox.height
        names = [text.get_window_extent(renderer) for text in main_axes(fig).texts]
        assert not any(a.overlaps(b) for a, b in pairwise(names))


def test_long_layer_names_are_shortened_to_what_tells_them_apart(per_layer):
    names = [f"a_very_long_prefix.of_some.model.layers.{k}" for k in range(24)]
    pe = per_layer("bias", [np.eye(6)[None]] * 24, (2, 3), names=names)
    fig = draw(similarity(pe))["similarity_query"]

    assert [text.get_text() for text in main_axes(fig).texts] == [str(k) for k in range(24)]


@pytest.mark.parametrize("format", ["png", "svg", "pdf"])
def test_figures_are_written_in_every_format(figures, format):
    for fig in figures.values():
        file = io.BytesIO()
        fig.savefig(file, format=format)
        assert file.getbuffer().nbytes < 300_000


def test_the_colours_get_lighter_all_the_way_and_are_grey_at_zero():
    colours = diverging()(np.linspace(0, 1, 512))[:, :3]
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    lightness = 116 * np.cbrt(luminance) - 16

    steps = np.diff(lightness)
    assert (steps > 0).all()
    assert steps.max() < 2 * steps.mean()
    assert np.ptp(colours[255]) < 0.02


@pytest.mark.subprocess
def test_drawing_loads_neither_pyplot_nor_seaborn_nor_pandas():
    program = (
        "import sys, pe_inspect.figures.similarity; "
        "slow = ('matplotlib.pyplot', 'seaborn', 'pandas', 'torch'); "
        "print([m for m in slow if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert done.stdout.strip() == "[]"


def test_several_patches_are_rows_of_maps(vectors):
    result = similarity(vectors(depth=2), token=(0, 1))
    figure = draw(result, tokens=[(0, 1), (2, 4)])["similarity_query"]
    axes = main_axes(figure)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["(0, 1)", "(2, 4)"]
    assert "A row is a patch (row, column)." in words_of(figure)
    height, width = result.grid_size
    first = np.asarray(image_of(figure).get_array())[:height, :width]
    np.testing.assert_array_equal(first, result.query_maps((0, 1))[0, 0])
    with pytest.raises(UsageError, match=r"--token 3,0 is outside the 3×5 grid"):
        draw(result, tokens=[(0, 0), (3, 0)])


def test_heads_are_rows_of_maps(per_layer):
    draws = np.random.default_rng(0)
    result = similarity(per_layer("bias", [draws.normal(size=(3, 12, 12))] * 2, (3, 4)))
    figure = draw(result, heads=True)["similarity_query"]
    labels = [label.get_text() for label in main_axes(figure).get_yticklabels()]
    assert labels == ["head 0", "head 1", "head 2"]
    assert "Mean over heads" not in words_of(figure)


def test_figure_7_is_of_the_chosen_layer_after_its_norm_with_the_chosen_tiles(vectors):
    result = similarity(vectors(depth=3, grid=(6, 8)), layer=1)
    figure = draw(result, tiles=(3, 4), of_layer=True)["similarity_fig7"]
    assert "blocks.1, after blocks.1.pe_norm" in words_of(figure)
    axes = main_axes(figure)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0", "2", "4"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "2", "4", "6"]
    tiles = result.fig7(tiles=(3, 4), of_layer=True)
    expected = result.matrix[0, 0].reshape(6, 8, 6, 8)[::2, ::2]
    np.testing.assert_allclose(tiles.values, expected, atol=1e-6)
