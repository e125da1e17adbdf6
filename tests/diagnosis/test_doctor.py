"""What the doctor finds in an embedding's arrays, and what it leaves alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from closeness import ROUNDING
from diagnosis.doctored import codes, pe_of, structured
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm as normal
from timm.layers import build_sincos2d_pos_embed

from pe_inspect.diagnosis.checks import Check, checks, checks_of
from pe_inspect.diagnosis.doctor import checked_codes, doctor, doctor_by_table
from pe_inspect.diagnosis.neighbours import neighbours, spectral_excess
from pe_inspect.errors import UsageError
from pe_inspect.families import extract
from pe_inspect.finding import Finding
from pe_inspect.kinds.position_embedding import LayerNormParams, LayerPE, PositionEmbedding
from pe_inspect.loading.checkpoint import Checkpoint, Hints


def noise(grid, width=48, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(0, 0.02, (grid[0] * grid[1], width)).astype(np.float32)


def swin(tables, window):
    """Biases by offset, as a file's lookup."""
    from pe_inspect.families.reading.bias import offset_index
    from pe_inspect.kinds.held_values import Lookup

    index = offset_index(window)
    layers = tuple(
        LayerPE.from_lookup(f"layers.0.blocks.{i}", Lookup(table.T, index), window)
        for i, table in enumerate(tables)
    )
    size = sum(table.size for table in tables)
    keys = tuple(f"layers.0.blocks.{i}.table" for i in range(len(tables)))
    return PositionEmbedding(
        "relative_bias", "bias", "layer", layers, keys=keys, num_parameters=size
    )


# Neighbours


def test_morans_i_is_the_mean_product_of_neighbours():
    grid, rows = (3, 5), noise((3, 5), 4).astype(np.float64)
    centred = rows - rows.mean(0)
    field = centred.reshape(3, 5, 4)
    pairs = [field[i, j] @ field[i + 1, j] for i in range(2) for j in range(5)]
    pairs += [field[i, j] @ field[i, j + 1] for i in range(3) for j in range(4)]
    expected = np.mean(pairs) / np.mean(np.square(centred).sum(1))
    assert neighbours(rows.astype(np.float32), grid).correlation == pytest.approx(
        expected, abs=ROUNDING
    )


def test_its_distance_from_chance_is_that_of_shuffled_rows():
    grid, rows = (4, 5), structured((4, 5), 6, noise=1.0)
    random = np.random.default_rng(1)
    shuffled = [neighbours(rows[random.permutation(20)], grid).correlation for _ in range(4000)]
    found = neighbours(rows, grid)
    z = (found.correlation - np.mean(shuffled)) / np.std(shuffled)
    assert found.z == pytest.approx(z, rel=0.05)
    assert found.p_value == pytest.approx(normal.sf(found.z), rel=1e-9)


def test_untrained_tables_give_a_standard_normal_distance():
    z = [neighbours(noise((5, 7), 8, seed), (5, 7)).z for seed in range(400)]
    assert abs(np.mean(z)) < 0.2
    assert 0.9 < np.std(z) < 1.1


def test_the_largest_eigenvalue_of_noise_is_at_its_edge():
    assert spectral_excess(noise((12, 16), 96)) == pytest.approx(1.0, abs=0.1)
    assert spectral_excess(structured((12, 16), 96)) > 5
    assert np.isnan(spectral_excess(np.zeros((12, 4), np.float32)))


def test_one_large_entry_is_not_structure():
    table = noise((12, 16), 96)
    table[100, 3] = 2.0  # what truncated normals are clamped to now and then
    assert spectral_excess(table) == pytest.approx(1.0, abs=0.1)
    assert codes(pe_of(table, (12, 16))) == ["untrained"]


# Healthy tables


@pytest.mark.parametrize("grid", [(14, 14), (12, 16), (5, 7), (7, 9), (24, 18)])
@pytest.mark.parametrize("level", [0.0, 0.1, 0.5, 1.0])
def test_a_trained_table_is_healthy(grid, level):
    assert codes(pe_of(structured(grid, 96, level), grid)) == []


