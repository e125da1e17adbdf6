"""What `layernorm` counts, compares and takes apart, against torch and plain loops."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from closeness import ROUNDING

from pe_inspect.analysis.layernorm import layernorm
from pe_inspect.errors import UsageError
from pe_inspect.kinds.position_embedding import LayerNormParams, LayerPE, PositionEmbedding

GRID, DEPTH, WIDTH = (3, 5), 3, 6
HEADER = (
    "layer,name,weight_mean,weight_std,weight_min,weight_max,weight_l2,weight_fraction_near_zero,"
    "bias_mean,bias_std,bias_min,bias_max,bias_l2,bias_fraction_near_zero,"
    "cosine_to_previous_layer,cosine_to_norm1"
)


def norm(layer, name, *, width=WIDTH, rms=False, seed=0):
    rng = np.random.default_rng([seed, *map(ord, layer + name)])
    bias = None if rms else rng.standard_normal(width) * 0.3
    return LayerNormParams(layer, name, 1 + 0.5 * rng.standard_normal(width), bias, 1e-6)


def embedding(join="lape", *, rms=False, tables=1):
    names = (["pe_norm"] if join == "lape" else []) + ["norm1", "norm2"]
    blocks = [f"blocks.{i}" for i in range(DEPTH)]
    norms = [norm(block, name, rms=rms) for block in blocks for name in names]
    rng = np.random.default_rng(5)
    layers = tuple(
        LayerPE("input" if tables == 1 else block, rng.standard_normal((16, WIDTH)) * 0.1, GRID, 1)
        for block in blocks[:tables]
    )
    norms.append(norm("", "norm", rms=rms))
    return PositionEmbedding(
        "learned_absolute", "vectors", join, layers, tuple(norms), depth=DEPTH
    )  # fmt: skip


def csv_of(result):
    buffer = io.BytesIO()
    result.to_csv(buffer)
    return buffer.getvalue().decode()


# --- statistics


def test_statistics_equal_torchs():
    pe = embedding()
    result = layernorm(pe)

    for source, row in zip(pe.norms, result.rows):
        gamma = torch.tensor(source.weight)
        assert (row.layer, row.name) == (source.layer, source.name)
        assert row.weight["mean"] == pytest.approx(float(gamma.mean()), rel=ROUNDING)
        assert row.weight["std"] == pytest.approx(float(gamma.std(correction=0)), rel=ROUNDING)
        assert row.weight["l2"] == pytest.approx(float(gamma.norm()), rel=ROUNDING)
        assert (row.weight["min"], row.weight["max"]) == (gamma.min(), gamma.max())
        assert row.bias["mean"] == pytest.approx(float(torch.tensor(source.bias).mean()), rel=1e-5)


def test_near_zero_counts_channels_under_the_threshold():
    lone = LayerNormParams(
        "blocks.0", "norm1", np.array([1, 0.009, -0.009, 0.02]), np.zeros(4), 1e-6
    )
    pe = replace(embedding(), norms=(lone,))

    assert layernorm(pe).rows[0].weight["fraction_near_zero"] == 0.5
    assert layernorm(pe, near_zero=0.05).rows[0].weight["fraction_near_zero"] == 0.75
    assert layernorm(pe).rows[0].bias["fraction_near_zero"] == 1


def test_each_norm_is_compared_with_its_own_name_one_layer_before():
    pe = embedding()
    gammas = {(n.layer, n.name): torch.tensor(n.weight) for n in pe.norms}

    for row in layernorm(pe).rows:
        index = int(row.layer.removeprefix("blocks.") or 0) if row.layer else 0
        before = gammas.get((f"blocks.{index - 1}", row.name))
        if before is None:
            assert np.isnan(row.cosine_to_previous_layer)
        else:
            expected = F.cosine_similarity(gammas[row.layer, row.name], before, dim=0)
            assert row.cosine_to_previous_layer == pytest.approx(float(expected), abs=ROUNDING)


def test_position_norms_are_compared_with_norm1_of_their_block_and_no_others_are():
    pe = embedding()
    gammas = {(n.layer, n.name): torch.tensor(n.weight) for n in pe.norms}

    for row in layernorm(pe).rows:
        if row.name != "pe_norm":
            assert np.isnan(row.cosine_to_norm1)
            continue
        expected = F.cosine_similarity(
            gammas[row.layer, "pe_norm"], gammas[row.layer, "norm1"], dim=0
        )
        assert row.cosine_to_norm1 == pytest.approx(float(expected), abs=ROUNDING)


def test_norms_of_another_width_or_another_kind_of_layer_are_not_compared():
    norms = (
        norm("layers.0.blocks.0", "norm1", width=4),
        norm("layers.1.blocks.0", "norm1", width=8),
        norm("layers.1.blocks.1", "norm1", width=8),
        norm("layers.1.downsample", "norm", width=8),
        norm("", "norm", width=8),
    )
    rows = layernorm(replace(embedding(), norms=norms)).rows

    assert [np.isnan(row.cosine_to_previous_layer) for row in rows] == [
        True, True, False, True, True,
    ]  # fmt: skip


def test_a_zero_weight_has_no_cosine():
    dead = LayerNormParams("blocks.1", "norm1", np.zeros(WIDTH), np.zeros(WIDTH), 1e-6)
    rows = layernorm(replace(embedding(), norms=(norm("blocks.0", "norm1"), dead))).rows

    assert np.isnan(rows[1].cosine_to_previous_layer)


def test_values_that_are_not_finite_are_left_out_and_said():
    broken = LayerNormParams(
        "blocks.1", "norm1", np.array([np.nan, 1, 3]), np.array([np.inf, 0, 0]), 1e-6
    )
    result = layernorm(replace(embedding(), norms=(broken,)))

    assert result.rows[0].weight["mean"] == 2
    assert any("blocks.1.norm1 holds 2 values that are not finite" in note for note in result.notes)


# --- the table


def test_the_csv_has_the_contracts_columns_and_one_row_a_norm():
    text = csv_of(layernorm(embedding()))

    assert text.splitlines()[0] == HEADER
    assert len(text.splitlines()) == 1 + 3 * DEPTH + 1
    assert text.endswith("\n")
    assert "nan" not in text


def test_what_does_not_exist_is_an_empty_cell():
    rows = list(csv.DictReader(io.StringIO(csv_of(layernorm(embedding("input", rms=True))))))

    assert rows[0]["bias_mean"] == rows[0]["bias_fraction_near_zero"] == ""
    assert rows[0]["cosine_to_previous_layer"] == ""
    assert rows[2]["cosine_to_previous_layer"] != ""
    assert {row["cosine_to_norm1"] for row in rows} == {""}


def test_numbers_survive_the_csv_as_float32():
    result = layernorm(embedding())
    rows = list(csv.DictReader(io.StringIO(csv_of(result))))

    for row, cells in zip(result.rows, rows):
        assert np.float32(cells["weight_max"]) == np.float32(row.weight["max"])


def test_the_frame_has_the_same_columns():
    frame = layernorm(embedding()).to_frame()

    assert ",".join(frame.columns) == HEADER
    assert len(frame) == 3 * DEPTH + 1


# --- the decomposition


def variants_by_torch(table, gamma, beta, eps=1e-6):
    """LaPE's Table 8, from its text."""
    table, gamma, beta = (torch.tensor(x) for x in (table, gamma, beta))
    standard = F.layer_norm(table, (table.shape[-1],), eps=eps)
    return {
        "ω": table,
        "γ⊙ω": gamma * table,
        "γ⊙ω+β": gamma * table + beta,
        "Norm(ω)": standard,
        "γ⊙Norm(ω)": gamma * standard,
        "γ⊙Norm(ω)+β": F.layer_norm(table, (table.shape[-1],), gamma, beta, eps),
    }


