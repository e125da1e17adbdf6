"""From rows to a grid: the ordinary reading is taken and noted, the rest has to be said."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families import extract
from pe_inspect.families.reading.grid import factor_pairs


def read(make, rows, **hints):
    state = make.deit(patch=(16, 16)) | {"pos_embed": make.rand(1, rows, 8)}
    return extract(make.checkpoint(state, **hints))[0]


def test_the_square_with_the_model_s_own_prefix_tokens_is_the_ordinary_reading(make):
    pe = read(make, 197)

    assert (pe.grid_size, pe.num_prefix_rows) == ((14, 14), 1)
    assert "grid 14×14 inferred from 196 patch rows" in pe.notes


def test_a_note_names_the_rectangle_that_fits_as_well(make):
    pe = read(make, 225)

    assert (pe.grid_size, pe.num_prefix_rows) == ((15, 15), 0)
    assert (
        "grid 15×15 inferred from 225 patch rows; 1 prefix + 14×16 would fit too "
        "(--grid-size, --num-prefix-tokens)" in pe.notes
    )


def test_flags_pick_the_other_reading(make):
    pe = read(make, 225, grid_size=(14, 16), num_prefix_tokens=1)

    assert (pe.grid_size, pe.num_prefix_rows) == ((14, 16), 1)
    assert "grid 14×16 from --grid-size" in pe.notes


def test_rows_without_a_square_list_every_reading_and_the_options_that_pick_one(make):
    message = (
        "pos_embed has 13 rows: 1 prefix + 3×4, 4×3, 2×6, 6×2, 1×12, or 0 + 1×13. "
        "Each is chosen by its flags: --grid-size 3x4, 4x3, 2x6, 6x2 or 1x12 with "
        "--num-prefix-tokens 1; --grid-size 1x13 with --num-prefix-tokens 0."
    )
    with pytest.raises(AmbiguousCheckpoint, match=re.escape(message)):
        read(make, 13)


def test_a_bare_table_does_not_say_whether_it_has_a_class_row(make):
    message = (
        "pos_embed has 197 rows: 1 prefix + 14×14, or 0 + 1×197. "
        "Each is chosen by its flags: --grid-size 14x14 with --num-prefix-tokens 1; --grid-size "
        "1x197 with --num-prefix-tokens 0."
    )
    with pytest.raises(AmbiguousCheckpoint, match=re.escape(message)):
        extract(make.checkpoint({"pos_embed": make.rand(1, 197, 8)}))


def test_either_flag_alone_settles_a_bare_table(make):
    state = {"pos_embed": make.rand(1, 197, 8)}

    for hints in ({"grid_size": (14, 14)}, {"num_prefix_tokens": 1}):
        (pe,) = extract(make.checkpoint(state, **hints))
        assert (pe.grid_size, pe.num_prefix_rows, pe.num_prefix_tokens) == ((14, 14), 1, 1)


def test_the_image_size_and_the_patch_kernel_give_a_grid(make):
    pe = read(make, 16, img_size=(48, 80), origins={"img_size": "config.json"})

    assert (pe.grid_size, pe.num_prefix_rows) == ((3, 5), 1)
    assert "grid 3×5 from img_size 48×80 (config.json)" in pe.notes


def test_a_config_that_contradicts_the_weights_is_told_with_both_sides(make):
    message = (
        "img_size 384×384 (config.json) gives a 24×24 grid of 576, and pos_embed has 197 rows: "
        "the config and the weights are of two models, or of two image sizes. To go by the "
        "weights: 1 prefix + 14×14, or 0 + 1×197. Each is chosen by its flags"
    )
    with pytest.raises(AmbiguousCheckpoint, match=re.escape(message)):
        read(make, 197, img_size=(384, 384), origins={"img_size": "config.json"})


def test_a_flag_settles_what_a_config_contradicts(make):
    said = {"img_size": (384, 384), "origins": {"img_size": "config.json"}}
    pe = read(make, 197, grid_size=(14, 14), **said)

    assert pe.grid_size == (14, 14)
    note = "grid 14×14 from --grid-size; img_size 384×384 (config.json) gives 24×24"
    assert note in pe.notes


def test_saved_arguments_may_be_out_of_date_and_give_way_with_a_note(make):
    pe = read(make, 197, img_size=(384, 384), origins={"img_size": "args in the file"})

    assert pe.grid_size == (14, 14)
    assert (
        "img_size 384×384 (args in the file) gives a 24×24 grid, which does not fit the 197 rows "
        "of pos_embed" in pe.notes
    )


def test_a_stride_smaller_than_the_kernel_explains_more_patches(make):
    pe = read(make, 28 * 28 + 1, img_size=(224, 224), origins={"img_size": "config.json"})

    assert pe.grid_size == (28, 28)
    assert pe.patch_size is None


@pytest.mark.parametrize(
    ("rows", "hints", "message"),
    [
        (
            197,
            {"grid_size": (24, 24)},
            "197 rows, fewer than the 576 patches of 24×24 (--grid-size)",
        ),
        (
            197,
            {"grid_size": (13, 15)},
            "13×15 (--grid-size) leaves 2 for prefix tokens (1 in the file)",
        ),
        (
            197,
            {"num_prefix_tokens": 2},
            "2 prefix + 13×15, 15×13, 5×39, 39×5, 3×65, 65×3, 1×195, or 0 + 1×197",
        ),
        (
            198,
            {"grid_size": (14, 14), "num_prefix_tokens": 1},
            "14×14 (--grid-size) leaves 2 for prefix tokens (--num-prefix-tokens 1)",
        ),
    ],
)
def test_flags_that_contradict_the_rows_are_refused(make, rows, hints, message):
    with pytest.raises(AmbiguousCheckpoint, match=re.escape(message)):
        read(make, rows, **hints)


def test_a_flag_outranks_the_tokens_of_the_file_where_it_fits(make):
    pe = read(make, 198, num_prefix_tokens=2)

    assert (pe.grid_size, pe.num_prefix_rows, pe.num_prefix_tokens) == ((14, 14), 2, 2)


def test_a_grid_that_contradicts_a_table_of_four_axes_is_refused(make):
    state = make.deit() | {"pos_embed": make.rand(1, 3, 4, 8)}

    with pytest.raises(AmbiguousCheckpoint, match="a 3×4 grid; --grid-size says 4×3"):
        extract(make.checkpoint(state, grid_size=(4, 3)))


@pytest.mark.parametrize("rows", [2, 3, 5, 6, 7, 12, 15, 24, 48, 130])
def test_a_root_is_never_rounded(make, rows):
    with pytest.raises(AmbiguousCheckpoint, match=f"pos_embed has {rows} rows"):
        extract(make.checkpoint({"pos_embed": make.rand(1, rows, 8)}))


@given(st.integers(1, 5000))
def test_factor_pairs_multiply_back_and_are_all_there(number):
    pairs = factor_pairs(number)

    assert all(a * b == number and a <= b for a, b in pairs)
    assert len(pairs) == sum(number % a == 0 for a in range(1, number + 1) if a * a <= number)
    assert pairs == sorted(pairs, key=lambda pair: pair[1] - pair[0])
