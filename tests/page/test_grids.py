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
def test_the_page_names_the_grid_and_says_why_it_draws_no_map(grid, places, words, lede):
    page = page_of(grid, places)
    (chapter,) = page.chapters
    assert {fact.name: fact.value for fact in chapter.facts}["Positions"] == words
    assert lede in chapter.lede
    assert words in page.html
    assert page.views == ()
    why = {omission.stem: omission.reason for omission in chapter.omissions}
    assert "grid" in why["similarity"]
    assert "grid" in why["interpolate"]
