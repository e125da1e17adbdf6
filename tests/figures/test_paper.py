"""Figures for print: widths, letters, exact cells, fonts, and what a paper leaves out."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from pe_inspect.analysis.evolution import evolution
from pe_inspect.analysis.similarity import similarity
from pe_inspect.errors import UsageError
from pe_inspect.figures import drawn, figure
from pe_inspect.figures.layout.look import Look, look, looking, page_width
from pe_inspect.figures.saving import save

COLUMN = Look("paper", width=3.25)


@pytest.fixture(scope="module")
def result(vectors):
    return similarity(vectors(depth=2))


@pytest.fixture(scope="module")
def printed(result):
    return dict(drawn("similarity", result, COLUMN))


def saved(one, format):
    file = io.BytesIO()
    save(one, file, format=format, dpi=100)
    return file.getvalue()


def letters(one):
    return [text for text in one.findobj(Text) if text.get_visible() and text.get_text()]


def test_a_figure_is_as_wide_as_was_asked_for_and_its_letters_are_8_points(printed):
    for one in printed.values():
        assert one.get_figwidth() == pytest.approx(3.25)
        assert {text.get_fontsize() for text in letters(one)} == {8.0}


def test_title_and_caption_are_left_out_unless_they_are_asked_for(result, printed):
    def shown(one):
        return {text.get_gid() for text in one.texts if text.get_visible()} - {None}

    assert shown(printed["similarity"]) == set()
    whole = figure(result, style="paper", width=3.25, title=True, caption=True)
    assert shown(whole) == {"title", "caption"}
    assert shown(figure(result)) == {"title", "caption"}
    assert whole.get_figheight() > printed["similarity"].get_figheight()


def test_heat_maps_are_exact_cells(result, printed):
    axes = printed["similarity_query"].axes[0]
    (mesh,) = [each for each in axes.collections if str(each.get_gid()).startswith("cells")]
    (image,) = axes.images
    assert not image.get_visible()
    np.testing.assert_array_equal(mesh.get_array(), image.get_array())
    corners = np.asarray(mesh.get_coordinates())
    assert (corners[0, 0] == [-0.5, -0.5]).all()
    assert (corners[-1, -1] == np.array(image.get_array().shape)[::-1] - 0.5).all()
    bar = printed["similarity_query"].axes[1]
    assert bar.images[0].get_visible()  # a scale of colours stays one image


def test_a_map_of_too_many_cells_is_an_image_of_one_pixel_a_cell(table_of):
    values = np.random.default_rng(0).normal(size=(15 * 16, 4))
    one = figure(similarity(table_of(values, (15, 16))), style="paper")
    (image,) = one.axes[0].images
    assert image.get_visible()
    assert image.get_interpolation() == "none"


def test_fonts_are_embedded_as_truetype_and_svg_text_is_text(printed):
    content = saved(printed["similarity_query"], "pdf")
    assert b"/Type3" not in content
    assert b"/CIDFontType2" in content
    assert b"cosine similarity</text>" in saved(printed["similarity_query"], "svg")


def test_the_same_figure_gives_the_same_bytes(result):
    first, second = (saved(figure(result, style="paper"), "pdf") for _ in range(2))
    assert first == second


def test_a_screen_keeps_its_look(result):
    one = figure(result)
    assert one.axes[0].images[0].get_visible()
    assert not one.axes[0].collections
    assert look() == Look()
    assert page_width() == 7.0


def test_panels_that_find_no_room_side_by_side_stand_in_rows(vectors):
    run = evolution([vectors(depth=2, seed=k) for k in range(2)])
    wide, narrow = (
        dict(drawn("evolution", run, replace(COLUMN, width=width)))["evolution_structure"]
        for width in (6.75, 3.25)
    )
    columns = [{round(axes.get_position().x0, 2) for axes in one.axes} for one in (wide, narrow)]
    assert [len(each) for each in columns] == [3, 2]
    assert narrow.get_figheight() > wide.get_figheight()


def test_colours_are_those_that_were_named(result):
    one = figure(result, cmap="RdBu_r")
    assert one.axes[0].images[0].get_cmap().name == "RdBu_r"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"cmap": "RdBu_rr"}, r"no colour map 'RdBu_rr'\. Did you mean 'RdBu_r'"),
        ({"width": 0.5}, r"width 0\.5 in is not within 2 to 20 in"),
        ({"style": "web"}, "style 'web' is not one of screen, paper"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_is_refused_with_what_can(wrong, said):
    with pytest.raises(UsageError, match=said):
        Look(**wrong)


def test_a_look_ends_with_its_block():
    with looking(COLUMN):
        assert page_width() == 3.25
    assert page_width() == 7.0


def test_one_picture_is_drawn_on_axes_of_yours(result):
    mine = Figure()
    left, right = mine.subplots(1, 2)
    assert figure(result, ax=left, tiles=(3, 3), of_layer=True) is mine
    figure(result, ax=right, token=(1, 2))
    assert left.get_ylabel() == "patch row"
    tiles = result.fig7(tiles=(3, 3), of_layer=True)
    assert [text.get_text() for text in left.get_xticklabels()] == list(map(str, tiles.columns))
    np.testing.assert_allclose(right.images[0].get_array(), result.fig7().values[1, 2])


def test_a_question_without_a_single_map_says_who_has_one(vectors):
    run = evolution([vectors(depth=1, seed=k) for k in range(2)])
    with pytest.raises(UsageError, match=r"evolution has no single map .*similarity have"):
        figure(run, ax=Figure().subplots())


def test_the_title_of_svg_is_no_part_of_a_paper(printed):
    words = re.findall(rb"<text[^>]*>([^<]*)</text>", saved(printed["similarity"], "svg"))
    assert b"key patch" in words
    assert not any(b"layer by layer" in each for each in words)
