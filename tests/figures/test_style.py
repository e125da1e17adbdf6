"""What all figures share: lines that fit, and the numbers beside a scale of colours."""

from __future__ import annotations

import pytest

from pe_inspect.figures.layout.look import page_width
from pe_inspect.figures.layout.style import (
    caption,
    new_figure,
    scale_labels,
    title,
    wrapped,
)


@pytest.mark.parametrize("text", ["mean γ 1 " * 60, "WWWW mmmm " * 40, "i l . ' " * 90, "W" * 300])
def test_words_fill_their_lines_and_never_leave_the_figure(text):
    figure = new_figure(page_width(), 3)
    caption(figure, text)
    title(figure, text)
    for drawn in figure.texts:
        box = drawn.get_window_extent()
        assert 0 < box.x0 < box.x1 < figure.bbox.width
        assert box.x1 > 0.85 * figure.bbox.width


def test_lines_are_broken_between_words_and_hold_all_letters():
    text = "layers.2.downsample.norm (mean γ 1), layers.3.blocks.1"
    lines = wrapped(text, 1.6, 7.5).split("\n")
    assert lines == ["layers.2.downsample.norm", "(mean γ 1), layers.3.blocks.1"]
    long = wrapped("x" * 50, 0.5, 7.5)
    assert "\n" in long
    assert long.replace("\n", "") == "x" * 50


@pytest.mark.parametrize(
    ("ticks", "labels"),
    [
        ((-1, -0.5, 0, 0.5, 1), ["−1.0", "−0.5", "0.0", "0.5", "1.0"]),
        ((0.46, 0.498, 0.611), ["0.460", "0.498", "0.611"]),
        ((0.0504, 1.085, 2.12), ["0.05", "1.08", "2.12"]),
        ((0.46, 0.4603, 0.4606), ["0.4600", "0.4603", "0.4606"]),
        ((-3, 0, 3), ["−3", "0", "3"]),
        ((0, 60000, 120000), ["0", "6e+04", "1.2e+05"]),
        ((0, 0, 0), ["0", "0", "0"]),
    ],
)
def test_numbers_beside_a_scale_have_equally_many_decimals(ticks, labels):
    assert scale_labels(ticks) == labels
