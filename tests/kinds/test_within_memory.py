"""Grids whose maps would not fit are sampled, evenly, and a note says so."""

from __future__ import annotations

import numpy as np
import pytest

from pe_inspect.analysis.similarity import similarity
from pe_inspect.analysis.structure import structure
from pe_inspect.commands.shell.parsing import memory
from pe_inspect.errors import UsageError
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding
from pe_inspect.kinds.within_memory import within_memory

ROOM_FOR_TWELVE = 6 * 4 * 12**2
"""Bytes of six float32 maps of twelve patches."""


def _embedding(values, kind="vectors", prefix=0, grid=(6, 8)):
    table = LayerPE("input" if kind == "vectors" else "blocks.0", values, grid, prefix)
    join = "input" if kind == "vectors" else "layer"
    return PositionEmbedding("learned_absolute", kind, join, (table,), num_prefix_tokens=prefix)


@pytest.fixture
def vectors():
    return _embedding(np.random.default_rng(0).normal(size=(50, 5)), prefix=2)


def test_every_second_row_and_column_is_taken_with_the_prefix(vectors):
    taken = within_memory(vectors, ROOM_FOR_TWELVE)
    whole = vectors.tables[0].values
    places = whole[2:].reshape(6, 8, 5)[::2, ::2].reshape(12, 5)
    assert taken.grid_size == (3, 4)
    np.testing.assert_array_equal(taken.tables[0].values, np.concatenate([whole[:2], places]))
    (note,) = taken.notes
    assert note.startswith("every 2. row and column of 6×8 was taken, 3×4 patches, so that maps")


def test_pairs_lose_their_rows_and_columns():
    values = np.random.default_rng(1).normal(size=(3, 48, 48))
    taken = within_memory(_embedding(values, "bias"), ROOM_FOR_TWELVE)
    places = np.arange(48).reshape(6, 8)[::2, ::2].ravel()
    np.testing.assert_allclose(taken.tables[0].values, values[:, places][:, :, places], rtol=1e-6)


def test_what_fits_is_as_it_was(vectors):
    assert within_memory(vectors) is vectors
    assert within_memory(vectors, 6 * 4 * 48**2) is vectors


def test_questions_of_pairs_say_what_they_took(vectors):
    result = similarity(vectors, max_memory=ROOM_FOR_TWELVE, token=(5, 6))
    assert result.matrix.shape[-2:] == (12, 12)
    assert result.token == (2, 3)
    asked_of = within_memory(vectors, ROOM_FOR_TWELVE)
    np.testing.assert_array_equal(result.matrix, similarity(asked_of).matrix)
    for each in (result, structure(vectors, max_memory=ROOM_FOR_TWELVE)):
        assert sum("within --max-memory" in note for note in each.notes) == 1
    with pytest.raises(UsageError, match="6"):
        similarity(vectors, max_memory=ROOM_FOR_TWELVE, token=(6, 0))


def test_memory_is_parsed_with_its_unit():
    assert [memory(each) for each in ("2GB", "1.5 gb", "500MB", "3000000", "4GiB")] == [
        2_000_000_000, 1_500_000_000, 500_000_000, 3_000_000, 4 << 30,
    ]  # fmt: skip
    for wrong in ("", "2", "-1GB", "many", "1e9", "9" * 40):
        with pytest.raises(UsageError, match="--max-memory"):
            memory(wrong)
