"""How a table joins the model: told by norms, by one table a block, or by whoever says it."""

from __future__ import annotations

import re

import numpy as np
import pytest

from pe_inspect.errors import AmbiguousCheckpoint, UsageError
from pe_inspect.families import extract


def read(make, kind, **hints):
    return extract(make.checkpoint(make.lape(kind), grid_size=(3, 4), **hints))[0]


def test_lape_has_a_norm_in_every_block(make):
    pe = read(make, "lape")

    assert pe.join == "lape"
    assert list(pe.norms_named("pe_norm")) == ["blocks.0", "blocks.1", "blocks.2"]
    assert pe.layer_names == ("blocks.0", "blocks.1", "blocks.2")
    assert pe.keys[:3] == ("pos_embed", "blocks.0.pe_norm.weight", "blocks.0.pe_norm.bias")
    assert len(pe.tables) == 1


def test_pvg_has_none_in_the_first_block_and_mpvg_one_more_at_the_end(make):
    assert read(make, "pvg").join == "pvg"
    assert list(read(make, "pvg").norms_named("pe_norm")) == ["blocks.1", "blocks.2"]
    mpvg = read(make, "mpvg")
    assert mpvg.join == "mpvg"
    assert list(mpvg.norms_named("pe_norm")) == ["blocks.1", "blocks.2", ""]
    assert any("no code of PVG / MPVG (arXiv 2502.02919) is public" in note for note in mpvg.notes)


def test_unshare_has_one_table_a_block_in_numeric_order(make):
    state = make.shuffled(make.lape("unshare", depth=12))

    (pe,) = extract(make.checkpoint(state, grid_size=(3, 4)))

    assert pe.join == "unshare"
    assert [table.layer for table in pe.tables] == [f"blocks.{i}" for i in range(12)]
    assert pe.keys == tuple(f"pos_embed{i}" for i in range(12))
    for i, table in enumerate(pe.tables):
        np.testing.assert_array_equal(table.values, state[f"pos_embed{i}"][0])


def test_share_cannot_be_told_from_plain_deit_so_a_note_names_it(make):
    pe = read(make, "input")

    assert pe.join == "input"
    assert "join=input assumed: LaPE's share has the same keys (--join share)" in pe.notes


def test_what_the_user_or_the_file_says_decides_between_share_and_input(make):
    assert read(make, "input", join="share").join == "share"
    pe = read(make, "input", join="share", origins={"join": "args in the file"})
    assert pe.join == "share"
    assert "join=share from args in the file" in pe.notes


@pytest.mark.parametrize(
    ("width", "heads", "table", "lape", "unshare"),
    [
        (192, 3, 37_824, 42_432, 453_888),
        (384, 6, 75_648, 84_864, None),
        (768, 12, 151_296, 169_728, None),
    ],
)
def test_the_parameter_counts_of_lape_s_table_5(make, width, heads, table, lape, unshare):
    def count(join):
        state = make.lape(join, grid=(14, 14), dim=width, depth=12)
        return extract(make.checkpoint(state))[0].num_parameters

    assert count("input") == table
    assert count("lape") == lape
    if unshare:
        assert count("unshare") == unshare


def test_lape_s_own_norms_are_learned_even_where_its_table_is_not(make):
    state = make.lape("lape", dim=16)
    state["pos_embed"] = np.vstack([np.zeros((1, 16)), make.sincos_2d((3, 4), 16)])[None]

    (pe,) = extract(make.checkpoint(state, grid_size=(3, 4)))

    assert (pe.family, pe.join) == ("sinusoidal_2d", "lape")
    assert pe.num_parameters == 3 * 2 * 16


def test_distilled_lape_has_two_prefix_rows(make):
    state = make.lape("lape", prefix=2)

    (pe,) = extract(make.checkpoint(state, grid_size=(3, 4)))

    assert (pe.join, pe.num_prefix_rows) == ("lape", 2)


@pytest.mark.parametrize(
    ("gone", "have"), [([6, 7, 8, 9, 10, 11], "0–5"), ([5], "0–4, 6–11"), ([0, 1], "2–11")]
)
def test_a_file_that_has_lost_some_position_norms_is_refused(make, gone, have):
    state = make.lape("lape", depth=12)
    for i in gone:
        del state[f"blocks.{i}.pe_norm.weight"], state[f"blocks.{i}.pe_norm.bias"]

    message = (
        f"pe_norm is in blocks {have} of 12: LaPE has one in every block, PVG and MPVG in every "
        "block but the first. The file is not whole, or of another scheme."
    )
    with pytest.raises(AmbiguousCheckpoint, match=re.escape(message)):
        extract(make.checkpoint(state, grid_size=(3, 4)))


def test_a_position_norm_of_another_width_is_refused(make):
    state = make.lape("lape") | make.norm("blocks.1.pe_norm", 16)

    with pytest.raises(
        AmbiguousCheckpoint, match=r"blocks\.1\.pe_norm has 16 features, pos_embed "
    ):
        extract(make.checkpoint(state, grid_size=(3, 4)))


def test_a_gap_between_unshared_tables_is_refused(make):
    state = make.lape("unshare")
    del state["pos_embed1"]

    with pytest.raises(AmbiguousCheckpoint, match="and pos_embed1 is missing"):
        extract(make.checkpoint(state, grid_size=(3, 4)))


def test_unshared_tables_of_two_shapes_are_refused(make):
    state = make.lape("unshare") | {"pos_embed2": make.rand(1, 14, 8)}

    with pytest.raises(AmbiguousCheckpoint, match="one table a block must have one shape"):
        extract(make.checkpoint(state, grid_size=(3, 4)))


@pytest.mark.parametrize(
    ("join", "said", "message"),
    [
        (
            "lape",
            "input",
            "--join input contradicts the tensors of x.pth, which are those of join=lape",
        ),
        (
            "input",
            "lape",
            "--join lape needs norms called blocks.#.pe_norm, and x.pth holds one table",
        ),
        ("input", "unshare", "--join unshare needs one table a block"),
    ],
)
def test_a_join_that_contradicts_the_tensors_is_refused(make, join, said, message):
    with pytest.raises(AmbiguousCheckpoint, match=re.escape(message)):
        read(make, join, join=said)


def test_a_file_s_own_word_is_overruled_by_its_tensors_and_noted(make):
    pe = read(make, "lape", join="input", origins={"join": "args in the file"})

    assert pe.join == "lape"
    assert (
        "args in the file says join=input; the tensors are those of lape, which was taken"
        in pe.notes
    )


def test_an_unknown_join_offers_the_nearest(make):
    with pytest.raises(UsageError, match=r"Unknown join 'lapee'\. Did you mean 'lape'"):
        read(make, "lape", join="lapee")
