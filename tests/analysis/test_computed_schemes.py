"""Schemes that a network computes: biases of pairs, effective embeddings, and vectors by offset."""

from __future__ import annotations

import numpy as np
import pytest
from closeness import ROUNDING, assert_close

from pe_inspect.analysis.similarity import similarity
from pe_inspect.errors import UsageError
from pe_inspect.kinds.position_embedding import PositionEmbedding, Relation
from pe_inspect.kinds.tables_by_layer import received

rng = np.random.default_rng(0)


def test_a_computed_bias_is_its_own_affinity_per_head(per_layer):
    bias = rng.normal(size=(3, 13, 13)).astype(np.float32)
    pe = per_layer("function", [bias], (3, 4), prefix=1)

    result = similarity(pe)

    assert (pe.is_pairwise, pe.num_heads) == (True, 3)
    np.testing.assert_array_equal(result.matrix[0], bias[:, 1:, 1:])
    assert result.affinity.name == "computed bias"
    assert "on the stated window" in result.affinity.sentence
    assert result.raw is None


def test_an_effective_embedding_is_compared_by_cosine(per_layer):
    values = rng.normal(size=(12, 5)).astype(np.float32)
    pe = per_layer("function", [values], (3, 4))

    result = similarity(pe)

    assert (pe.is_pairwise, pe.num_heads) == (False, None)
    assert result.affinity.name == "cosine similarity"
    assert_close(np.diag(result.matrix[0, 0]), 1)


@pytest.mark.parametrize("shape", [(2, 12, 13), (2, 11, 11), (11, 5), (12,)])
def test_other_shapes_of_a_computed_scheme_are_refused(per_layer, shape):
    with pytest.raises(ValueError, match="function of a 3×4 grid with 0 prefix rows must have"):
        per_layer("function", [np.zeros(shape)], (3, 4))


def test_the_model_itself_computes_them_so_they_are_joined(per_layer):
    for values in (np.zeros((2, 12, 12)), np.ones((12, 5))):
        (table,) = received(per_layer("function", [values], (3, 4)))
        assert (table.notion, table.norm) == ("joined", "")


def test_saving_keeps_how_vectors_of_pairs_are_made(per_layer, tmp_path):
    pe = per_layer("relative", [rng.normal(size=(5, 4))] * 2, (3, 3), parts=("y", "x"),
                   names=["blocks.0"] * 2, relation=Relation("sum", "query-key"))  # fmt: skip

    again = PositionEmbedding.open(pe.save(tmp_path / "x.pe.safetensors"))

    assert again.relation == pe.relation


def relative(per_layer, tables, grid, parts, relation):
    names = ["blocks.0"] * len(tables)
    return per_layer("relative", tables, grid, names=names, parts=parts, relation=relation)


@pytest.mark.parametrize("combine", ["sum", "concatenate"])
@pytest.mark.parametrize("offset", ["key-query", "query-key"])
@pytest.mark.parametrize("beyond", ["clip", "none"])
def test_a_pair_s_vector_is_made_as_the_relation_says(per_layer, combine, offset, beyond):
    (height, width), k = (4, 3), 2
    y, x = rng.normal(size=(2 * k + 1, 5)), rng.normal(size=(2 * width - 1, 5))
    relation = Relation(combine, offset, beyond)
    pe = relative(per_layer, [y, x], (height, width), ("y", "x"), relation)
    ((_, maps),) = similarity(pe).layers()

    def vector(query, key):
        dy, dx = (b - a if offset == "key-query" else a - b for a, b in zip(query, key))
        if abs(dy) > k and beyond == "none":
            return None
        rows = y[np.clip(dy, -k, k) + k], x[dx + width - 1]
        return sum(rows) if combine == "sum" else np.concatenate(rows)

    patches = list(np.ndindex(height, width))
    for i, query in enumerate(patches):
        own = vector(query, query)
        for j, key in enumerate(patches):
            other = vector(query, key)
            expected = 0 if other is None else own @ other
            expected /= 1 if other is None else np.linalg.norm(own) * np.linalg.norm(other)
            assert maps[0, i, j] == pytest.approx(expected, abs=ROUNDING)


def test_the_definition_says_how_vectors_are_made(per_layer):
    both = [rng.normal(size=(5, 4)), rng.normal(size=(7, 4))]
    summed = relative(per_layer, both, (3, 4), ("y", "x"), Relation("sum"))
    joined = relative(per_layer, both, (3, 4), ("y", "x"), Relation())
    kernel = relative(
        per_layer, [rng.normal(size=(9, 4))], (3, 4), ("yx",), Relation(beyond="none")
    )

    assert "sum of the rows" in similarity(summed).affinity.sentence
    assert "joins the rows" in similarity(joined).affinity.sentence
    assert "0 where the table does not reach" in similarity(kernel).affinity.sentence


def test_a_zero_vector_has_no_cosine_but_a_pair_out_of_reach_has_cosine_0(per_layer):
    table = rng.normal(size=(9, 4))
    table[0] = 0
    pe = relative(per_layer, [table], (3, 4), ("yx",), Relation(beyond="none"))

    ((_, maps),) = similarity(pe).layers()

    assert np.isnan(maps[0, 5, 0])  # offset (−1, −1)
    assert maps[0, 0, 11] == 0


def test_biases_that_all_lie_far_from_0_share_a_scale_about_their_middle(per_layer):
    near = rng.uniform(-1, 1, (2, 12, 12))
    far = similarity(per_layer("function", [near + 8], (3, 4)))
    below = similarity(per_layer("bias", [near - 8], (3, 4)))

    for result, sign in ((far, 1), (below, -1)):
        maps = next(result.affinities())[1].map(None)
        assert result.centre == pytest.approx(8 * sign, abs=0.2)
        assert np.abs(maps - result.centre).max() == pytest.approx(result.limit, abs=1e-5)
    assert similarity(per_layer("bias", [near], (3, 4))).centre == 0
    assert similarity(per_layer("bias", [abs(near)], (3, 4))).centre == 0


def test_the_drawn_scale_says_its_middle(per_layer):
    from pe_inspect.figures.similarity import draw

    result = similarity(per_layer("function", [rng.uniform(7.5, 8.5, (2, 12, 12))], (3, 4)))

    figures = draw(result)

    for figure in figures.values():
        (image,) = [i for axes in figure.axes for i in axes.images if i.get_array().ndim == 2][:1]
        assert (image.norm.vmin, image.norm.vmax) == (-result.limit, result.limit)
        assert np.nanmax(np.abs(image.get_array())) <= 2 * result.limit + 1e-6
        assert any(
            f"computed bias less {result.centre:.3g}" in axes.get_ylabel() for axes in figure.axes
        )


def test_heads_of_a_computed_bias_can_be_chosen(per_layer):
    pe = per_layer("function", [np.zeros((2, 12, 12))], (3, 4))

    assert similarity(pe, head=1).head == 1
    with pytest.raises(UsageError, match=r"--head 2 does not exist in blocks\.0"):
        similarity(pe, head=2)
