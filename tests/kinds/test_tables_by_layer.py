from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from closeness import assert_close
from torch.nn.functional import layer_norm

from pe_inspect.kinds.position_embedding import LayerNormParams, LayerPE, PositionEmbedding
from pe_inspect.kinds.tables_by_layer import normalised, received


def torch_norm(values, norm, eps=None):
    weight, bias = torch.tensor(norm.weight), torch.tensor(norm.bias)
    x = torch.tensor(np.asarray(values))
    return layer_norm(x, x.shape[-1:], weight, bias, norm.eps if eps is None else eps).numpy()


def arrays(pe, **options):
    return {table.name: table.values for table in received(pe, **options)}


@pytest.mark.parametrize("eps", [1e-6, 1e-5, 0.1])
def test_the_arithmetic_is_that_of_torchs_layer_norm(vectors, eps):
    pe = vectors(width=24)
    values, norm = pe.tables[0].values, pe.norms[0]

    assert_close(normalised(values, norm, ln_eps=eps), torch_norm(values, norm, eps))


def test_an_rms_norm_is_torchs_rms_norm():
    rng = np.random.default_rng(0)
    values = rng.normal(2, 1, (5, 12)).astype(np.float32)
    weight = rng.normal(1, 0.2, 12).astype(np.float32)
    norm = LayerNormParams("blocks.0", "norm1", weight, None, 1e-6)

    expected = torch.nn.functional.rms_norm(torch.tensor(values), (12,), torch.tensor(weight), 1e-6)

    assert_close(normalised(values, norm), expected)


def test_lape_normalises_what_the_layer_before_received(vectors):
    pe = vectors("lape", depth=4)
    norms = pe.norms_named("pe_norm")
    omega, expected = pe.tables[0].values, {}
    for layer in ("blocks.0", "blocks.1", "blocks.2", "blocks.3"):
        omega = torch_norm(omega, norms[layer])
        expected[layer] = omega

    actual = arrays(pe)

    assert list(actual) == list(expected)
    for layer, values in expected.items():
        assert_close(actual[layer], values, operations=32)


def test_lape_is_not_the_norm_of_the_stored_table(vectors):
    pe = vectors("lape", depth=4)
    norms = pe.norms_named("pe_norm")

    actual = arrays(pe)

    wrong = torch_norm(pe.tables[0].values, norms["blocks.2"])
    assert np.abs(actual["blocks.2"] - wrong).max() > 0.1
    right = torch_norm(actual["blocks.1"], norms["blocks.2"])
    assert_close(actual["blocks.2"], right, operations=32)


@pytest.mark.parametrize("join", ["input", "share"])
def test_one_table_is_seen_through_norm1_of_every_layer(vectors, join):
    pe = vectors(join)
    norms = pe.norms_named("norm1")

    tables = list(received(pe))

    assert [table.layer for table in tables] == ["blocks.0", "blocks.1", "blocks.2"]
    assert {table.notion for table in tables} == {"proxy"}
    for table in tables:
        assert table.norm == f"{table.layer}.norm1"
        expected = torch_norm(pe.tables[0].values, norms[table.layer])
        assert_close(table.values, expected, operations=32)


def test_unshared_tables_are_seen_through_norm1_of_their_own_layer(vectors):
    pe = vectors("unshare")
    norms = pe.norms_named("norm1")

    for stored, table in zip(pe.tables, received(pe)):
        expected = torch_norm(stored.values, norms[stored.layer])
        assert_close(table.values, expected, operations=32)


def test_pvg_starts_the_recurrence_in_block_1_and_shows_a_proxy_in_block_0(vectors):
    pe = vectors("pvg", depth=3)
    pe = replace(pe, norms=tuple(n for n in pe.norms if n.path != "blocks.0.pe_norm"))
    token, position = pe.norms_named("norm1"), pe.norms_named("pe_norm")
    first = torch_norm(pe.tables[0].values, token["blocks.0"])
    second = torch_norm(pe.tables[0].values, position["blocks.1"])
    third = torch_norm(second, position["blocks.2"])

    tables = list(received(pe))

    assert [table.notion for table in tables] == ["proxy", "joined", "joined"]
    for table, expected in zip(tables, (first, second, third)):
        assert_close(table.values, expected, operations=32)


