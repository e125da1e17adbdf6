"""Several embeddings on one grid and one scale; numbers against numpy and scipy."""

from __future__ import annotations

import io
import math
from dataclasses import replace

import numpy as np
import pytest
from closeness import ROUNDING
from scipy.spatial import procrustes as of_scipy

from pe_inspect.analysis.compare import compare
from pe_inspect.analysis.compare.cka import cka
from pe_inspect.analysis.compare.procrustes import procrustes
from pe_inspect.analysis.interpolate import interpolate
from pe_inspect.analysis.similarity import similarity
from pe_inspect.errors import UsageError
from pe_inspect.kinds.position_embedding import LayerPE


def off_diagonal(values):
    return values[~np.eye(len(values), dtype=bool)]


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def hsic_1(k, m):
    """Song et al., Eq. 5, as it is printed."""
    n, ones = len(k), np.ones(len(k))
    k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
    middle = (ones @ k @ ones) * (ones @ m @ ones) / ((n - 1) * (n - 2))
    return (np.trace(k @ m) + middle - 2 / (n - 2) * (ones @ k @ m @ ones)) / (n * (n - 3))


def hsic(k, m):
    centring = np.eye(len(k)) - 1 / len(k)
    return np.trace(centring @ k @ centring @ m) / (len(k) - 1) ** 2


@pytest.mark.parametrize("channels", [4, 40])
def test_cka_is_the_quotient_of_its_definition_biased_and_unbiased(channels):
    first, second = drawn(15, channels) + 3, drawn(15, 7, seed=1)
    k, m = first @ first.T, second @ second.T
    for unbiased, of in ((False, hsic), (True, hsic_1)):
        expected = of(k, m) / np.sqrt(of(k, k) * of(m, m))
        assert cka(first, second, unbiased=unbiased) == pytest.approx(expected, abs=1e-10)


def test_cka_of_a_table_with_itself_and_with_a_rotated_copy_is_one():
    table = drawn(15, 6)
    turn = np.linalg.qr(drawn(6, 6, seed=1))[0]
    for other in (table, 3 * table @ turn + 2):
        assert cka(table, other) == pytest.approx(1, abs=1e-12)
        assert cka(table, other, unbiased=True) == pytest.approx(1, abs=1e-12)


def test_independent_tables_have_an_unbiased_cka_of_about_nothing():
    first, second = drawn(14 * 13, 192), drawn(14 * 13, 192, seed=1)
    assert cka(first, second) > 0.4
    assert abs(cka(first, second, unbiased=True)) < 0.02


def test_a_constant_table_and_too_few_positions_have_no_cka():
    table = np.full((15, 3), 0.1)
    assert math.isnan(cka(drawn(15, 4), table))
    assert math.isnan(procrustes(drawn(15, 4), table))
    assert math.isnan(cka(drawn(3, 4), drawn(3, 4, seed=1), unbiased=True))


def test_a_rotated_copy_is_no_distance_away():
    table = drawn(15, 6)
    turn = np.linalg.qr(drawn(6, 6, seed=1))[0]
    assert procrustes(table, 2 * table @ turn + 1) == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("channels", [4, 40])
def test_the_aligned_distance_is_that_of_scipys_disparity(channels):
    first, second = drawn(15, channels), drawn(15, 5, seed=1)
    wide = max(channels, 5)
    padded = [np.pad(table, ((0, 0), (0, wide - table.shape[1]))) for table in (first, second)]
    disparity = of_scipy(*padded)[2]
    assert procrustes(first, second) == pytest.approx(
        math.sqrt(2 - 2 * math.sqrt(1 - disparity)), abs=1e-9
    )


def test_maps_of_one_grid_are_compared_as_they_are(vectors):
    results = [similarity(vectors(seed=seed)) for seed in (0, 3)]
    found = compare(results, ["a", "b"])
    assert found.side.results == tuple(results)
    assert found.notes == ()
    assert found.side.scale == (0.0, 1.0)
    (alike,) = found.likenesses
    squares = []
    for layer in range(3):
        one, other = (result.matrix[layer, 0] for result in results)
        expected = np.corrcoef(off_diagonal(one), off_diagonal(other))[0, 1]
        assert alike.correlations[layer] == pytest.approx(expected, abs=1e-5)
        squares.append(np.mean((one - other) ** 2))
        assert alike.differences[layer] == pytest.approx(np.sqrt(squares[-1]), abs=ROUNDING)
    assert found.summary()["map_difference"] == pytest.approx(
        np.sqrt(np.mean(squares)), abs=ROUNDING
    )


def test_the_file_holds_what_the_contract_names(vectors):
    pes = [vectors(depth=2, seed=k) for k in range(3)]
    found = compare(pes, ["a", "b", "c"])
    file = io.BytesIO()
    found.save_npz(file)
    saved = np.load(io.BytesIO(file.getvalue()))
    tables = [pe.tables[0].patches for pe in pes]
    for name, unbiased in (("cka", False), ("cka_unbiased", True)):
        expected = [[cka(a, b, unbiased=unbiased) for b in tables] for a in tables]
        np.testing.assert_allclose(saved[name], expected, atol=1e-9)
    assert saved["cka_layers"].shape == (3, 3, 2, 2)
    assert saved["cka_layers"][0, 0, 0, 0] == pytest.approx(1)
    assert saved["cka_layers"][0, 1, 1, 0] == saved["cka_layers"][1, 0, 0, 1]
    assert saved["map_difference"][0, 1] == pytest.approx(found.likenesses[0].difference)
    assert saved["names"].tolist() == ["a", "b", "c"]
    frame = found.to_frame()
    assert frame.layer_first.tolist()[:3] == ["stored", "blocks.0", "blocks.1"]
    assert frame.cka[0] == pytest.approx(saved["cka"][0, 1])
    assert frame.cka[2] == pytest.approx(saved["cka_layers"][0, 1, 1, 1])


