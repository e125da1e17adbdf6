"""The container: frozen, checked, exact when saved and reopened."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from dataclasses import FrozenInstanceError, fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from pe_inspect.errors import UnreadableCheckpoint
from pe_inspect.kinds.held_values import Lookup
from pe_inspect.kinds.position_embedding import LayerNormParams, LayerPE, PositionEmbedding


def table(rows=3, columns=4, prefix=1, width=6, layer="input", seed=0) -> LayerPE:
    values = np.random.default_rng(seed).normal(size=(prefix + rows * columns, width))
    return LayerPE(layer, values, (rows, columns), prefix)


def norm(layer="blocks.0", name="norm1", width=6, bias=True) -> LayerNormParams:
    values = np.arange(width, dtype=np.float32)
    return LayerNormParams(layer, name, values, values + 1 if bias else None, 1e-6)


def embedding(**changes) -> PositionEmbedding:
    plain = PositionEmbedding(
        "learned_absolute",
        "vectors",
        "lape",
        (table(),),
        norms=(norm(), norm("", "norm", bias=False)),
        source="ckpt.pth",
        sha256="ab" * 32,
        notes=("grid 3×4 inferred",),
        keys=("pos_embed",),
        num_prefix_tokens=1,
        depth=2,
        num_parameters=78,
        architecture="vit_of_a_test",
    )
    return replace(plain, **changes)


def test_arrays_are_float32_contiguous_and_read_only():
    held = LayerPE("input", np.ones((12, 6)).T.astype(np.float64).T, (3, 4)).values
    assert held.dtype == np.float32
    assert held.flags.c_contiguous
    with pytest.raises(ValueError, match="read-only"):
        held[0, 0] = 2


def test_the_callers_array_stays_writable():
    own = np.ones((12, 6), np.float32)
    LayerPE("input", own, (3, 4))
    own[0, 0] = 2
    assert own.flags.writeable


def test_fields_are_frozen():
    with pytest.raises(FrozenInstanceError):
        embedding().family = "other"


def test_patches_and_prefix_are_the_rows_of_the_table():
    held = table()
    np.testing.assert_array_equal(held.prefix, held.values[:1])
    np.testing.assert_array_equal(held.patches, held.values[1:])
    assert held.num_patches == 12


def test_the_patches_of_a_bias_lose_prefix_rows_and_columns():
    values = np.arange(2 * 7 * 7, dtype=np.float32).reshape(2, 7, 7)
    held = LayerPE("blocks.0", values, (2, 3), 1)
    np.testing.assert_array_equal(held.patches, values[:, 1:, 1:])


def test_a_part_is_named_after_its_layer():
    assert LayerPE("blocks.3", np.ones((4, 2)), (3, 4), part="query.y").name == "blocks.3.query.y"
    assert table(layer="blocks.3").name == "blocks.3"


@pytest.mark.parametrize("grid", [(0, 4), (3, -1)])
def test_a_grid_without_a_side_is_refused(grid):
    with pytest.raises(ValueError, match="both sides must be at least 1"):
        LayerPE("input", np.ones((1, 2)), grid)


WRONG = [
    ("vectors", (11, 6), "12, None"),
    ("bias", (2, 12, 11), "None, 12, 12"),
    ("phases", (11, 6), "None, 12, None"),
    ("relative", (3, 11, 2), "None, None"),
    ("function", (13, 6), "12, None"),
]


@pytest.mark.parametrize(("kind", "shape", "expected"), WRONG)
def test_a_wrong_shape_is_told_with_the_expected_one(kind, shape, expected):
    held = LayerPE("blocks.1", np.ones(shape), (3, 4))
    with pytest.raises(ValueError, match=rf"blocks\.1: {kind} of a 3×4 grid .*\({expected}\)"):
        PositionEmbedding("x", kind, "input", (held,))


@pytest.mark.usefixtures("unchecked")
def test_unknown_kinds_and_joins_are_refused():
    with pytest.raises(ValueError, match="kind is 'vector'; expected one of vectors, bias"):
        PositionEmbedding("x", "vector", "input", (table(),))
    with pytest.raises(ValueError, match="join is 'LaPE'; expected one of input, lape"):
        PositionEmbedding("x", "vectors", "LaPE", (table(),))


@pytest.mark.usefixtures("unchecked")
def test_the_two_halves_of_a_norm_must_agree():
    with pytest.raises(ValueError, match=r"blocks\.0\.norm1: weight has shape \(6,\), bias \(5,\)"):
        LayerNormParams("blocks.0", "norm1", np.ones(6), np.ones(5), 1e-6)


def test_norms_have_timms_names():
    assert norm().path == "blocks.0.norm1"
    assert norm("", "norm").path == "norm"
    assert list(embedding().norms_named("norm1")) == ["blocks.0"]


def test_one_table_of_a_repeated_join_enters_at_every_block():
    assert embedding().layer_names == ("blocks.0", "blocks.1")
    assert embedding(join="input").layer_names == ("input",)


def test_parts_of_one_layer_count_as_one():
    parts = tuple(
        LayerPE(f"blocks.{block}", np.ones((4, 2)), (3, 4), part=part)
        for block in range(2)
        for part in ("query.y", "query.x")
    )
    relative = PositionEmbedding("shaw_relative", "relative", "layer", parts)
    assert relative.layer_names == ("blocks.0", "blocks.1")


def test_heads_are_counted_where_there_is_a_head_axis():
    phases = PositionEmbedding(
        "rotary", "phases", "layer", (LayerPE("blocks.0", np.ones((2, 12, 5)), (3, 4)),)
    )
    assert phases.num_heads == 2
    assert embedding().num_heads is None


def test_values_that_are_not_finite_are_counted():
    values = np.ones((12, 6), np.float32)
    values[3, 2], values[4, 1] = np.nan, np.inf
    held = LayerPE("input", values, (3, 4))
    assert PositionEmbedding("x", "vectors", "input", (held,)).num_nonfinite == 2


@given(
    rows=st.integers(1, 5),
    columns=st.integers(1, 5),
    prefix=st.integers(0, 3),
    width=st.integers(1, 4),
    seed=st.integers(0, 9),
)
def test_save_then_open_is_exact(tmp_path_factory, rows, columns, prefix, width, seed):
    path = tmp_path_factory.getbasetemp() / "again.pe.safetensors"
    first = embedding(tables=(table(rows, columns, prefix, width, seed=seed),))
    again = PositionEmbedding.open(first.save(path))
    assert_same(first, again)


def assert_same(first: PositionEmbedding, again: PositionEmbedding) -> None:
    for name in (f.name for f in fields(first) if f.name not in ("tables", "norms")):
        assert getattr(first, name) == getattr(again, name), name
    for one, other in zip(first.tables, again.tables, strict=True):
        assert (one.name, one.grid_size) == (other.name, other.grid_size)
        assert one.num_prefix_rows == other.num_prefix_rows
        np.testing.assert_array_equal(one.values, other.values)
    for one, other in zip(first.norms, again.norms, strict=True):
        assert (one.path, one.eps) == (other.path, other.eps)
        np.testing.assert_array_equal(one.weight, other.weight)
        assert (one.bias is None) == (other.bias is None)


def test_the_same_embedding_is_saved_as_the_same_bytes(tmp_path):
    one = embedding().save(tmp_path / "a.pe.safetensors").read_bytes()
    assert embedding().save(tmp_path / "b.pe.safetensors").read_bytes() == one


@pytest.mark.parametrize("content", [b"", b"not safetensors", b"\x02" + bytes(7) + b"{}"])
def test_another_file_is_no_saved_extraction(tmp_path, content):
    (tmp_path / "x.pe.safetensors").write_bytes(content)
    expected = r"x\.pe\.safetensors is not a saved extraction \(\*\.pe\.safetensors\)"
    with pytest.raises(UnreadableCheckpoint, match=expected):
        PositionEmbedding.open(tmp_path / "x.pe.safetensors")


def lookup(grid=(3, 4), heads=2, seed=0) -> Lookup:
    tokens = grid[0] * grid[1]
    rng = np.random.default_rng(seed)
    index = rng.integers(0, 7, (tokens, tokens), dtype=np.int32)
    return Lookup(rng.normal(size=(heads, 7)), index)


def test_a_bias_that_is_looked_up_has_the_values_of_its_table():
    held = lookup()
    table = LayerPE.from_lookup("blocks.0", held, (3, 4))
    assert table.shape == (2, 12, 12)
    for head, i, j in ((0, 0, 0), (1, 11, 3), (0, 5, 7)):
        assert table.values[head, i, j] == held.table[head, held.index[i, j]]
    assert table.values.dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        table.values[0, 0, 0] = 1


def test_an_expanded_bias_lives_as_long_as_somebody_holds_it():
    table = LayerPE.from_lookup("blocks.0", lookup(), (3, 4))
    part = table.patches[:, 2:]
    assert table.values is table.values
    assert np.shares_memory(part, table.values)
    kept = weakref.ref(table.values)
    del part
    gc.collect()
    assert kept() is None


def test_the_shape_of_a_lookup_is_checked_without_expanding_it():
    held = LayerPE.from_lookup("blocks.1", lookup((3, 5)), (3, 4))
    with pytest.raises(ValueError, match=r"blocks\.1: bias of a 3×4 grid .*\(None, 12, 12\)"):
        PositionEmbedding("relative_bias", "bias", "layer", (held,))


def test_save_then_open_keeps_a_lookup_and_writes_what_is_shared_once(tmp_path):
    first, index = lookup(), lookup().index
    other = Lookup(lookup(seed=1).table, first.index)
    layers = tuple(
        LayerPE.from_lookup(f"blocks.{i}", held, (3, 4))
        for i, held in enumerate((first, other, first))
    )
    pe = PositionEmbedding("relative_bias", "bias", "layer", layers)
    path = pe.save(tmp_path / "x.pe.safetensors")
    with safe_open(str(path), framework="numpy") as file:
        assert len(list(file.keys())) == 3
    again = PositionEmbedding.open(path)
    assert_same(pe, again)
    assert all(isinstance(table.held, Lookup) for table in again.tables)
    np.testing.assert_array_equal(again.tables[1].held.index, index)
    assert again.save(tmp_path / "y.pe.safetensors").read_bytes() == path.read_bytes()


def test_a_lookup_survives_copying_and_pickling():
    table = LayerPE.from_lookup("blocks.0", lookup(), (3, 4))
    for again in (copy.deepcopy(table), pickle.loads(pickle.dumps(table)), replace(table)):
        np.testing.assert_array_equal(again.values, table.values)
        assert again.shape == table.shape