def cosine_map(rows):
    return F.cosine_similarity(rows[:, None], rows[None], dim=-1)


def check(part, table, source):
    expected = variants_by_torch(table, source.weight, source.bias)
    full = cosine_map(expected["γ⊙Norm(ω)+β"][1:])
    others = ~torch.eye(15, dtype=torch.bool)
    assert [variant.name for variant in part.variants] == list(expected)
    for variant in part.variants:
        rows = expected[variant.name][1:]
        grid, own = rows.reshape(3, 5, -1), cosine_map(rows)
        beside = torch.cat([
            F.cosine_similarity(grid[1:], grid[:-1], dim=-1).ravel(),
            F.cosine_similarity(grid[:, 1:], grid[:, :-1], dim=-1).ravel(),
        ])  # fmt: skip
        distance = (own - full)[others].square().mean().sqrt()
        assert variant.scale == pytest.approx(float(rows.std(-1, correction=0).mean()), rel=1e-5)
        assert variant.mean_cosine == pytest.approx(float(own[others].mean()), abs=1e-5)
        assert variant.neighbour_cosine == pytest.approx(float(beside.mean()), abs=1e-5)
        assert variant.distance_to_full == pytest.approx(float(distance), abs=1e-5)
    return expected["γ⊙Norm(ω)+β"].numpy()


def test_lapes_layers_decompose_what_the_layer_before_gave():
    pe = embedding("lape")
    parts = layernorm(pe).decompositions
    table = pe.tables[0].values

    assert [part.norm for part in parts] == [f"blocks.{i}.pe_norm" for i in range(DEPTH)]
    assert {part.notion for part in parts} == {"joined"}
    for part, source in zip(parts, pe.norms_named("pe_norm").values()):
        table = check(part, table, source)


@pytest.mark.parametrize(("join", "tables"), [("input", 1), ("share", 1), ("unshare", DEPTH)])
def test_other_joins_decompose_norm1_on_the_stored_table_and_call_it_a_proxy(join, tables):
    pe = embedding(join, tables=tables)
    result = layernorm(pe)

    assert {part.notion for part in result.decompositions} == {"proxy"}
    assert any("a proxy" in note for note in result.notes)
    for k, (part, source) in enumerate(
        zip(result.decompositions, pe.norms_named("norm1").values())
    ):
        check(part, pe.tables[min(k, tables - 1)].values, source)