def test_mpvg_gives_the_last_norm_the_stored_table(vectors):
    pe = vectors("mpvg")
    last = replace(pe.norms_named("pe_norm")["blocks.1"], layer="")
    pe = replace(pe, norms=(*pe.norms, last))

    *_, table = received(pe)

    assert (table.layer, table.notion, table.norm) == ("norm", "joined", "pe_norm")
    assert_close(table.values, torch_norm(pe.tables[0].values, last), operations=32)


def test_a_bias_with_a_norm_is_normalised_over_its_keys(per_layer):
    rng = np.random.default_rng(0)
    bias = rng.normal(size=(2, 15, 15)).astype(np.float32)
    weight, beta = rng.normal(1, 0.1, 15).astype(np.float32), np.ones(15, np.float32)
    norm = LayerNormParams("blocks.0", "attn.pe_norm", weight, beta, 1e-5)
    pe = per_layer("bias", [bias, bias], (3, 5), norms=(norm,), join="lape")

    first, second = received(pe)

    assert_close(first.values, torch_norm(bias, norm))
    np.testing.assert_array_equal(second.values, bias)
    assert (first.notion, first.norm, second.norm) == ("joined", "blocks.0.attn.pe_norm", "")


def test_without_norms_the_stored_table_comes_as_it_is(table_of):
    values = np.random.default_rng(0).normal(size=(13, 4))
    (table,) = received(table_of(values, (3, 4), prefix=1))

    assert (table.layer, table.notion, table.norm) == ("input", "stored", "")
    np.testing.assert_array_equal(table.values, values.astype(np.float32))
    assert (table.grid_size, table.num_prefix_rows) == ((3, 4), 1)


def test_phases_and_relative_tables_come_as_stored(per_layer):
    phases = np.random.default_rng(0).normal(size=(2, 15, 4))
    (table,) = received(per_layer("phases", [phases], (3, 5)))

    np.testing.assert_array_equal(table.values, phases.astype(np.float32))
    assert table.notion == "stored"


def test_norms_of_other_widths_never_see_the_table(vectors):
    pe = vectors("input")
    ones = np.ones(32, np.float32)
    wide = LayerNormParams("layers.1.blocks.0", "norm1", ones, ones, 1e-5)

    tables = list(received(replace(pe, norms=(*pe.norms, wide))))

    assert [table.layer for table in tables] == ["blocks.0", "blocks.1", "blocks.2"]


def test_a_given_eps_replaces_that_of_every_norm(vectors):
    pe = vectors("lape", depth=2)
    norms = pe.norms_named("pe_norm")
    omega = torch_norm(pe.tables[0].values, norms["blocks.0"], 1e-2)

    actual = arrays(pe, ln_eps=1e-2)

    assert_close(actual["blocks.0"], omega, operations=32)
    omega = torch_norm(omega, norms["blocks.1"], 1e-2)
    assert_close(actual["blocks.1"], omega, operations=32)


def test_a_row_of_equal_values_becomes_beta_and_a_broken_row_nan(vectors):
    pe = vectors(width=7)
    norm = pe.norms[0]
    values = np.array([[0.1] * 7, [np.nan] * 7, [np.inf] + [0.0] * 6], np.float32)

    result = normalised(values, norm)

    np.testing.assert_array_equal(result[0], norm.bias)
    assert np.isnan(result[1:]).all()


def test_layers_stream(vectors, monkeypatch):
    import pe_inspect.kinds.tables_by_layer as module

    computed = []
    real = module.normalised
    monkeypatch.setattr(module, "normalised", lambda *a, **k: computed.append(1) or real(*a, **k))
    tables = received(vectors("lape", depth=5))
    next(tables)

    assert len(computed) == 1


def test_a_table_of_one_layer_is_a_layer_pe_with_its_prefix():
    table = LayerPE("input", np.arange(16, dtype=np.float32).reshape(8, 2), (1, 7), 1)
    pe = PositionEmbedding("learned_absolute", "vectors", "input", (table,))

    (one,) = received(pe)

    np.testing.assert_array_equal(one.patches, table.values[1:])
