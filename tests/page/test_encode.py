"""Maps as bytes: small, within the error that is stated, and thinned with both numbers said."""

from __future__ import annotations

import gzip
import json
from base64 import b64decode
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from page.browser import table_of

import pe_inspect as pei
from pe_inspect.kinds.affinity import Values, cosines
from pe_inspect.kinds.position_embedding import LayerPE
from pe_inspect.kinds.tables_by_layer import received
from pe_inspect.page import Chapter, Definition, Report, Section
from pe_inspect.page.encode import encoded
from pe_inspect.page.frames import (
    frame_of,
    prefix_names,
    resampled_tracks,
    similarity_frames,
)
from pe_inspect.page.payload import num_bytes, payload
from pe_inspect.page.tables import evenly
from pe_inspect.page.thinning import thinned, words_on
from pe_inspect.page.views import Track, View


def decoded(item) -> np.ndarray:
    """The map, as the definition of the forms says."""
    codes = item.matrix.astype(float)
    return np.where(codes == 255, np.nan, item.low + item.step * codes)


def view_of(frames, **given) -> View:
    plain = {"quantity": "cosine similarity", **given}
    return View("similarity", "v", "Maps", "layer", (Track("one", tuple(frames)),), **plain)


def bias_of(grid, heads=2, prefix=0, seed=0) -> np.ndarray:
    """A bias that depends on offsets alone, but for its prefix rows and columns."""
    draw = np.random.default_rng(seed)
    rows, columns = np.indices(grid).reshape(2, -1)
    table = draw.normal(size=(heads, 2 * grid[0] - 1, 2 * grid[1] - 1))
    down, right = (x - x[:, None] + side - 1 for x, side in ((rows, grid[0]), (columns, grid[1])))
    whole = draw.normal(size=(heads, prefix + rows.size, prefix + rows.size))
    whole[:, prefix:, prefix:] = table[:, down, right]
    return whole.astype(np.float32)


@settings(max_examples=25)
@given(arrays(np.float32, (12, 12), elements=st.floats(-5, 5, width=32)))
def test_any_map_comes_back_within_its_stated_error(values):
    item = encoded(Values(values[None]), 0, 12, (3, 4))
    assert np.abs(decoded(item) - values).max() <= item.error + 1e-9
    assert item.error <= (values.max() - values.min()) / 500 + 1e-6


def test_a_symmetric_map_is_half_as_large():
    values = np.random.default_rng(0).normal(size=(12, 12)).astype(np.float32)
    whole = encoded(Values(values[None]), 0, 12, (3, 4))
    half = encoded(Values((values + values.T)[None]), 0, 12, (3, 4))
    assert (whole.form, whole.codes.size) == ("square", 144)
    assert (half.form, half.codes.size) == ("triangle", 78)


@pytest.mark.parametrize("prefix", [0, 2])
def test_a_bias_of_offsets_is_one_value_an_offset(prefix):
    values, grid = bias_of((3, 4), prefix=prefix), (3, 4)
    item = encoded(Values(values), 1, prefix + 12, grid)
    assert item.form == "offsets"
    assert item.codes.size == 5 * 7 + prefix * (prefix + 12) + 12 * prefix
    assert np.abs(decoded(item) - values[1]).max() <= item.error + 1e-9


def test_what_is_undefined_stays_undefined():
    values = np.eye(12, dtype=np.float32)[None]
    values[0, 5] = values[0, :, 5] = np.nan
    assert np.array_equal(
        np.isnan(decoded(encoded(Values(values), 0, 12, (3, 4)))), np.isnan(values[0])
    )
    nothing = encoded(Values(np.full((1, 12, 12), np.nan, np.float32)), 0, 12, (3, 4))
    assert np.isnan(decoded(nothing)).all()


def test_layers_of_one_table_travel_as_the_table_and_their_norms():
    table = table_of((6, 9), width=16, depth=12)
    frames = similarity_frames(pei.similarity(table))
    chains = [frame.maps[0].chain for frame in frames]
    assert len({id(chain.table) for chain in chains}) == 1
    assert [len(chain.steps) for chain in chains] == list(range(1, 13))
    for frame, one in zip(frames, received(table)):
        exact = cosines(one.values).map(None)
        apart = np.abs(cosines(frame.maps[0].chain.rows).map(None) - exact).max()
        assert apart <= frame.maps[0].error <= 1 / 254
        assert frame.prefix == ("CLS",)


