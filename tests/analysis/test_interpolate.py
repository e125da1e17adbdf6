"""What `interpolate` answers, what it keeps, and what it refuses."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from analysis.made import GRID, vectors
from closeness import assert_close
from timm.layers import RelPosBias, resample_abs_pos_embed

from pe_inspect.analysis.interpolate import METHODS, interpolate
from pe_inspect.errors import UsageError
from pe_inspect.kinds.offsets import offset_table
from pe_inspect.kinds.parts import FamilyFacts
from pe_inspect.kinds.position_embedding import LayerNormParams, LayerPE, PositionEmbedding
from pe_inspect.resampling import target_grid as _target_grid
from pe_inspect.resampling.methods import methods


def timm_bias(window, prefix, seed=0):
    """timm's own module, with weights that do not depend on the window but by resizing."""
    torch.manual_seed(seed)
    module = RelPosBias(window, num_heads=2, prefix_tokens=prefix)
    torch.nn.init.normal_(module.relative_position_bias_table, std=0.2)
    return module


def bias(window=GRID, prefix=1, layer="blocks.{}", **fields):
    layers = tuple(
        LayerPE(
            layer.format(i),
            timm_bias(window, prefix, seed=i).get_bias()[0].detach().numpy(),
            window,
            prefix,
        )
        for i in range(2)
    )
    return PositionEmbedding("relative_bias", "bias", "layer", layers, **fields)


def refusal(pe, **request):
    with pytest.raises(UsageError) as caught:
        interpolate(pe, **request)
    assert caught.value.exit_code == 2
    return str(caught.value)


# --- values


@pytest.mark.parametrize("prefix", [0, 1, 2])
@pytest.mark.parametrize("target", [(5, 3), (7, 11), (2, 4)])
def test_values_equal_timm_and_prefix_rows_are_untouched(prefix, target):
    pe = vectors(prefix=prefix, tables=3)

    result = interpolate(pe, grid=target, method="timm")

    for table, found, kept in zip(pe.tables, result.values(), result.prefix):
        expected = resample_abs_pos_embed(
            torch.tensor(table.values)[None], list(target), list(GRID), num_prefix_tokens=prefix
        )[0].numpy()
        assert_close(np.concatenate([kept, found]), expected)
        np.testing.assert_array_equal(kept, table.values[:prefix])


def test_equal_token_counts_on_another_grid_are_resampled():
    # timm before 1.0.31 returned a 2×8 table unchanged for 4×4.
    pe = vectors(grid_size=(2, 8), prefix=0)

    result = interpolate(pe, grid=(4, 4))

    assert not np.allclose(result.values()[0], pe.tables[0].values)


@pytest.mark.parametrize("target", [(2, 2), (7, 7), (2, 3)])
def test_one_patch_becomes_equal_rows_by_every_method(target):
    pe = vectors(grid_size=(1, 1), prefix=1)

    result = interpolate(pe, grid=target, method="all")

    patch = pe.tables[0].values[1:]
    for method in set(result.methods) - {"muse"}:  # which fades to zero beyond the table's edge
        (found,) = result.values(method)
        expected = np.repeat(patch, target[0] * target[1], axis=0)
        assert_close(found, expected, operations=32)
    assert result.embedding().tables[0].grid_size == target


def test_the_same_grid_returns_the_table_to_the_last_bit():
    pe = vectors()

    result = interpolate(pe, grid=GRID, method="all")

    for method in result.methods:
        np.testing.assert_array_equal(result.values(method)[0], pe.tables[0].patches)
    assert result.summary()["round_trip_error"] == 0
    assert result.summary()["norm_ratio"] == pytest.approx(1)


def test_a_stretched_ramp_keeps_its_axes_apart():
    rows, columns = np.mgrid[:3, :5]
    ramp = np.stack([rows, columns], axis=-1).reshape(-1, 2)
    pe = PositionEmbedding("x", "vectors", "input", (LayerPE("input", ramp, GRID),))

    found = interpolate(pe, grid=(9, 5), method="bilinear").values()[0].reshape(9, 5, 2)

    assert_close(found[4], [[1, c] for c in range(5)])


@pytest.mark.parametrize("prefix", [0, 1])
def test_a_bias_is_resampled_as_a_table_of_offsets_and_its_cls_values_are_kept(prefix):
    pe, target = bias(prefix=prefix), (4, 7)

    result = interpolate(pe, grid=target, method="swin")

    for layer, found in enumerate(result.values()):
        old, new = timm_bias(GRID, prefix, seed=layer), timm_bias(target, prefix)
        learned = old.relative_position_bias_table.detach()
        extra = learned[len(learned) - 3 * prefix :]
        grid = learned[: len(learned) - 3 * prefix].T.reshape(1, 2, 5, 9)
        resized = torch.nn.functional.interpolate(grid, size=(7, 13), mode="bicubic")
        with torch.no_grad():
            rows = torch.cat([resized[0].flatten(1).T, extra])
            new.relative_position_bias_table.copy_(rows)
        assert_close(found, new.get_bias()[0].detach().numpy())


