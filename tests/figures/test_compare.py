"""Several embeddings side by side, by their artists."""

from __future__ import annotations

from pe_inspect.analysis.compare import compare
from pe_inspect.analysis.similarity import similarity
from pe_inspect.figures.compare import draw_compare


def test_checkpoints_stand_below_each_other_at_the_same_depth(vectors):
    results = [similarity(vectors(depth=depth, seed=depth)) for depth in (3, 5)]
    labels = ["$x_1$ low", "deep"]
    figure = draw_compare(compare(results, labels), labels)
    axes = figure.axes[0]
    names = [text.get_text() for text in axes.texts]
    assert names == ["blocks.0", "blocks.1", "blocks.2", "blocks.0", "blocks.2", "blocks.4"]
    assert [label.get_text() for label in axes.get_yticklabels()] == labels
    (caption,) = [text.get_text() for text in figure.texts if text.get_gid() == "caption"]
    assert " ".join(caption.split()).startswith("All on 3×5 patches; a column is a depth.")


def test_names_that_the_font_cannot_draw_are_boxes_and_no_warning(vectors):
    results = [similarity(vectors(depth=1, seed=k)) for k in (0, 1)]
    labels = ["位置 a", "b\u202e\x00"]
    figure = draw_compare(compare(results, labels), labels)
    shown = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert shown == ["□□ a", "b□□"]