def test_lengths_travel_where_the_rows_are_directions_and_their_error_is_stated():
    rows = 5 * np.random.default_rng(0).normal(size=(60, 12)).astype(np.float32)
    lengths = np.linalg.norm(rows, axis=1)
    own = frame_of("own", cosines(rows), (6, 10), norms=lengths)
    (sent,) = json.loads(payload([view_of([own])]))["frames"]
    assert own.maps[0].form == "vectors"
    assert np.abs(np.array(sent["norms"]) - lengths).max() <= sent["lengthError"] < 1e-3
    table = table_of((6, 9), width=16, depth=3)
    frames = similarity_frames(pei.similarity(table))
    described = json.loads(payload([view_of(frames)]))["frames"]
    for frame, sent, one in zip(frames, described, received(table)):
        rows = frame.maps[0].chain.rows
        apart = np.linalg.norm(rows, axis=1) - np.linalg.norm(one.values, axis=1)
        assert sent["norms"] is None
        assert 0 < np.abs(apart).max() <= sent["lengthError"] + 1e-6


def test_a_row_of_nan_is_missing_in_every_layer():
    values = np.array(table_of((5, 7)).tables[0].values)
    values[4] = np.nan
    table = table_of((5, 7), tables=(LayerPE("input", values, (5, 7), 1),))
    for frame in similarity_frames(pei.similarity(table)):
        item = frame.maps[0]
        shown = decoded(item) if item.chain is None else cosines(item.chain.rows).map(None)
        assert np.isnan(shown[4]).all()
        assert np.isnan(shown).sum() == 2 * 36 - 1


def test_the_page_can_resample_the_table_itself():
    table, grids = table_of((5, 7)), [(3, 4), (8, 11)]
    methods = "bicubic,bilinear,fourier"
    results = [pei.interpolate(table, grid=grid, method=methods) for grid in grids]
    for track in resampled_tracks(results):
        for frame, result in zip(track.frames, results):
            values = result.values(track.label)[0]
            chain = frame.maps[0].chain
            shown = decoded(frame.maps[0]) if chain is None else cosines(chain.rows).map(None)
            assert np.abs(shown - cosines(values).map(None)).max() <= 1 / 250


def test_twelve_layers_of_a_large_grid_take_less_than_a_megabyte():
    draw = np.random.default_rng(0)
    values = draw.normal(size=(1 + 37 * 37, 64)).astype(np.float32)
    table = table_of((37, 37), width=64, depth=12, tables=(LayerPE("input", values, (37, 37), 1),))
    frames = similarity_frames(pei.similarity(table))
    assert len(payload([view_of(frames)])) < 300_000


def test_the_payload_is_json_that_cannot_end_its_element():
    frame = replace(frame_of("</script><!--", Values(bias_of((2, 3))), (2, 3)), prefix=())
    text = payload([view_of([frame])])
    assert "<" not in text
    data = json.loads(text)
    assert data["frames"][0]["name"] == "</script><!--"
    first = data["maps"][0]
    assert len(gzip.decompress(b64decode(first["data"]))) == 3 * 5


def test_a_frame_in_two_views_travels_once():
    frame = frame_of("blocks.0", Values(bias_of((3, 4))), (3, 4))
    once, twice = payload([view_of([frame])]), payload([view_of([frame]), view_of([frame])])
    assert len(json.loads(twice)["maps"]) == len(json.loads(once)["maps"]) == 2


def test_the_same_table_gives_the_same_bytes():
    first, second = (
        payload([view_of(similarity_frames(pei.similarity(table_of((5, 7)))))]) for _ in "ab"
    )
    assert first == second


def noisy(count: int, grid=(8, 10)):
    draw = np.random.default_rng(0)
    size = grid[0] * grid[1]
    for k in range(count):
        yield frame_of(f"blocks.{k}", Values(draw.normal(size=(1, size, size)).astype("f4")), grid)


