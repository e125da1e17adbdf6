"""Figures on the page: small, the same every time, their words read out of the image."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.figure import Figure
from PIL import Image

from pe_inspect.figures.layout.style import axes_at, caption, diverging, new_figure, title
from pe_inspect.page.pictures import picture

PACKED = np.array([1 << 16, 1 << 8, 1])


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


@pytest.mark.parametrize(("draw", "dpi"), [(mapped, 150), (charted, 110)])
def test_it_is_shown_at_its_printed_size(draw, dpi):
    made = picture(draw(), "map", alt="")
    pixels = image_of(made).size
    assert (made.width, made.height) == tuple(round(side * 96 / dpi) for side in pixels)


def two_scales() -> Figure:
    """Noise on two colour maps, one pixel a value: large as a file, and full of colours."""
    figure = new_figure(7.0, 4.0)
    noise = np.random.default_rng(0).uniform(-1, 1, (300, 300))
    for place, cmap in ((0.5, diverging()), (3.5, "viridis")):
        axes = axes_at(figure, place, 0.7, 2.0, 2.0)
        axes.imshow(noise, cmap=cmap, vmin=-1, vmax=1, interpolation="nearest")
        axes.set_xlabel("letters, which fade into the paper")
    return figure


def drawn_and_shown(figure: Figure) -> tuple[np.ndarray, np.ndarray]:
    """The figure as matplotlib draws it, cropped likewise, and as the page has it."""
    shown = np.asarray(image_of(picture(figure, "map", alt="")).convert("RGB")).astype(int)
    for text in list(figure.texts):
        text.remove()
    plain = BytesIO()
    figure.savefig(plain, format="png")
    drawn = np.asarray(Image.open(plain).convert("RGB")).astype(int)
    rows, columns = np.nonzero((drawn != 255).any(axis=2))
    top, left = rows.min() - 6, columns.min() - 6
    return drawn[top : top + shown.shape[0], left : left + shown.shape[1]], shown


@pytest.mark.parametrize("draw", [mapped, two_scales])
def test_colours_of_a_map_stay_within_four_levels_and_letters_within_24(draw):
    drawn, shown = drawn_and_shown(draw())
    scales = [each(np.arange(256), bytes=True) for each in (diverging(), colormaps["viridis"])]
    meant = np.isin(drawn @ PACKED, np.concatenate(scales)[:, :3].astype(int) @ PACKED)
    apart = np.abs(shown - drawn).max(axis=2)
    assert meant.mean() > 0.3
    assert apart[meant].max() <= 4
    assert apart.max() <= 24
    assert np.abs(shown - drawn).mean() < 1.2
    assert (shown[(drawn == 255).all(axis=2)] == 255).all()


@pytest.mark.parametrize("cmap", [diverging(), colormaps["viridis"]], ids=lambda cmap: cmap.name)
def test_no_colour_of_a_large_file_stands_for_a_tenth_of_its_scale(cmap):
    drawn, shown = drawn_and_shown(two_scales())
    steps = [
        tuple(shown[drawn @ PACKED == step @ PACKED][0])
        for step in cmap(np.arange(256), bytes=True)[:, :3].astype(int)
    ]
    assert max(steps.count(colour) for colour in steps) < 256 / 10


def test_an_image_of_noise_makes_do_with_few_colours():
    figure = new_figure(4.0, 4.0)
    noise = np.random.default_rng(0).uniform(-1, 1, (500, 500))
    axes_at(figure, 0.2, 0.2, 500 / 150, 500 / 150).imshow(noise, cmap=diverging())
    assert len(image_of(picture(figure, "noise", alt="")).getcolors()) <= 64


def test_an_empty_figure_is_an_image_too():
    assert image_of(picture(new_figure(1.0, 1.0), "nothing", alt="")).width > 0
