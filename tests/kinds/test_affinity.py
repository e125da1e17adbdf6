from __future__ import annotations

import numpy as np
import pytest
import torch
from closeness import assert_close
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pe_inspect.kinds.affinity import cosines
from pe_inspect.kinds.position_embedding import LayerPE
from pe_inspect.kinds.scheme_kind import kind_of

rows = st.tuples(st.integers(2, 9), st.integers(1, 7)).flatmap(
    lambda shape: arrays(np.float32, shape, elements=st.floats(-8, 8, width=32))
)


def affinity(word, tables):
    return kind_of(word, tables).affinity(tables)


def torch_cosines(values):
    x = torch.tensor(np.asarray(values, np.float32))
    return torch.nn.functional.cosine_similarity(x[:, None], x[None, :], dim=-1).numpy()


@pytest.mark.parametrize(("patches", "width"), [(15, 3), (96, 192), (35, 1024)])
def test_cosines_are_torchs(patches, width):
    values = np.random.default_rng(0).normal(0, 0.02, (patches, width)).astype(np.float32)

    assert_close(cosines(values).map(None), torch_cosines(values))


def test_huge_and_tiny_rows_have_cosines_too():
    values = np.array([[1e30, 1e30], [1e-30, 0], [3, 4]], np.float32)

    expected = [[1, 0.5**0.5, 7 / 50**0.5], [0.5**0.5, 1, 0.6], [7 / 50**0.5, 0.6, 1]]
    assert_close(cosines(values).map(None), expected)


@pytest.mark.parametrize("broken", [0, np.nan, np.inf, -np.inf])
def test_a_zero_or_non_finite_row_has_no_cosines(broken):
    values = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    values[2] = broken

    alike = cosines(values)
    result = alike.map(None)

    assert np.isnan(result[2]).all()
    assert np.isnan(result[:, 2]).all()
    others = [0, 1, 3, 4, 5]
    assert_close(result[np.ix_(others, others)], torch_cosines(values[others]))
    np.testing.assert_array_equal(alike.undefined, [False, False, True, False, False, False])


@settings(max_examples=60)
@given(rows)
def test_cosines_are_symmetric_bounded_and_one_with_themselves(values):
    alike = cosines(values)
    result = alike.map(None)

    np.testing.assert_array_equal(result, result.T)
    defined = result[~np.isnan(result)]
    assert (np.abs(defined) <= 1).all()
    assert_close(np.diag(result)[~alike.undefined], 1)
    np.testing.assert_array_equal(np.isnan(result).all(axis=1), alike.undefined)


@settings(max_examples=40)
@given(rows, st.randoms(use_true_random=False))
def test_permuting_rows_permutes_the_map(values, random):
    order = list(range(len(values)))
    random.shuffle(order)

    permuted = cosines(values[order]).map(None)

    assert_close(permuted, cosines(values).map(None)[np.ix_(order, order)])


@settings(max_examples=40)
@given(rows)
def test_some_rows_are_rows_of_the_whole_map(values):
    alike = cosines(values)

    assert_close(alike.rows([1, 0])[0], alike.map(None)[[1, 0]])


def test_a_bias_is_its_own_affinity_without_the_prefix():
    bias = np.random.default_rng(0).normal(size=(3, 13, 13)).astype(np.float32)
    alike = affinity("bias", [LayerPE("blocks.0", bias, (3, 4), 1)])

    np.testing.assert_array_equal(alike.map(2), bias[2, 1:, 1:])
    assert_close(alike.map(None), bias[:, 1:, 1:].mean(0))
    np.testing.assert_array_equal(alike.rows([5]), bias[:, 6:7, 1:])
    assert alike.num_heads == 3


def test_what_is_not_finite_in_a_bias_is_missing():
    bias = np.zeros((2, 6, 6), np.float32)
    bias[1, 4, 0] = -np.inf
    alike = affinity("bias", [LayerPE("blocks.0", bias, (2, 3))])

    assert np.isnan(alike.map(1)[4, 0])
    assert np.isnan(alike.map(None)[4, 0])
    assert alike.undefined.sum() == 1


def test_phases_are_compared_by_the_mean_cosine_of_their_differences():
    phases = np.random.default_rng(0).uniform(-9, 9, (2, 12, 5)).astype(np.float32)
    alike = affinity("phases", [LayerPE("blocks.0", phases, (3, 4))])
    expected = np.empty((2, 12, 12))
    for head in range(2):
        for i in range(12):
            for j in range(12):
                expected[head, i, j] = np.cos(phases[head, i] - phases[head, j]).mean()

    for head in range(2):
        assert_close(alike.map(head), expected[head])
    assert_close(alike.map(None), expected.mean(0))
    assert_close(alike.rows([7, 2], 1)[0], expected[1, [7, 2]])


def test_a_phase_that_is_not_finite_leaves_its_patch_undefined():
    phases = np.zeros((2, 6, 3), np.float32)
    phases[1, 4, 0] = np.nan
    alike = affinity("phases", [LayerPE("blocks.0", phases, (2, 3))])

    assert np.isfinite(alike.map(0)).all()
    assert np.isnan(alike.map(1)[4]).all()
    assert np.isnan(alike.map(None)[:, 4]).all()


@pytest.mark.parametrize(("height", "width", "k"), [(3, 5, 2), (2, 7, 9), (4, 1, 1)])
def test_relations_are_compared_with_the_relation_to_itself(height, width, k):
    rng = np.random.default_rng(0)
    parts = ("query.y", "query.x", "value.y", "value.x")
    stored = {part: rng.normal(size=(2 * k + 2, 6)).astype(np.float32) for part in parts}
    tables = [LayerPE("encoder.0", stored[p], (height, width), 1, p) for p in parts]

    alike = affinity("relative", tables)

    def relation(head, i, j):
        dy, dx = j // width - i // width, j % width - i % width
        row_y, row_x = 1 + k + max(-k, min(k, dy)), 1 + k + max(-k, min(k, dx))
        return np.concatenate([stored[f"{head}.y"][row_y], stored[f"{head}.x"][row_x]])

    patches = height * width
    for head, name in enumerate(("query", "value")):
        for i in range(patches):
            own = relation(name, i, i)
            expected = [
                own @ a / np.linalg.norm(own) / np.linalg.norm(a)
                for a in (relation(name, i, j) for j in range(patches))
            ]
            assert_close(alike.map(head)[i], expected, operations=32)


def test_effective_embeddings_are_compared_by_cosine():
    values = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
    alike = affinity("function", [LayerPE("stage.0", values, (3, 4))])

    assert_close(alike.map(None), torch_cosines(values))