def test_the_offset_table_of_a_bias_expands_to_exactly_that_bias():
    for table in bias().tables:
        np.testing.assert_array_equal(offset_table(table).expanded(), table.values)


def test_a_bias_that_depends_on_more_than_the_offset_is_refused():
    values = np.random.default_rng(0).standard_normal((2, 15, 15))
    pe = PositionEmbedding("x", "bias", "layer", (LayerPE("blocks.0", values, GRID),))

    assert "blocks.0 is not a function of the offset" in refusal(pe, grid=(4, 4))


def test_layers_with_other_numbers_of_heads_are_padded_and_the_note_says_so():
    first, second = bias(prefix=0).tables
    wide = replace(second, values=np.concatenate([second.values] * 2))
    pe = PositionEmbedding("relative_bias", "bias", "layer", (first, wide))

    result = interpolate(pe, grid=(4, 2))

    assert result.values().shape == (2, 4, 8, 8)
    assert np.isnan(result.values()[0, 2:]).all()
    assert any("different numbers of heads" in note for note in result.notes)


def test_the_resampled_embedding_can_be_resampled_again():
    once = interpolate(vectors(tables=2), grid=(6, 10)).embedding()

    assert once.grid_size == (6, 10)
    assert interpolate(once, grid=GRID).values().shape == (2, 15, 6)


# --- what to resample to


def test_pixels_become_patches_by_the_checkpoints_patch_size():
    pe = vectors(patch_size=(16, 8))

    assert interpolate(pe, res=384).grid_size == (24, 48)
    assert interpolate(pe, res=(64, 96)).grid_size == (4, 12)
    assert interpolate(pe, res=64, patch_size=32).grid_size == (2, 2)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"res": 390}, "390 is no whole number of 16-pixel patches: the nearest are 384 and 400."),
        ({"res": (64, 70)}, "the nearest are 64 and 64x80."),
        ({"res": 8}, "--res 8 is smaller than one 16-pixel patch: the smallest is 16."),
        ({}, "No target size: pass --res 384 (pixels) or --grid 24x24 (patches)."),
        ({"res": 64, "grid": (3, 4)}, "--res 64 and --grid 3x4 were both given"),
        ({"grid": (0, 4)}, "--grid is 0x4; both sides must be at least 1."),
        ({"res": -16}, "--res is -16; both sides must be at least 1."),
        ({"grid": (2, 2), "method": "bicubc"}, "Unknown method 'bicubc'. Did you mean 'bicubic'"),
        ({"grid": (2, 2), "method": " , "}, "--method ' , ' names no method. `--method list`"),
    ],
)  # fmt: skip
def test_an_impossible_target_is_explained(request_, message):
    assert message in refusal(vectors(patch_size=(16, 16)), **request_)


def test_without_a_patch_size_pixels_are_refused_with_both_ways_out():
    message = refusal(vectors(), res=384)

    assert "--patch-size P" in message
    assert "--grid HxW" in message


def test_the_windows_of_a_pyramid_are_not_guessed_from_pixels():
    pe = bias(prefix=0, layer="layers.{}.blocks.0", patch_size=(4, 4))

    assert "pass the new size of the largest as --grid" in refusal(pe, res=384)
    assert interpolate(pe, grid=(4, 6)).grid_size == (4, 6)


def test_a_size_that_would_not_fit_into_memory_is_refused_before_any_work(monkeypatch):
    monkeypatch.setattr(_target_grid, "available_memory", lambda: 8 << 30)

    message = refusal(vectors(channels=192, patch_size=(16, 16)), res=160_000)

    assert message.startswith("A 10000×10000 grid would take ")
    assert "the bound is 4.0 GiB, half of what is free" in message


def test_available_memory_is_a_plausible_number(monkeypatch):
    assert 1 << 26 < _target_grid.available_memory() < 1 << 50
    monkeypatch.setattr(_target_grid, "Path", lambda _: (_ for _ in ()).throw(OSError()))
    assert 1 << 26 < _target_grid.available_memory() < 1 << 50


@pytest.mark.parametrize(
    ("kind", "shape", "message"),
    [
        ("relative", (3, 8), "blocks.0.y has 3 offsets whatever the grid (clipped)"),
        ("relative", (9, 8), "it reaches beyond the grid (HaloNet)"),
        ("function", (15, 8), "computed from the input"),
        ("function", (2, 15, 15), "computed from the offset for any window"),
    ],
)
def test_embeddings_without_a_table_by_position_are_refused(kind, shape, message):
    part = "y" if kind == "relative" else ""
    table = LayerPE("blocks.0", np.zeros(shape), GRID, part=part)
    pe = PositionEmbedding("x", kind, "layer", (table,))

    assert message in refusal(pe, grid=(4, 4))