def test_an_rms_norm_has_no_beta_to_take_apart():
    part = layernorm(embedding("input", rms=True)).decompositions[0]

    assert [v.name for v in part.variants] == ["ω", "γ⊙ω", "Norm(ω)", "γ⊙Norm(ω)"]
    assert part.variants[-1].distance_to_full == 0


def test_ln_eps_changes_what_the_norm_makes_of_a_small_table():
    pe = embedding("input")
    small = replace(pe, tables=(replace(pe.tables[0], values=pe.tables[0].values * 1e-3),))

    scale, eased = (
        layernorm(small, ln_eps=eps).decompositions[0].variants[3].scale for eps in (1e-12, 1e-5)
    )

    assert scale == pytest.approx(1, abs=1e-3)
    assert eased < 0.1


def test_a_bias_keeps_its_norm_statistics_and_says_why_nothing_is_taken_apart():
    table = LayerPE("blocks.0", np.zeros((2, 15, 15)), GRID)
    norms = (norm("blocks.0", "norm1"), norm("blocks.0", "attn.pe_norm", width=15))
    pe = PositionEmbedding("relative_bias", "bias", "layer", (table,), norms, depth=1)

    result = layernorm(pe)

    assert result.decompositions == ()
    assert len(result.rows) == 2
    assert np.isnan(result.rows[1].cosine_to_norm1)
    assert any("on the bias of each query, not on rows" in note for note in result.notes)
    plain = layernorm(replace(pe, norms=norms[:1]))
    assert any("acts on rows of its table (bias), so there" in note for note in plain.notes)


def test_a_large_grid_says_that_its_cosines_are_sampled():
    values = np.random.default_rng(0).standard_normal((20 * 60, WIDTH))
    pe = replace(embedding("input"), tables=(LayerPE("input", values, (20, 60)),))

    assert any("evenly spread" in note for note in layernorm(pe).notes)


def test_the_decomposition_is_also_a_frame():
    frame = layernorm(embedding()).decomposition_frame()

    assert list(frame.columns) == [
        "layer", "norm", "notion",
        "name", "scale", "mean_cosine", "neighbour_cosine", "distance_to_full", "distance_error",
    ]  # fmt: skip
    assert len(frame) == DEPTH * 6


# --- the result


def test_the_summary_averages_by_name_and_counts_norms():
    pe = embedding()
    summary = layernorm(pe).summary()

    means = [n.weight.mean() for n in pe.norms_named("norm1").values()]
    assert summary["num_norms"] == 3 * DEPTH + 1
    assert summary["norm1_weight_mean"] == pytest.approx(np.mean(means), rel=1e-5)
    assert {"pe_norm_cosine_to_norm1", "scale_before", "scale_after"} <= set(summary)
    assert all(isinstance(value, float) for value in summary.values())


def test_weights_of_a_pyramid_are_padded():
    norms = (norm("layers.0.blocks.0", "norm1", width=4), norm("layers.1.blocks.0", "norm1"))
    weights = layernorm(replace(embedding(), norms=norms)).weights("norm1")

    assert weights.shape == (2, WIDTH)
    assert np.isnan(weights[0, 4:]).all()
    assert np.isfinite(weights[1]).all()


def test_a_checkpoint_without_norms_is_refused():
    with pytest.raises(UsageError, match=r"No LayerNorm in this checkpoint \(a\.npy\)") as caught:
        layernorm(replace(embedding(), norms=(), source="a.npy"))
    assert caught.value.exit_code == 2


def test_a_threshold_that_is_not_positive_is_refused():
    with pytest.raises(UsageError, match=r"near_zero is 0.0; it must be positive"):
        layernorm(embedding(), near_zero=0.0)


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_a_row_that_is_not_finite_is_left_out_of_the_measures(value):
    pe = embedding()
    table = pe.tables[0].values.copy()
    table[3] = value
    parts = layernorm(replace(pe, tables=(replace(pe.tables[0], values=table),))).decompositions

    expected = np.delete(pe.tables[0].values, 3, axis=0)[1:].std(axis=1).mean()
    assert parts[0].variants[0].scale == pytest.approx(expected, rel=1e-5)
    assert all(np.isfinite(variant.mean_cosine) for part in parts for variant in part.variants)


def test_the_cosine_with_an_infinite_weight_is_undefined():
    pe = embedding()
    weight = pe.norms[0].weight.copy()
    weight[0] = np.inf
    result = layernorm(replace(pe, norms=(replace(pe.norms[0], weight=weight), *pe.norms[1:])))

    assert np.isnan(result.rows[0].cosine_to_norm1)


def test_a_constant_table_is_noted():
    pe = embedding()
    constant = replace(pe.tables[0], values=np.full((16, WIDTH), 0.3))
    notes = layernorm(replace(pe, tables=(constant,))).notes

    assert "input: all rows are equal, so every norm gives equal rows again" in notes