@pytest.mark.parametrize("grid", [(14, 14), (12, 16)])
def test_sines_and_cosines_are_healthy(grid):
    table = build_sincos2d_pos_embed(list(grid), dim=96).numpy()
    table = np.concatenate([np.zeros((1, 96), np.float32), table])
    found = doctor(pe_of(table, grid, prefix=1, learned=False))
    assert found.healthy
    assert found.notes == ("prefix row 0 is zero: that token has no position of its own",)


def test_a_half_that_encodes_an_axis_is_named():
    y, x = (axis.reshape(-1, 1) for axis in np.indices((5, 7)))
    rates = np.linspace(0.1, 1, 8)
    halves = [np.sin(x * rates), np.cos(y * rates)]
    found = doctor(pe_of(np.concatenate(halves, 1).astype(np.float32), (5, 7), learned=False))
    assert found.notes == (
        "the first half of the channels encodes x (columns), the second y (rows)",
    )
    assert doctor(pe_of(structured((5, 7)), (5, 7))).notes == ()


def test_a_table_that_was_resampled_and_trained_again_is_healthy():
    table = resample(structured((7, 9)), (7, 9), (10, 14))
    random = np.random.default_rng(0)
    trained = table + 0.1 * table.std() * random.normal(size=table.shape).astype(np.float32)
    assert codes(pe_of(trained, (10, 14))) == []


def test_trained_biases_are_healthy():
    tables = [structured((7, 9), 3, seed=i) for i in range(4)]
    assert codes(swin(tables, (4, 5))) == []


# Not finite, constant, duplicated


def test_values_that_are_not_finite_are_counted_and_placed():
    table = structured((3, 4))
    table[5, 2], table[7, 1] = np.nan, np.inf
    (finding,) = doctor(pe_of(table, (3, 4))).findings
    assert (finding.code, finding.severity) == ("non-finite", "error")
    assert finding.message == (
        "1 NaN and 1 infinite values in pos_embed (the first: pos_embed[5, 2])."
    )
    assert finding.evidence["nan"] == 1


def test_a_norm_that_is_not_finite_is_named():
    weight = np.ones(8, np.float32)
    weight[3] = np.nan
    bad = LayerNormParams("blocks.3", "norm1", weight, weight, 1e-6)
    (finding,) = doctor(pe_of(structured((3, 4)), (3, 4), norms=[bad])).findings
    assert finding.message.startswith("2 NaN and 0 infinite values in blocks.3.norm1.weight, ")


@pytest.mark.parametrize("finite", [0, 1])
def test_a_table_without_two_finite_rows_is_not_said_to_be_constant(finite):
    table = structured((3, 4))
    table[finite:] = np.nan
    assert codes(pe_of(table, (3, 4))) == ["non-finite"]


def test_values_near_the_largest_of_float32_are_examined_as_any_others():
    signs = np.random.default_rng(0).choice([-1, 1], size=(12, 8))
    (finding,) = doctor(pe_of((signs * 3.3e38).astype(np.float32), (3, 4))).findings
    assert finding.code == "untrained"
    assert finding.evidence["std"] == pytest.approx(3.3e38, rel=0.1)


def test_a_table_of_zeros_tells_nothing():
    found = doctor(pe_of(np.zeros((12, 8), np.float32), (3, 4))).findings
    assert [f.code for f in found] == ["constant"]
    assert found[0].message == "pos_embed is zero everywhere."
    assert "given to the optimiser" in found[0].mend


def test_a_table_that_is_nearly_constant_tells_nothing():
    row = np.random.default_rng(0).normal(size=8)
    table = (row + 1e-5 * np.random.default_rng(1).normal(size=(12, 8))).astype(np.float32)
    (finding,) = (f for f in doctor(pe_of(table, (3, 4))).findings if f.code == "constant")
    assert "is the same at every place: places differ by" in finding.message
    assert finding.evidence["variation"] < finding.evidence["threshold"]


def test_biases_without_an_offset_are_named_by_block():
    tables = [structured((7, 9), 3, seed=i) for i in range(3)]
    tables[1] = np.zeros_like(tables[1])
    (finding,) = doctor(swin(tables, (4, 5))).findings
    assert finding.code == "constant"
    assert finding.where == "layers.0.blocks.1"


