"""Frames in a row and frames as channels: what is at a place stays what was there."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from invented.parts import offsets, pair_index, table

from pe_inspect.analysis.interpolate import interpolate
from pe_inspect.analysis.similarity import similarity
from pe_inspect.errors import UndecidedGrid, UsageError
from pe_inspect.kinds.frames import frames_as_channels, row_of_frames, space_alone
from pe_inspect.kinds.held_values import Lookup
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding

GRID = (3, 4, 5)


def clip(dim: int = 8) -> PositionEmbedding:
    rows = LayerPE("input", table(GRID, 1, dim), GRID, 1)
    return PositionEmbedding("learned_absolute", "vectors", "input", (rows,))


def windows() -> PositionEmbedding:
    held = Lookup(offsets((2, 3, 4), 3).T, pair_index((2, 3, 4)))
    layers = (LayerPE.from_lookup("blocks.0", held, (2, 3, 4)),)
    return PositionEmbedding("relative_bias", "bias", "layer", layers)


def test_a_patch_of_a_frame_lies_in_that_frame_s_columns():
    before, after = clip().tables[0], row_of_frames(clip(), "similarity").tables[0]

    assert after.grid_size == (4, 15)
    stored, shown = before.patches.reshape(*GRID, -1), after.patches.reshape(4, 15, -1)
    for t, y, x in np.ndindex(*GRID):
        assert np.array_equal(shown[y, t * 5 + x], stored[t, y, x])
    assert np.array_equal(before.prefix, after.prefix)


def test_a_bias_of_windows_with_depth_keeps_its_pairs():
    before, after = windows().tables[0], row_of_frames(windows(), "similarity").tables[0]

    places = np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2).ravel()
    assert after.grid_size == (3, 8)
    assert np.array_equal(after.values, before.values[:, places][:, :, places])


def test_a_query_s_map_is_a_row_of_frames():
    result = similarity(clip(), raw=False)

    (shown,) = result.query_maps((1, 7))[0]
    rows = clip().tables[0].patches
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    alike = (unit @ unit[1 * 20 + 1 * 5 + 2]).reshape(GRID)
    assert np.allclose(shown, np.concatenate(list(alike), axis=1), atol=1e-5)
    assert any("side by side in one row" in note for note in result.notes)


def test_a_patch_is_named_by_its_frame_row_and_column():
    assert similarity(clip(), raw=False, token=(2, 1, 3)).token == (1, 2 * 5 + 3)
    assert similarity(clip(), raw=False, token=(1, 13)).token == (1, 13)


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ((3, 0, 0), "--token 3,0,0 is outside 3×4×5: frame, row, column 0–2, 0–3, 0–4"),
        ((0, 4, 0), "--token 0,4,0 is outside"),
        ((0, -1, 0), "--token 0,-1,0 is outside"),
    ],
)
def test_a_patch_of_no_frame_is_refused(token, message):
    with pytest.raises(UsageError, match=message):
        similarity(clip(), token=token)


def test_a_frame_of_a_plane_is_refused():
    flat = LayerPE("input", table((4, 5), 1, 8), (4, 5), 1)
    plane = PositionEmbedding("learned_absolute", "vectors", "input", (flat,))
    with pytest.raises(UsageError, match="--token 0,1,2 names a frame, and this table has none"):
        similarity(plane, token=(0, 1, 2))
    with pytest.raises(UsageError, match="--token takes a row and a column"):
        interpolate(plane, grid=(5, 6), token=(0, 1, 2)).summary()


def test_every_frame_is_resampled_for_itself():
    whole = interpolate(clip(), grid=(3, 6, 7), method="bilinear")

    values = next(iter(whole.outcomes.values()))[0].after.reshape(6, 7, 3, -1)
    for t in range(3):
        rows = LayerPE("input", clip().tables[0].patches[t * 20 : (t + 1) * 20], (4, 5))
        frame = PositionEmbedding("learned_absolute", "vectors", "input", (rows,))
        one = interpolate(frame, grid=(6, 7), method="bilinear")
        own = next(iter(one.outcomes.values()))[0].after.reshape(6, 7, -1)
        assert np.allclose(values[:, :, t], own, atol=1e-5)


def test_a_bias_has_a_head_for_each_offset_in_time():
    stored = windows().tables[0].held
    folded = frames_as_channels(windows(), "interpolate").tables[0]

    assert folded.shape == (3 * 3, 12, 12)
    by_time = stored.table.reshape(3, 3, 5, 7)
    index = pair_index((3, 4))
    for head, plane in np.ndindex(3, 3):
        assert np.array_equal(folded.values[3 * head + plane], by_time[head, plane].ravel()[index])


def test_another_number_of_frames_is_refused_and_said():
    with pytest.raises(UsageError, match=r"time is kept, and this table is of 3×4×5\. Pass"):
        space_alone(clip(), (4, 6, 7))


def test_a_table_without_a_grid_asks_for_one():
    rows = LayerPE("blocks.0", np.zeros((1, 0, 0), np.float32), None)
    pe = PositionEmbedding("rotary", "phases", "layer", (rows,))

    with pytest.raises(UndecidedGrid, match="Pass --grid-size HxW"):
        similarity(pe)


def test_neighbours_and_distances_know_frames_and_no_seam():
    numbers = similarity(clip(), raw=False).summary()

    rows = clip().tables[0].patches.astype(np.float64)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    pairs = {"time": [], "rows": [], "columns": [], "far": []}
    places = list(np.ndindex(*GRID))
    for (i, a), (j, b) in product(enumerate(places), repeat=2):
        apart = [abs(p - q) for p, q in zip(a, b)]
        for axis, name in enumerate(("time", "rows", "columns")):
            if sum(apart) == apart[axis] == 1:
                pairs[name].append(unit[i] @ unit[j])
        if any(2 * d >= side for d, side in zip(apart, GRID)):
            pairs["far"].append(unit[i] @ unit[j])
    for name in ("time", "rows", "columns"):
        assert np.isclose(numbers[f"neighbours_in_{name}"], np.mean(pairs[name]), atol=1e-6)
    near = pairs["time"] + pairs["rows"] + pairs["columns"]
    assert np.isclose(numbers["neighbours"], np.mean(near), atol=1e-6)
    assert np.isclose(numbers["far"], np.mean(pairs["far"]), atol=1e-6)


def test_the_middle_patch_is_that_of_the_middle_frame():
    assert similarity(clip()).parameters["token"] == [2, 1 * 5 + 2]


def test_a_plane_has_no_numbers_of_time():
    rows = LayerPE("input", table((4, 5), 0, 8), (4, 5))
    plane = PositionEmbedding("learned_absolute", "vectors", "input", (rows,))
    assert "neighbours_in_time" not in similarity(plane).summary()
