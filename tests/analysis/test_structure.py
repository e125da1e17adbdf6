"""The question `structure`: rows, baselines, reasons, rotations, heads, files."""

from __future__ import annotations

import io
import math
from dataclasses import replace

import numpy as np
import pytest
from analysis.made import dinov2, strong, vectors
from scipy.fft import dctn

import pe_inspect
from pe_inspect.analysis.structure import structure
from pe_inspect.analysis.structure.indices import COLUMNS
from pe_inspect.analysis.structure.table_pictures import row_norms, wave_energy
from pe_inspect.errors import UsageError
from pe_inspect.kinds.all_kinds import KINDS
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding

GRID = (3, 4)
PATCHES = 12


def rand(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def bias_by_offset(heads=2, grid=GRID, seed=0):
    table = rand(heads, 2 * grid[0] - 1, 2 * grid[1] - 1, seed=seed)
    y, x = np.indices(grid).reshape(2, -1)
    down, right = y[None] - y[:, None] + grid[0] - 1, x[None] - x[:, None] + grid[1] - 1
    return table[:, down, right]


def turning(frequencies, grid=GRID):
    """Angles that are linear in the place: frequencies (heads, angles, axes), radians a patch."""
    places = np.stack(np.indices(grid), axis=-1).reshape(-1, 2)
    return np.einsum("hax,nx->hna", np.asarray(frequencies, float), places)


@pytest.fixture
def made(per_layer, table_of):
    """An embedding of each kind."""
    relative = [rand(5, 6), rand(7, 6, seed=1)]
    return {
        "vectors": vectors(GRID, channels=6),
        "bias": per_layer("bias", [bias_by_offset(), bias_by_offset(seed=1)], GRID),
        "phases": per_layer("phases", [turning(rand(2, 4, 2))], GRID),
        "relative": per_layer("relative", relative, GRID, names=["blocks.0"] * 2, parts=["y", "x"]),
        "response": per_layer("function", [rand(PATCHES, 6)], GRID),
        "computed_bias": per_layer("function", [bias_by_offset()], GRID),
    }


def test_every_kind_is_answered(made):
    assert set(made) == {kind.name for kind in KINDS}
    for name, pe in made.items():
        result = structure(pe)
        assert result.rows()[0]["layer"] == "stored", name
        assert list(result.to_frame().columns) == ["layer", *COLUMNS], name
        assert result.finding.endswith("."), name
        told = set(result.missing["stored"])
        assert {k for k, v in result.rows()[0].items() if v != v} == told, name


def test_the_columns_are_the_contract_s():
    assert COLUMNS == (
        "ssdc_l1", "ssdc_l2", "translation_share", "half_radius", "monotone_share", "mirror_x",
        "mirror_y", "transpose", "row_share", "column_share", "interaction_share", "effective_rank",
    )  # fmt: skip


def test_the_first_row_is_of_the_stored_table_and_the_others_are_of_what_layers_receive(vectors):
    from pe_inspect.kinds.affinity import cosines
    from pe_inspect.kinds.tables_by_layer import received

    pe = vectors(join="lape", grid=(3, 5), depth=3)
    tables = [pe.tables[0], *received(pe)]

    rows = structure(pe).all_rows

    assert [row.name for row in rows] == ["stored", "blocks.0", "blocks.1", "blocks.2"]
    for row, table in zip(rows, tables):
        own = np.diagonal(cosines(table.patches).map(None)[:, 1:])  # each with the next
        assert row.indices.of_table.effective_rank > 1
        assert row.profile.shape == (5, 9)
        assert own.size == 14


def test_baselines_stand_beside_every_index_of_a_table():
    result = structure(vectors((5, 6), channels=16))
    rows = {row["table"]: row for row in result.baseline_rows()}

    assert list(rows) == ["stored", "shuffled", "random", "sincos2d", "chance"]
    assert rows["shuffled"]["effective_rank"] == pytest.approx(rows["stored"]["effective_rank"])
    assert rows["sincos2d"]["interaction_share"] == pytest.approx(0, abs=1e-6)
    assert rows["chance"]["row_share"] == pytest.approx(4 / 29)
    assert rows["chance"]["translation_share"] == pytest.approx((49 - 1) / (435 - 1))


def test_chance_is_what_random_tables_have_on_average():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(40):
        table = LayerPE("input", rng.normal(size=(12, 6)), GRID)
        result = structure(PositionEmbedding("made_up", "vectors", "none", (table,)))
        found.append([result.rows()[0][name] for name in result.floors])

    assert np.mean(found, axis=0) == pytest.approx(list(result.floors.values()), abs=0.04)


@pytest.mark.parametrize("kind", ["bias", "phases", "relative", "computed_bias"])
def test_what_the_form_decides_is_said_and_is_no_finding(made, kind):
    result = structure(made[kind])

    assert result.rows()[0]["translation_share"] == pytest.approx(1, abs=1e-5)
    assert set(result.decided) == {"translation_share"}
    assert any("translation_share: 1 by construction" in note for note in result.notes)
    assert "offset explains" not in result.finding


def test_a_bias_that_is_no_function_of_the_offset_is_a_finding(per_layer):
    result = structure(per_layer("bias", [rand(2, PATCHES, PATCHES)], GRID))
    assert result.decided == {}
    assert "the offset explains" in result.finding


@pytest.mark.parametrize("kind", ["bias", "phases", "relative", "computed_bias"])
def test_kinds_without_vectors_say_why_their_table_has_no_index(made, kind):
    reasons = structure(made[kind]).missing["stored"]
    assert {"row_share", "column_share", "interaction_share", "effective_rank"} <= set(reasons)
    assert "no vector a patch" in reasons["effective_rank"]


BAD = {
    "constant": (np.full((12, 5), 0.3), GRID, "all pairs of patches have one affinity"),
    "zero": (np.zeros((12, 5)), GRID, "no two patches have a defined affinity"),
    "nan": (np.full((12, 5), np.nan), GRID, "no two patches have a defined affinity"),
    "one patch": (rand(1, 5), (1, 1), "the grid has one patch"),
}


@pytest.mark.parametrize(("values", "grid", "reason"), BAD.values(), ids=list(BAD))
def test_a_table_without_structure_has_no_number_and_a_reason(table_of, values, grid, reason):
    result = structure(table_of(values, grid))

    numbers = result.summary()
    assert all(map(math.isnan, numbers.values())), numbers
    assert result.missing["stored"]["ssdc_l1"] == reason
    assert any(reason in note for note in result.notes)
    assert "nan" not in result.finding


@pytest.mark.parametrize("grid", [(1, 12), (12, 1)])
def test_one_row_or_column_says_what_it_lacks(table_of, grid):
    reasons = structure(table_of(rand(12, 5), grid)).missing["stored"]
    lacking = {"row_share", "column_share", "interaction_share"}
    lacking |= {"transpose", "mirror_x", "mirror_y"}
    assert {k for k, why in reasons.items() if "one row or one column" in why} == lacking


def test_steps_and_ranks_that_could_not_be_otherwise_are_missing(table_of):
    small = structure(table_of(rand(4, 5), (2, 2))).missing["stored"]
    narrow = structure(table_of(rand(12, 1), GRID)).missing["stored"]

    assert small["monotone_share"] == "every step outward starts at the patch itself"
    assert narrow["effective_rank"] == "there could be one direction only"


def test_rows_that_are_not_finite_are_left_out_and_counted(table_of):
    values = rand(12, 5)
    values[[3, 7]] = np.nan
    result = structure(table_of(values, GRID))

    assert result.missing["stored"]["row_share"] == "2 of 12 rows are not finite"
    assert any("2 of 12 patches have no affinity" in note for note in result.notes)
    assert np.isfinite(result.rows()[0]["ssdc_l1"])


def test_one_layer_has_no_hierarchy_and_the_floor_of_a_small_grid_is_said(table_of):
    result = structure(table_of(rand(12, 5), GRID))
    assert math.isnan(result.hierarchy)
    assert any("On a 3×4 grid the offset explains 24.6" in note for note in result.notes)


def test_frames_have_an_axis_of_their_own():
    table = LayerPE("input", rand(25, 6), (2, 3, 4), 1)
    result = structure(PositionEmbedding("made_up", "vectors", "none", (table,)))

    (row, *_) = result.rows()
    shares = row["row_share"] + row["column_share"] + row["time_share"]
    assert shares + row["interaction_share"] == pytest.approx(1)
    assert result.arrays()["offset_profile"].shape == (2, 5, 3, 7)
    assert "frames" in result.finding


def test_frequencies_are_the_steps_of_the_angles(per_layer):
    frequencies = rand(2, 5, 2)
    result = structure(per_layer("phases", [turning(frequencies)], GRID))
    (rotation,) = result.rotations

    assert rotation.frequencies == pytest.approx(frequencies, abs=1e-5)
    expected = np.abs(frequencies) * GRID / (2 * np.pi)
    assert rotation.cycles == pytest.approx(expected, abs=1e-5)
    assert result.summary()["cycles"] == pytest.approx(expected.max(), abs=1e-5)


def test_angles_beyond_half_a_turn_a_patch_are_aliased(per_layer):
    frequencies = [[[3.2, 0], [0, 3.0], [0.1, -3.3], [0.2, 0.3]]]
    result = structure(per_layer("phases", [turning(frequencies)], GRID))

    assert result.rotations[0].is_aliased.tolist() == [[True, False, True, False]]
    assert result.summary()["aliased_share"] == 0.5


@pytest.mark.parametrize(
    ("directions", "expected"),
    [
        ([[1, 0], [2, 0], [-3, 0]], 1.0),
        ([[1, 0], [0, 1]], 0.0),  # the axes alike
        ([[1, 1], [-1, -1], [1, 1], [0, 0]], 1.0),  # what does not turn has no direction
    ],
)
def test_anisotropy_is_the_length_of_the_mean_doubled_direction(per_layer, directions, expected):
    result = structure(per_layer("phases", [turning([directions])], GRID))
    assert result.rotations[0].anisotropy == pytest.approx([expected], abs=1e-6)


def test_angles_that_are_no_function_of_the_place_have_no_frequency(per_layer):
    result = structure(per_layer("phases", [rand(1, PATCHES, 4)], GRID))
    assert not result.rotations[0].is_linear
    assert any("no linear function of the place" in note for note in result.notes)
    assert "cycles" not in result.summary()


def test_a_head_leans_to_the_side_that_it_prefers(per_layer):
    y, x = np.indices(GRID).reshape(2, -1)
    right = np.sign(x[None] - x[:, None]).astype(np.float32)
    up = -np.sign(y[None] - y[:, None]).astype(np.float32)
    (heads,) = structure(per_layer("bias", [np.stack([right, up])], GRID)).heads

    assert heads.lean[0, 1] > 2 > abs(heads.lean[0, 0])
    assert heads.lean[1, 0] < -2 < abs(heads.lean[1, 1])


def test_the_profile_by_distance_is_the_mean_over_pairs_as_far_apart(per_layer):
    values = bias_by_offset()
    (heads,) = structure(per_layer("bias", [values], GRID)).heads
    y, x = np.indices(GRID).reshape(2, -1)
    apart = np.hypot(y[None] - y[:, None], x[None] - x[:, None])

    for distance, mean in zip(heads.distances, heads.by_distance[1]):
        assert mean == pytest.approx(values[1][np.isclose(apart, distance)].mean(), abs=1e-5)


def test_waves_and_lengths_are_those_of_the_table():
    table = rand(12, 5)
    waves = dctn((table - table.mean(0)).reshape(3, 4, 5).astype(float), axes=(0, 1), norm="ortho")
    energy = (waves**2).sum(-1)

    assert wave_energy(table, GRID) == pytest.approx(energy / energy.sum(), abs=1e-6)
    assert row_norms(table, GRID).ravel() == pytest.approx(np.linalg.norm(table, axis=1))


def test_the_file_has_the_contract_s_keys(made, tmp_path):
    for name, pe in made.items():
        result = structure(pe)
        file = io.BytesIO()
        result.save_npz(file)
        file.seek(0)
        arrays = np.load(file)
        rows = len(result.rows())
        assert arrays["offset_profile"].shape == (rows, 5, 7), name
        assert len(arrays["pca_spectrum"]) == len(arrays["pca_maps"]) == rows, name


def test_stages_on_grids_of_their_own_are_told_apart():
    tables = tuple(
        LayerPE(f"blocks.{k}", bias_by_offset(grid=grid), grid)
        for k, grid in enumerate([(3, 4), (2, 3)])
    )
    result = structure(PositionEmbedding("made_up", "bias", "layer", tables))

    assert {"offset_profile/stage0", "offset_profile/stage1"} <= set(result.arrays())
    assert math.isnan(result.hierarchy)


def test_numbers_of_one_strong_channel_on_an_oblong_grid_are_those_of_their_definition():
    pe = strong((5, 3))
    numbers, patches = structure(pe).summary(), pe.tables[0].patches.astype(np.float64)
    centred = (patches - patches.mean(0)).reshape(5, 3, -1)
    whole = (centred**2).sum()

    assert numbers["row_share"] == pytest.approx(3 * (centred.mean(1) ** 2).sum() / whole, rel=1e-5)
    assert numbers["column_share"] == pytest.approx(
        5 * (centred.mean(0) ** 2).sum() / whole, rel=1e-5
    )


def test_real_weights_have_a_sentence_with_their_numbers():
    result = structure(dinov2())
    assert "affinity and nearness correlate at 0.66 (rows shuffled" in result.finding
    assert "its effective rank is 14.7 (random 33" in result.finding
    assert result.hierarchy == pytest.approx(0.1133, abs=1e-3)


def test_another_size_is_asked_of_rotations_alone(table_of):
    with pytest.raises(UsageError, match="asked of rotations, and learned_abs"):
        structure(table_of(rand(12, 5), GRID), grid=(6, 8))


def test_a_rotation_on_another_grid_is_that_of_its_own_rule():
    pe = pe_inspect.extract("checkpoints/zoo-rope-axial")[0]
    result = structure(pe, grid=(16, 16))
    own, other = result.rotations[0], result.rotations_at_target[0]

    assert other.sides == (16, 16)
    turns = result.summary()
    assert turns["cycles_at_target"] == pytest.approx(other.cycles.max())
    assert other.frequencies == pytest.approx(own.frequencies, abs=1e-5)  # axial: by the patch
    assert turns["cycles_at_target"] == pytest.approx(2 * turns["cycles"], rel=1e-5)


def test_a_table_that_a_rule_computes_says_so(vectors):
    from pe_inspect.kinds.parts import FamilyFacts

    pe = replace(vectors(), facts=FamilyFacts(begins="rule"), num_parameters=0)
    assert any("A rule computes the stored table" in note for note in structure(pe).notes)