def test_another_grid_is_resampled_to_the_smallest_and_said_so(vectors):
    grids = [(3, 5), (4, 6), (4, 6)]
    pes = [vectors(grid=grid, seed=k) for k, grid in enumerate(grids)]
    found = compare([pes[0], similarity(pes[1], layer=[0, 2]), pes[2]], ["a", "b", "c"])
    assert found.grid_size == (3, 5)
    assert found.notes[:2] == tuple(
        f"{name} was resampled from 4×6 to 3×5 patches by its own library's rule" for name in "bc"
    )
    moved = similarity(interpolate(pes[2], grid=(3, 5)).embedding())
    np.testing.assert_array_equal(found.side.results[2].matrix, moved.matrix)
    assert found.side.results[1].layer_names == ("blocks.0", "blocks.2")
    assert len(found.likenesses) == 3


def test_layers_are_matched_by_depth_and_those_left_out_are_counted(vectors):
    results = [similarity(vectors(depth=depth)) for depth in (3, 5)]
    found = compare(results, ["shallow", "deep"])
    assert found.side.layers == ((0, 1, 2), (0, 2, 4))
    assert found.side.names(1, [0, 2]) == ["blocks.0", "blocks.4"]
    (note,) = found.notes
    assert note.startswith("shown of deep: 3 of 5 layers, at the same depth")
    file = io.BytesIO()
    found.save_npz(file)
    assert "cka_layers" not in np.load(io.BytesIO(file.getvalue())).files


def test_what_another_kind_shows_is_said_and_only_ranges_in_common_are_subtracted(
    vectors, per_layer
):
    bias = per_layer("bias", [drawn(2, 15, 15)], (3, 5))
    turns = per_layer("phases", [drawn(1, 15, 4)], (3, 5))
    found = compare([vectors(), bias, turns], ["a", "swin", "rope"])
    assert found.side.drawn == (0, 2)
    assert found.notes[-4].startswith("the maps differ in what they show: a the cosine similarity;")
    assert found.notes[-3].startswith("swin: on no scale with the others")
    assert math.isnan(found.pair(0, 1)["map_difference"])
    assert np.isfinite(found.pair(0, 2)["map_difference"])
    for pair in ((0, 1), (0, 2), (1, 2)):
        numbers = found.pair(*pair)
        assert np.isfinite(numbers["cka"])
        assert np.isfinite(numbers["correlation"])
        assert math.isnan(numbers["procrustes"])
    angles = turns.tables[0].values[0]
    features = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
    rows = bias.tables[0].values.transpose(1, 0, 2).reshape(15, -1)
    assert found.pair(1, 2)["cka"] == pytest.approx(cka(rows, features), abs=1e-6)


def test_biases_share_a_scale_that_holds_them_all(per_layer):
    pes = [per_layer("bias", [size * drawn(1, 15, 15)], (3, 5)) for size in (0.1, 2.0)]
    found = compare(pes, ["a", "b"])
    largest = max(np.abs(pe.tables[0].values).max() for pe in pes)
    assert found.side.scale == pytest.approx((0.0, largest), rel=ROUNDING)


def test_an_embedding_that_cannot_be_resampled_is_left_out_with_the_reason(vectors, per_layer):
    peg = per_layer("function", [drawn(20, 8).astype(np.float32)], (4, 5))
    found = compare([vectors(), vectors(seed=1), peg], ["a", "b", "p"])
    assert found.side.places == (0, 1)
    assert found.notes[0].startswith("p is left out: ")
    with pytest.raises(UsageError, match=r"Fewer than two .*\np is left out: "):
        compare([vectors(), peg], ["a", "p"])


def test_one_alone_is_refused(vectors):
    with pytest.raises(UsageError, match=r"takes two embeddings or more, and was given 1"):
        compare([vectors()])


def test_patches_that_are_not_finite_are_left_out_of_cka_and_counted(vectors):
    whole, torn = vectors(), vectors(seed=1)
    values = torn.tables[0].values.copy()
    values[4] = np.nan
    torn = replace(torn, tables=(LayerPE("input", values, (3, 5), 1),))
    found = compare([whole, torn], ["a", "b"])
    kept = np.arange(15) != 3
    expected = cka(whole.tables[0].patches[kept], torn.tables[0].patches[kept])
    assert found.pair(0, 1)["cka"] == pytest.approx(expected)
    assert any("1 of 15 patches are left out" in note for note in found.notes)


def test_two_are_told_in_one_sentence_with_signs_and_both_values(vectors):
    found = compare([vectors(), vectors(seed=3)], ["a", "b"])
    pair = found.pair(0, 1)
    assert found.finding.startswith(
        f"b against a: the stored tables have a CKA of {pair['cka']:.2f} (unbiased "
    )
    delta = found.deltas[0]
    assert delta.change == delta.value - delta.reference
    assert f"{delta.index.words} {'+' if delta.change >= 0 else '−'}" in delta.words
    assert " → " in found.finding