def test_too_many_layers_are_thinned_evenly_and_it_is_said():
    view = view_of(noisy(12), start=11)
    (found,) = thinned([view], num_bytes(view.tracks) * 6 // 10)
    names = [frame.name for frame in found.tracks[0].frames]
    assert (names[0], names[-1], len(names)) == ("blocks.0", "blocks.11", 6)
    assert found.start == 5
    assert list(words_on([found], 10_000_000)) == [
        "“Maps” holds 6 of 12 layers, evenly spaced, so that the page stays under 10 MB."
    ]


def test_too_many_patches_are_thinned_evenly_and_it_is_said():
    view = view_of(noisy(2), token=(4, 7))
    (found,) = thinned([view], num_bytes(view.tracks) // 3)
    frame, exact = found.tracks[0].frames[0], decoded(view.tracks[0].frames[0].maps[0])
    assert frame.grid_size == (4, 5)
    kept = [10 * row + column for row in range(0, 8, 2) for column in range(0, 10, 2)]
    assert np.array_equal(decoded(frame.maps[0]), exact[np.ix_(kept, kept)])
    assert found.token == (2, 3)
    assert "4×5 of 8×10 patches" in next(words_on([found], 10_000_000))


def test_shared_tables_are_thinned_and_stay_shared():
    table = table_of((8, 10), width=32, depth=3)
    view = view_of(similarity_frames(pei.similarity(table)))
    (found,) = thinned([view], num_bytes(view.tracks) * 6 // 10)
    chains = [frame.maps[0].chain for frame in found.tracks[0].frames]
    assert len({id(chain.table) for chain in chains}) == 1
    assert chains[0].num_tokens == 21
    assert found.tracks[0].frames[0].norms.shape == (21,)


def test_what_fits_is_left_alone_and_what_never_fits_is_left_out():
    view = view_of(noisy(2))
    assert thinned([view], 10**9) == (view,)
    assert thinned([view], 10) == ()


def test_a_page_says_what_its_limit_left_out():
    section = Section(
        "similarity", "T", "Q?", "F.", (), "R.", Definition("d"), views=(view_of(noisy(12)),)
    )
    page = Report("Views", (Chapter("one", "", (section,)),), max_bytes=170_000)
    assert "“Maps” holds 6 of 12 layers, evenly spaced, so that the page stays" in page.html
    assert len(page.html.encode()) <= 170_000
    alone = len(replace(page, chapters=()).html.encode())
    small = replace(page, max_bytes=alone + 5_000).html
    assert "No interactive view fits into 0." in small
    assert 'class="explorer"' not in small


def test_prefix_tokens_are_named_as_far_as_the_model_tells():
    pe = table_of((3, 4))
    assert prefix_names(pe, 1) == ("CLS",)
    assert prefix_names(replace(pe, architecture="deit_tiny_distilled_patch16_224"), 2) == (
        "CLS",
        "distillation",
    )
    assert prefix_names(replace(pe, architecture="vit_small_patch14_reg4_dinov2"), 3) == (
        "CLS",
        "register 1",
        "register 2",
    )
    assert prefix_names(pe, 2) == ("prefix 1", "prefix 2")


@pytest.mark.parametrize(("length", "count", "kept"), [(5, 9, [0, 1, 2, 3, 4]), (9, 3, [0, 4, 8])])
def test_evenly_spaced_places_hold_both_ends(length, count, kept):
    assert evenly(length, count) == kept


def test_thinning_keeps_every_frame_and_its_seams():
    values = np.random.default_rng(0).normal(size=(1, 8 * 27, 8 * 27)).astype(np.float32)
    whole = frame_of("a", Values(values), (8, 27), num_frames=3)
    view = View("similarity", "v", "T", "layer", (Track("", (whole,)),), "bias", None)

    (found,) = thinned([view], num_bytes(view.tracks) // 2)
    frame = found.tracks[0].frames[0]
    assert frame.grid_size == (4, 12)
    assert frame.kept[1] == (1, 3, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25)
