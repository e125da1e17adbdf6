"""Several embeddings side by side, by their artists."""

from __future__ import annotations

import numpy as np

from pe_inspect.analysis.compare import compare
from pe_inspect.analysis.similarity import similarity
from pe_inspect.figures.compare import draw


def test_checkpoints_stand_below_each_other_at_the_same_depth(vectors):
    results = [similarity(vectors(depth=depth, seed=depth)) for depth in (3, 5)]
    labels = ["$x_1$ low", "deep"]
    figure = draw(compare(results, labels))["compare"]
    axes = figure.axes[0]
    names = [text.get_text() for text in axes.texts]
    assert names == ["blocks.0", "blocks.1", "blocks.2", "blocks.0", "blocks.2", "blocks.4"]
    assert [label.get_text() for label in axes.get_yticklabels()] == labels
    (caption,) = [text.get_text() for text in figure.texts if text.get_gid() == "caption"]
    assert " ".join(caption.split()).startswith("All on 3×5 patches; a column is a depth.")


def test_names_that_the_font_cannot_draw_are_boxes_and_no_warning(vectors):
    results = [similarity(vectors(depth=1, seed=k)) for k in (0, 1)]
    labels = ["位置 a", "b\u202e\x00"]
    figure = draw(compare(results, labels))["compare"]
    shown = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert shown == ["□□ a", "b□□"]


def test_every_number_has_a_panel_and_seeds_of_one_recipe_share_a_line(vectors):
    results = [similarity(vectors(depth=2, seed=k)) for k in range(3)]
    groups = ["one", "other", "one"]
    found = compare(results, ["a", "b", "c"], groups=groups)
    figure = draw(found)["compare_numbers"]
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        index.words for index in found.indices.values()
    ]
    first = figure.axes[0]
    assert [label.get_text() for label in first.get_yticklabels()] == ["one", "other"]
    points = {line.get_gid(): (line.get_xdata()[0], line.get_ydata()[0]) for line in first.lines}
    name = next(iter(found.indices))
    assert points == {
        label: (numbers[name], line)
        for label, numbers, line in zip("abc", found.numbers, (0, 1, 0))
    }
    (caption,) = [text.get_text() for text in figure.texts if text.get_gid() == "caption"]
    assert caption.startswith("A point is a seed; a line is a recipe.")


def test_what_lies_on_no_common_scale_is_named_and_not_drawn(vectors, per_layer):
    bias = per_layer("bias", [np.ones((2, 15, 15), np.float32)], (3, 5))
    results = [similarity(pe) for pe in (vectors(depth=1), bias, vectors(depth=1, seed=2))]
    figure = draw(compare(results, ["a", "swin", "c"]))["compare"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["a", "c"]
    (caption,) = [text.get_text() for text in figure.texts if text.get_gid() == "caption"]
    assert "Not on this scale: swin." in " ".join(caption.split())
