"""Pages of embeddings whose grid has frames too, or is in no file."""

from __future__ import annotations

import numpy as np
import pytest

from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding
from pe_inspect.page import report


def page_of(grid, places):
    values = np.random.default_rng(0).standard_normal((places, 6))
    table = LayerPE("input", values, grid)
    return report(PositionEmbedding("learned_absolute", "vectors", "input", (table,), depth=2))


@pytest.mark.parametrize(
    ("grid", "places", "words", "lede"),
    [
        ((8, 3, 5), 120, "8×3×5", "for 8×3×5 patches;"),
        (None, 37, "grid not known", "for patches whose grid is not known;"),
    ],
)
def test_the_page_names_the_grid(grid, places, words, lede):
    page = page_of(grid, places)
    (chapter,) = page.chapters
    assert {fact.name: fact.value for fact in chapter.facts}["Positions"] == words
    assert lede in chapter.lede
    assert words in page.html


def test_the_page_says_why_it_draws_no_map_of_an_unknown_grid():
    page = page_of(None, 37)
    assert page.views == ()
    why = {omission.stem: omission.reason for omission in page.chapters[0].omissions}
    assert "grid" in why["similarity"]
    assert "grid" in why["interpolate"]


def test_the_map_of_frames_has_them_side_by_side():
    page = page_of((8, 3, 5), 120)
    assert [view.kind for view in page.views] == ["similarity"]
