"""The numbers and notes of `similarity`."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from analysis.made import dinov2, strong
from closeness import ROUNDING, assert_close
from scipy.stats import pearsonr

from pe_inspect.analysis.similarity import similarity


def test_numbers_are_means_over_pairs_of_different_patches(table_of):
    height, width = 3, 4
    values = np.random.default_rng(0).normal(size=(12, 5))
    rows = values / np.linalg.norm(values, axis=1, keepdims=True)
    cos = rows @ rows.T
    places = [(i // width, i % width) for i in range(12)]
    pairs = [(i, j) for i in range(12) for j in range(12) if i != j]

    def apart(i, j):
        return abs(places[i][0] - places[j][0]), abs(places[i][1] - places[j][1])

    near = [cos[p] for p in pairs if sum(apart(*p)) == 1]
    far = [cos[p] for p in pairs if 2 * apart(*p)[0] >= height or 2 * apart(*p)[1] >= width]
    everything = [cos[p] for p in pairs]

    (row,) = similarity(table_of(values, (height, width))).statistics

    assert row.mean == pytest.approx(np.mean(everything), abs=ROUNDING)
    assert (row.minimum, row.maximum) == pytest.approx(
        (min(everything), max(everything)), abs=ROUNDING
    )
    assert row.neighbours == pytest.approx(np.mean(near), abs=ROUNDING)
    assert row.far == pytest.approx(np.mean(far), abs=ROUNDING)


def test_consecutive_layers_are_correlated_over_different_patches(vectors):
    result = similarity(vectors(depth=2))
    off = ~np.eye(15, dtype=bool)
    first, second = result.matrix[:, 0]

    assert np.isnan(result.statistics[0].correlation_to_previous)
    expected = pearsonr(first[off], second[off])[0]
    assert result.statistics[1].correlation_to_previous == pytest.approx(expected, abs=1e-5)


def test_broken_rows_are_counted_and_left_out_of_the_numbers(vectors):
    pe = vectors(grid=(3, 5), prefix=1)
    values = pe.tables[0].values.copy()
    values[4] = np.nan
    broken = replace(pe, tables=(replace(pe.tables[0], values=values),))

    result = similarity(broken)

    assert [row.num_undefined for row in result.statistics] == [1, 1, 1]
    assert result.summary()["num_undefined"] == 3
    kept = np.delete(np.arange(15), 3)
    off = ~np.eye(14, dtype=bool)
    expected = similarity(pe).matrix[0, 0][np.ix_(kept, kept)][off].mean()
    assert result.statistics[0].mean == pytest.approx(expected, abs=1e-5)
    assert "blocks.0–blocks.2: 1 of 15 patches" in " ".join(result.notes)


def test_a_constant_table_is_alike_everywhere_and_a_note_says_so(table_of):
    result = similarity(table_of(np.full((12, 5), 0.3), (3, 4)))

    assert_close(result.matrix, 1)
    assert any("all rows are equal" in note for note in result.notes)


def test_stored_rows_without_a_cosine_are_counted_and_noted(vectors):
    pe = vectors(grid=(3, 5), prefix=1)
    values = pe.tables[0].values.copy()
    values[4] = 0  # LN makes it β, so that only the stored table has a gap
    result = similarity(replace(pe, tables=(replace(pe.tables[0], values=values),)))

    numbers = result.summary()
    assert (numbers["num_undefined"], numbers["num_undefined_raw"]) == (0, 1)
    assert np.isnan(result.raw[0, 0, 3]).all()
    assert any(
        "1 of 15 rows of the stored table is zero or not finite; what is undefined in its "
        "cosines is shown as missing." in note
        for note in result.notes
    )
    assert similarity(pe).summary()["num_undefined_raw"] == 0


def test_a_table_of_zeros_is_not_said_to_be_alike(table_of):
    result = similarity(table_of(np.zeros((12, 5)), (3, 4)))

    assert result.summary()["num_undefined_raw"] == 12
    assert not any("all rows are equal" in note for note in result.notes)
    assert any("12 of 12 rows of the stored table are zero" in note for note in result.notes)


def test_rows_without_variance_are_noted(vectors):
    pe = vectors()
    values = pe.tables[0].values.copy()
    values[3] = 0.25
    result = similarity(replace(pe, tables=(replace(pe.tables[0], values=values),)))

    assert any("1 of 15 rows have zero variance" in note for note in result.notes)
    assert np.isfinite(result.matrix).all()


def test_a_proxy_is_said_to_be_one(vectors):
    result = similarity(vectors("input"))

    assert {view.notion for view in result.views} == {"proxy"}
    assert any("is a proxy" in note for note in result.notes)
    assert not any("proxy" in note for note in similarity(vectors("lape")).notes)


def test_a_layer_without_its_norm_is_noted(vectors):
    pe = vectors("lape")
    pe = replace(pe, norms=tuple(n for n in pe.norms if n.path != "blocks.1.pe_norm"))

    result = similarity(pe)

    np.testing.assert_array_equal(result.matrix[1], result.matrix[0])
    assert any("No norm fits the table in blocks.1" in note for note in result.notes)


def test_a_given_eps_is_noted(vectors):
    assert "ε = 1e-05 in every norm, as asked for." in similarity(vectors(), ln_eps=1e-5).notes


def oblong(vectors):
    """A plain model: the table is added once, and three layers normalise it."""
    return vectors("input", grid=(3, 4), names=("norm1",))


def normalised(rows, norm):
    """LayerNorm in four lines, float64."""
    rows = rows.astype(np.float64)
    spread = np.sqrt(rows.var(axis=1, keepdims=True) + norm.eps)
    return (rows - rows.mean(axis=1, keepdims=True)) / spread * norm.weight + norm.bias


def tables_of(pe):
    """What each layer of a plain model is shown with: LN1 of that layer on the stored table."""
    norms = [norm for norm in pe.norms if norm.name == "norm1"]
    return [normalised(pe.tables[0].patches, norm) for norm in norms] or [pe.tables[0].patches]


def cosines(rows):
    rows = rows.astype(np.float64)
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return units @ units.T


def by_definition(pe):
    height, width = pe.grid_size
    y, x = np.divmod(np.arange(height * width), width)
    down, across = abs(y[:, None] - y), abs(x[:, None] - x)
    near, far = down + across == 1, (2 * down >= height) | (2 * across >= width)
    apart = down + across > 0
    maps = [cosines(rows) for rows in tables_of(pe)]
    pairs = [values[apart] for values in maps]
    following = [np.corrcoef(a, b)[0, 1] for a, b in itertools.pairwise(pairs)]
    return {
        "num_layers": len(maps),
        "num_patches": height * width,
        "minimum": min(each.min() for each in pairs),
        "maximum": max(each.max() for each in pairs),
        "mean": np.mean([each.mean() for each in pairs]),
        "neighbours": np.mean([values[near].mean() for values in maps]),
        "far": np.mean([values[far].mean() for values in maps]),
        "correlation_to_previous": np.mean(following) if following else np.nan,
        "num_undefined": 0,
        "num_undefined_raw": 0,
    }


@pytest.mark.parametrize(
    "make",
    [oblong, lambda _: strong(), lambda _: dinov2()],
    ids=["oblong", "one strong channel", "DINOv2-S"],
)
def test_every_number_of_the_summary_is_what_its_definition_says(make, vectors):
    pe = make(vectors)
    result, expected = similarity(pe), by_definition(pe)
    found = result.summary()
    assert list(found) == list(expected) == list(result.defined())
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-5, abs=4 * ROUNDING, nan_ok=True), name