def test_equal_rows_are_found_as_nearest_makes_them():
    small = structured((3, 4))
    table = small.reshape(3, 4, -1).repeat(2, axis=0).repeat(2, axis=1).reshape(48, -1)
    (finding,) = doctor(pe_of(table, (6, 8))).findings
    assert finding.code == "duplicate-rows"
    assert finding.message == (
        "36 of the 48 patch rows of pos_embed repeat another one exactly "
        "(the first is that of row 0, column 0)."
    )


def test_layers_that_hold_copies_are_named():
    tables = [structured((3, 4), seed=i) for i in range(3)]
    found = doctor(pe_of([*tables, tables[1].copy()], (3, 4))).findings
    assert [f.code for f in found] == ["duplicate-layers"]
    assert found[0].where == "blocks.1, blocks.3"
    assert "2 layers of 4 hold the same learned_absolute table" in found[0].message


def test_a_table_that_blocks_share_is_no_copy():
    pe = swin([structured((7, 9), 3)], (4, 5))
    shared = tuple(LayerPE.from_lookup(f"blocks.{i}", pe.tables[0].held, (4, 5)) for i in range(3))
    assert codes(replace(pe, tables=shared)) == []


# Order


@pytest.mark.parametrize("seed", range(20))
def test_a_table_as_initialised_is_found(seed):
    (finding,) = doctor(pe_of(noise((5, 7), seed=seed), (5, 7))).findings
    assert finding.code == "untrained"
    assert finding.message.startswith(
        "Neighbours in pos_embed are no more alike than any two places: Moran's I "
    )
    assert finding.evidence["p_value"] >= finding.evidence["threshold"]
    assert finding.evidence["std"] == pytest.approx(0.02, rel=0.1)


def test_biases_as_initialised_are_found_over_all_layers_together():
    assert codes(swin([noise((7, 9), 3, i) for i in range(4)], (4, 5))) == ["untrained"]


def test_rows_in_another_order_are_told_from_noise():
    table = structured((12, 16), 96)
    shuffled = table[np.random.default_rng(0).permutation(192)]
    (finding,) = doctor(pe_of(shuffled, (12, 16))).findings
    assert finding.code == "scrambled"
    assert "and yet they vary together" in finding.message


@pytest.mark.parametrize("grid", [(12, 16), (5, 7), (10, 14)])
def test_exchanged_sides_are_found(grid):
    (finding,) = doctor(pe_of(structured(grid), grid[::-1])).findings
    assert finding.code == "axis-order"
    assert finding.evidence["smoothest_grid_size"] == list(grid)
    assert finding.mend == (
        f"pe-inspect doctor x.pth --grid-size {grid[0]}x{grid[1]} --num-prefix-tokens 0"
    )


def test_a_grid_that_mixes_rows_is_found():
    (finding,) = doctor(pe_of(structured((8, 8)), (4, 16))).findings
    assert finding.code == "other-grid"
    assert "was read as 4×16, and its values are smooth as 8×8" in finding.message


@settings(deadline=None, max_examples=40)
@given(st.integers(3, 14), st.integers(3, 14), st.integers(0, 99))
def test_the_true_grid_is_never_called_another(height, width, seed):
    pe = pe_of(structured((height, width), 64, 0.3, seed), (height, width))
    assert list(checks["grid-order"](pe)) == []


# Resampled


def resample(table, old, new, mode="bicubic", **options):
    field = torch.tensor(table.reshape(1, *old, -1)).permute(0, 3, 1, 2)
    made = torch.nn.functional.interpolate(field, size=new, mode=mode, **options)
    return made.permute(0, 2, 3, 1).reshape(new[0] * new[1], -1).contiguous().numpy()


MODES = [
    ("bicubic", {"align_corners": False}, "bicubic"),
    ("bicubic", {"align_corners": False, "antialias": True}, "bicubic-aa"),
    ("bilinear", {"align_corners": False}, "bilinear"),
    ("bicubic", {"align_corners": True}, "align-corners"),
]


