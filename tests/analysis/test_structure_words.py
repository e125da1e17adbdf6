"""The words for what a map looks like: made tables of each sort, on two grids, with noise."""

from __future__ import annotations

import numpy as np
import pytest
from analysis.made import dinov2

from pe_inspect.analysis.similarity import similarity
from pe_inspect.analysis.structure.map_shape import map_shape
from pe_inspect.analysis.structure.offset_profile import offset_profile
from pe_inspect.analysis.structure.words import DEFINITIONS, MapWord, map_word, words_by_layer
from pe_inspect.kinds.affinity import cosines

GRIDS = [(14, 14), (9, 12)]
CHANNELS = 96
RNG = np.random.default_rng


def places(grid):
    return np.indices(grid).reshape(2, -1).astype(float)


def smooth(side, seed):
    """Rows of a Gaussian process along one axis."""
    at = np.arange(side)
    kernel = np.exp(-((at[:, None] - at) ** 2) / 4.5) + 1e-6 * np.eye(side)
    return np.linalg.cholesky(kernel) @ RNG(seed).normal(size=(side, CHANNELS))


def waves(axis, period, seed):
    start = RNG(seed).uniform(0, 2 * np.pi, CHANNELS)
    return np.cos(2 * np.pi * axis[:, None] / period + start)


def bumps(grid, radius):
    y, x = places(grid)
    draw = RNG(0)
    at_y, at_x = (draw.uniform(0, side, 2 * CHANNELS) for side in grid)
    return np.exp(-((y[:, None] - at_y) ** 2 + (x[:, None] - at_x) ** 2) / (2 * radius**2))


def cross(grid):
    y, x = places(grid).astype(int)
    return np.concatenate([smooth(grid[0], 1)[y], smooth(grid[1], 2)[x]], axis=1)


def plaid(grid):
    y, x = places(grid)
    return np.concatenate([waves(y, 4, 1), waves(x, 5, 2)], axis=1)


def slope(grid):
    y, x = places(grid)
    draw = RNG(1).normal(size=(2, CHANNELS))
    return (x - x.mean())[:, None] * draw[0] + (y - y.mean())[:, None] * draw[1]


MADE = {
    "round spot": lambda grid: bumps(grid, 2),
    "cross": cross,
    "plaid": plaid,
    "stripes": lambda grid: smooth(grid[0], 3)[places(grid)[0].astype(int)],
    "ramp": slope,
    "flat": lambda grid: np.ones((grid[0] * grid[1], CHANNELS)),
    "noise": lambda grid: RNG(4).normal(size=(grid[0] * grid[1], CHANNELS)),
    "tiled": lambda grid: RNG(5).normal(size=(3, 3, CHANNELS))[tuple(places(grid).astype(int) % 3)],
}


def map_of(table):
    return cosines(np.asarray(table, np.float32)).map(None)


def word_of(values, grid):
    return map_word(values, offset_profile(values, grid))


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("word", MADE)
def test_a_made_table_of_each_sort_has_its_word_with_and_without_noise(word, grid):
    table = MADE[word](grid)
    noise = RNG(6).normal(size=table.shape) * np.sqrt(np.mean(table**2))
    for amount in (0.0, 0.02 if word == "flat" else 0.3):
        assert word_of(map_of(table + amount * noise), grid).word == word


def test_every_word_is_defined():
    assert {*MADE, "mixed"} == set(DEFINITIONS)


def test_stripes_say_which_way_they_run():
    grid = (9, 12)
    rows = smooth(9, 3)[places(grid)[0].astype(int)]
    columns = smooth(12, 3)[places(grid)[1].astype(int)]
    assert word_of(map_of(rows), grid) == MapWord("stripes", "horizontal")
    assert word_of(map_of(columns), grid) == MapWord("stripes", "vertical")


def test_a_round_spot_says_its_half_radius():
    values = map_of(bumps((9, 12), 2))
    word = word_of(values, (9, 12))
    assert 2 < float(word.number) < 5


def test_a_bias_that_rises_to_one_side_is_a_ramp_and_one_against_distance_a_spot():
    y, x = places((5, 7))
    right, down = x[None] - x[:, None], y[None] - y[:, None]
    assert word_of((0.1 * right).astype(np.float32), (5, 7)).word == "ramp"
    assert word_of(-np.hypot(right, down).astype(np.float32), (5, 7)).word == "round spot"


def test_the_sum_of_functions_is_that_of_a_least_squares_fit():
    bias = RNG(7).normal(size=(12, 12)).astype(np.float32)
    profile = offset_profile(bias, (3, 4))
    weights = profile.counts.copy()
    weights[2, 3] = 0
    design = np.array(
        [[*(a == i for i in range(5)), *(b == j for j in range(7))] for a, b in np.ndindex(5, 7)],
        float,
    )
    scale, centred = (
        np.sqrt(weights.ravel()),
        profile.mean - np.average(profile.mean, weights=weights),
    )
    wanted = centred.ravel() * scale
    fit = design * scale[:, None] @ np.linalg.lstsq(design * scale[:, None], wanted, rcond=None)[0]

    shape = map_shape(bias, profile)

    assert shape.by_sum == pytest.approx(np.sum(fit**2) / np.sum(wanted**2), abs=1e-6)


def test_a_plane_a_query_is_what_its_own_fit_explains():
    values = map_of(RNG(8).normal(size=(12, 5)) + places((3, 4)).T[:, :1])
    y, x = places((3, 4))
    explained = whole = 0.0
    for query in range(12):
        row, others = values[query].astype(float), np.arange(12) != query
        row = np.where(others, row - row[others].mean(), 0)
        plane = np.linalg.qr(np.stack([y - y.mean(), x - x.mean()], axis=1))[0]
        explained, whole = explained + np.sum((row @ plane) ** 2), whole + np.sum(row**2)
    chance = 2 / 11
    expected = (explained / whole - chance) / (1 - chance)

    shape = map_shape(values, offset_profile(values, (3, 4)))

    assert shape.by_place == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("grid", [(1, 12), (12, 1)])
def test_one_row_or_column_has_no_word(grid):
    assert word_of(map_of(RNG(0).normal(size=(12, 5))), grid) is None


def test_an_undefined_map_has_no_word():
    assert word_of(np.full((12, 12), np.nan, np.float32), (3, 4)) is None


def test_layers_are_named_by_ranges():
    spots = [MapWord("round spot", "3.1"), MapWord("round spot", "2.4")]
    words = [MapWord("plaid"), *[MapWord("cross")] * 3, *[MapWord("plaid")] * 3, *spots]
    layers = [f"blocks.{k}" for k in range(9)]

    assert words_by_layer(words, layers) == (
        "plaid in blocks 0 and 4 to 6, a cross in blocks 1 to 3, "
        "a round spot of half-radius 2.4 to 3.1 patches from block 7"
    )
    assert words_by_layer([MapWord("flat")] * 9, layers) == "flat in every layer"
    assert words_by_layer([MapWord("ramp"), None], ["a", "b"]) == "a ramp in a"
    assert words_by_layer([MapWord("noise")], ["input"]) == "noise"
    assert words_by_layer([None], ["input"]) == ""


def test_real_weights_look_like_their_pictures():
    result = similarity(dinov2())
    words = [word.word for word in result.words]

    assert words[4] == "stripes"  # block 4 repeats along columns alone
    assert {*words[:4], *words[5:]} == {"plaid", "cross"}
    assert "plaid in blocks 1 to 3" in result.finding
