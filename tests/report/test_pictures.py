"""Figures on the page: small, the same every time, their words read out of the image."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from pe_inspect.figures._style import axes_at, caption, diverging, new_figure, title
from pe_inspect.report._pictures import picture


def mapped(side: int = 12, noise: float = 0.0) -> Figure:
    """A map on a colour scale, with a title and a caption."""
    figure = new_figure(4.0, 3.0)
    x = np.linspace(-1, 1, side)
    values = np.outer(x, x) + noise * np.random.default_rng(0).uniform(-1, 1, (side, side))
    axes_at(figure, 0.5, 0.7, 2.0, 2.0).imshow(values, cmap=diverging(), vmin=-1, vmax=1)
    title(figure, "What it shows")
    caption(figure, "headline. One scale, and a sentence that is long enough to be wrapped twice.")
    return figure


def charted() -> Figure:
    figure = new_figure(4.0, 3.0)
    axes_at(figure, 0.5, 0.7, 2.0, 2.0).plot([0, 1, 3])
    return figure


def image_of(made) -> Image.Image:
    return Image.open(BytesIO(made.data))


def test_the_title_and_the_caption_become_text_without_line_breaks():
    made = picture(mapped(), "map", alt="seen", omit="headline.")
    assert made.title == "What it shows"
    assert made.caption == "One scale, and a sentence that is long enough to be wrapped twice."
    assert (made.stem, made.alt, made.media_type) == ("map", "seen", "image/webp")


def test_a_figure_without_words_is_named_by_its_stem():
    made = picture(charted(), "norm_by_layer", alt="seen")
    assert (made.title, made.caption) == ("norm by layer", "")


def test_words_are_left_out_of_the_image_and_the_white_around_it_too():
    bare = mapped()
    for text in list(bare.texts):
        text.remove()
    assert picture(mapped(), "map", alt="").data == picture(bare, "map", alt="").data
    width, height = image_of(picture(mapped(), "map", alt="")).size
    assert width < 4.0 * 150 * 0.8
    assert height < 3.0 * 150 * 0.9


def test_the_figure_is_left_as_it_was():
    figure = mapped()
    picture(figure, "map", alt="")
    assert all(text.get_visible() for text in figure.texts)
    assert picture(figure, "map", alt="").data == picture(mapped(), "map", alt="").data


@pytest.mark.parametrize(("draw", "dpi"), [(mapped, 150), (charted, 120)])
def test_it_is_shown_at_its_printed_size(draw, dpi):
    made = picture(draw(), "map", alt="")
    pixels = image_of(made).size
    assert (made.width, made.height) == tuple(round(side * 96 / dpi) for side in pixels)


def test_colours_stay_within_a_level_on_average():
    made = image_of(picture(mapped(noise=0.1), "map", alt=""))
    assert len(made.getcolors(256)) <= 256
    plain = BytesIO()
    bare = mapped(noise=0.1)
    for text in list(bare.texts):
        text.remove()
    bare.savefig(plain, format="png")
    drawn = np.asarray(Image.open(plain).convert("RGB")).astype(int)
    shown = np.asarray(made.convert("RGB")).astype(int)
    rows, columns = np.nonzero((drawn != 255).any(axis=2))
    top, left = rows.min() - 6, columns.min() - 6
    drawn = drawn[top : top + shown.shape[0], left : left + shown.shape[1]]
    assert np.abs(shown - drawn).mean() < 0.7
    assert (shown[0, 0] == 255).all()


def test_an_image_of_noise_makes_do_with_the_fewest_colours():
    figure = new_figure(4.0, 4.0)
    noise = np.random.default_rng(0).uniform(-1, 1, (500, 500))
    axes_at(figure, 0.2, 0.2, 500 / 150, 500 / 150).imshow(noise, cmap=diverging())
    assert len(image_of(picture(figure, "noise", alt="")).getcolors()) <= 64


def test_an_empty_figure_is_an_image_too():
    assert image_of(picture(new_figure(1.0, 1.0), "nothing", alt="")).width > 0