@pytest.mark.parametrize("new", [(8, 11), (10, 14), (9, 13), (14, 20), (7, 18)])
@pytest.mark.parametrize(("mode", "options", "name"), MODES)
def test_upsampling_is_found_with_the_grid_that_it_came_from(new, mode, options, name):
    table = resample(structured((7, 9)), (7, 9), new, mode, **options)
    (finding,) = doctor(pe_of(table, new)).findings
    assert finding.code == "resampled"
    assert finding.evidence["from_grid_size"] == [7, 9]
    assert finding.evidence["method"] == name
    assert finding.evidence["outside"] < 1e-6


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_upsampling_is_found_after_rounding_too(kind):
    table = torch.tensor(resample(structured((7, 9)), (7, 9), (10, 14))).to(kind).float().numpy()
    (finding,) = doctor(pe_of(table, (10, 14))).findings
    assert finding.evidence["from_grid_size"] == [7, 9]


@pytest.mark.parametrize("new", [(5, 6), (6, 9), (7, 8)])
def test_downsampling_leaves_no_trace(new):
    assert codes(pe_of(resample(structured((7, 9)), (7, 9), new), new)) == []


def test_an_upsampled_bias_is_found():
    tables = [resample(structured((7, 9), 4, seed=i), (7, 9), (11, 13)) for i in range(2)]
    (finding,) = doctor(swin(tables, (6, 7))).findings
    assert finding.code == "resampled"
    assert "The 11×13 table of offsets of relative_bias is 7×9, resampled" in finding.message


# The result


def test_a_diagnosis_is_a_result_like_the_others():
    found = doctor(pe_of(np.zeros((12, 8), np.float32), (3, 4)))
    assert not found.healthy
    assert found.summary()["findings"] == 1.0
    assert found.summary()["constant"] == 1.0
    assert list(found.to_frame()["code"]) == ["constant"]
    assert set(found.parameters["checks"]) == {check.name for check in checks_of("embedding")}


@pytest.mark.parametrize(
    "pe",
    [
        pe_of(np.ones((1, 4), np.float32), (1, 1)),
        pe_of(np.ones((2, 1), np.float32), (1, 2)),
        pe_of(np.full((12, 3), np.nan, np.float32), (3, 4)),
        PositionEmbedding("rotary", "phases", "layer", ()),
    ],
    ids=["one patch", "two patches", "all NaN", "no tables"],
)
def test_degenerate_tables_do_not_stop_it(pe):
    assert isinstance(doctor(pe).summary(), dict)


def test_a_finding_belongs_to_the_check_that_declares_it():
    stray = Check("odd", "embedding", ("odd",), lambda pe: iter([Finding("even", "", "", "", "")]))
    with pytest.raises(ValueError, match=r"check 'odd' does not declare 'even'"):
        list(stray(pe_of(structured((3, 4)), (3, 4))))


def test_what_is_allowed_is_what_some_check_can_find():
    assert checked_codes(["scrambled", "axis-order"]) == {"scrambled", "axis-order"}
    assert checked_codes("scrambled") == {"scrambled"}
    with pytest.raises(UsageError, match="Did you mean 'scrambled'"):
        checked_codes(["scramble"])


def test_an_embedding_alone_has_no_file_to_compare():
    with pytest.raises(UsageError, match=r"was given an embedding alone\. Hand in the checkpoint"):
        doctor(pe_of(structured((3, 4)), (3, 4)), expect=13)


def test_every_embedding_of_a_file_is_told_what_is_wrong_with_the_file():
    half = structured((4, 4)).astype(np.float16).astype(np.float32)
    twice = np.concatenate([half[:15], half[:1]])  # two patches of one vector
    file = Checkpoint.from_state_dict({"pos_embed": twice}, hints=Hints(num_prefix_tokens=0))
    (found,) = doctor_by_table(file, extract(file))
    assert {"half-precision", "duplicate-rows"} <= {each.code for each in found.findings}
    assert {"half-precision", "duplicate-rows"} <= set(found.checks)