def test_waves_in_units_of_the_image_are_not_said_to_come_from_the_input():
    table = LayerPE("input", np.zeros((15, 8)), GRID)
    facts = FamilyFacts(computed_from="places in units of the image")
    pe = PositionEmbedding("fourier", "function", "input", (table,), facts=facts)
    said = refusal(pe, grid=(4, 4))

    assert "computed from places in units of the image, so there is no table" in said


@pytest.mark.parametrize("method", ["bicubic,lst", "LIST", "bicubic,list"])
def test_an_unknown_method_is_told_where_all_are_listed(method):
    said = refusal(vectors(), grid=(4, 4), method=method)

    assert said.startswith("Unknown method ")
    assert said.endswith(" `--method list` prints what each does.")


# --- the result


def test_the_query_patch_is_followed_to_where_its_centre_lies():
    result = interpolate(vectors(prefix=0), grid=(6, 15))

    maps = result.query_maps((2, 1))

    assert (maps.token, maps.token_after) == ((2, 1), (5, 4))
    assert maps.before[2, 1] == pytest.approx(1)
    assert maps.after[5, 4] == pytest.approx(1)
    assert result.query_maps().token == (1, 2)


def test_the_query_map_of_a_bias_is_that_row_of_the_bias():
    pe = bias(prefix=1)

    maps = interpolate(pe, grid=(4, 7)).query_maps((0, 3), table=1)

    assert_close(maps.before.ravel(), pe.tables[1].patches[:, 3].mean(axis=0))


def test_a_query_outside_the_grid_is_refused_with_the_valid_range():
    result = interpolate(vectors(), grid=(4, 4))

    with pytest.raises(
        UsageError, match=r"--token 9,0 is outside the 3×5 grid: rows 0–2, columns 0–4"
    ):
        result.query_maps((9, 0))


def test_a_method_that_was_not_computed_is_refused():
    with pytest.raises(UsageError, match="'timm' was not computed; this result holds native"):
        interpolate(vectors(), grid=(4, 4)).values("timm")


@pytest.mark.parametrize("make", [vectors, bias])
def test_all_methods_come_with_the_chosen_one_first(make):
    result = interpolate(make(), grid=(4, 2), method="all")

    assert result.methods[0] == "native"
    skipped = (
        "levit",
        "sequence",
        "tiled",
        "sd3",
        "auraflow",
    )  # each refuses some tables
    assert set(result.methods) == {
        name for name in METHODS if result.pe.kind in methods[name].kinds and name not in skipped
    }
    assert any(note.startswith("native is ") for note in result.notes)
    frame = result.to_frame()
    assert len(frame) == len(result.methods) * len(result.pe.tables)
    assert frame["norm_ratio"].notna().all()


def test_saved_arrays_have_the_contracts_names_and_shapes():
    buffer = io.BytesIO()
    interpolate(vectors(tables=2), grid=(4, 2), method="bicubic,timm").save_npz(buffer)
    saved = np.load(io.BytesIO(buffer.getvalue()))

    shapes = {name: saved[name].shape for name in saved}
    assert shapes == {
        "values": (2, 8, 6), "prefix": (2, 1, 6), "grid_size": (2,), "methods": (2,),
        "values/bicubic": (2, 8, 6), "values/timm": (2, 8, 6),
    }  # fmt: skip
    assert list(saved["methods"]) == ["bicubic", "timm"]
    assert list(saved["grid_size"]) == [4, 2]
    np.testing.assert_array_equal(saved["values"], saved["values/bicubic"])


def test_saved_bias_keeps_its_prefix_rows_and_columns():
    buffer = io.BytesIO()
    interpolate(bias(prefix=1), grid=(4, 2)).save_npz(buffer)
    saved = np.load(io.BytesIO(buffer.getvalue()))

    assert saved["values"].shape == (2, 2, 9, 9)
    assert saved["prefix"].shape == (2, 2, 1, 9)


def test_notes_say_when_norms_follow_and_when_a_formula_would_do():
    norm = LayerNormParams("blocks.0", "attn.pe_norm", np.ones(15), np.zeros(15), 1e-5)
    normed = interpolate(bias(prefix=0, norms=(norm,)), grid=(4, 4))
    lape = interpolate(replace(vectors(), join="lape"), grid=(4, 4))
    fixed = interpolate(replace(vectors(), family="sinusoidal_2d"), grid=(4, 4))

    assert any("the stored bias was resampled" in note for note in normed.notes)
    assert any("before the norms of the layers" in note for note in lape.notes)
    assert any("LaPE's loader has it, and this is join=lape" in note for note in lape.notes)
    assert any("computed anew" in note for note in fixed.notes)


def test_a_large_grid_says_that_its_correlations_are_sampled():
    pe = vectors(grid_size=(40, 60), channels=3)

    assert any("evenly spread" in note for note in interpolate(pe, grid=(4, 4)).notes)
