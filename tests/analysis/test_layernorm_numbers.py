"""Every number of `layernorm`'s summary, by its definition in plain NumPy."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from analysis.made import dinov2, strong
from closeness import ROUNDING

from pe_inspect.analysis.layernorm import layernorm
from pe_inspect.kinds.position_embedding import LayerNormParams


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def whole_norm(rows, norm):
    rows = rows.astype(np.float64)
    spread = np.sqrt(rows.var(axis=1, keepdims=True) + norm.eps)
    return (rows - rows.mean(axis=1, keepdims=True)) / spread * norm.weight + norm.bias


def cosines(rows):
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return units @ units.T


def steps_of(pe):
    """(what a layer's norm receives, what it makes of it), layer by layer."""
    rows = pe.tables[0].patches.astype(np.float64)
    acting = "pe_norm" if pe.join == "lape" else "norm1"
    for norm in (norm for norm in pe.norms if norm.name == acting):
        made = whole_norm(rows, norm)
        yield rows, made
        rows = made if pe.join == "lape" else rows


def of_tables(pe):
    height, width = pe.grid_size
    y, x = np.divmod(np.arange(height * width), width)
    distance = abs(y[:, None] - y) + abs(x[:, None] - x)
    found = {"scale": [], "mean_cosine": [], "neighbour_cosine": [], "distance_to_full": []}
    for ends in steps_of(pe):
        maps = [cosines(rows) for rows in ends]
        found["scale"].append([rows.std(axis=1).mean() for rows in ends])
        found["mean_cosine"].append([values[distance > 0].mean() for values in maps])
        found["neighbour_cosine"].append([values[distance == 1].mean() for values in maps])
        gap = np.sqrt(((maps[0] - maps[1])[distance > 0] ** 2).mean())
        found["distance_to_full"].append([gap, 0])
    means = {
        f"{name}_{when}": np.mean(pairs, axis=0)[k]
        for name, pairs in found.items()
        for k, when in enumerate(("before", "after"))
    }
    del means["distance_to_full_after"]  # of the whole norm to itself
    return means


def of_norms(pe):
    found = {"num_norms": len(pe.norms)}
    for name in dict.fromkeys(norm.name for norm in pe.norms):
        own = [norm for norm in pe.norms if norm.name == name]
        gammas = [norm.weight.astype(np.float64) for norm in own]
        found[f"{name}_weight_mean"] = np.mean([gamma.mean() for gamma in gammas])
        found[f"{name}_bias_mean"] = np.mean([norm.bias.mean(dtype=np.float64) for norm in own])
        if len(own) > 1:
            following = [cosine(a, b) for a, b in itertools.pairwise(gammas)]
            found[f"{name}_cosine_to_previous_layer"] = np.mean(following)
        if name == "pe_norm":
            beside = [norm.weight.astype(np.float64) for norm in pe.norms if norm.name == "norm1"]
            found["pe_norm_cosine_to_norm1"] = np.mean(list(map(cosine, gammas, beside)))
    return found


def with_norms(pe, depth=2):
    """The same embedding, in a plain model whose norms are strong in one channel too."""
    rng, width = np.random.default_rng(2), pe.tables[0].values.shape[-1]
    norms = []
    for k in range(depth):
        gamma = rng.uniform(0.5, 1.5, width)
        gamma[1] *= 100
        norms.append(LayerNormParams(f"blocks.{k}", "norm1", gamma, rng.normal(size=width), 1e-6))
    return replace(pe, norms=tuple(norms), depth=depth)


@pytest.mark.parametrize(
    ("make", "distance"),
    [
        (lambda vectors: vectors("input", grid=(3, 4)), 1e-5),
        (lambda vectors: vectors("lape", grid=(5, 3)), 1e-5),
        (lambda _: with_norms(strong()), 1e-5),
        (lambda _: dinov2(), 1e-3),  # over 765 of 1,369 queries; the note says ± 0.00072
    ],
    ids=["oblong", "lape", "one strong channel", "DINOv2-S"],
)
def test_every_number_of_the_summary_is_what_its_definition_says(make, distance, vectors):
    pe = make(vectors)
    result, expected = layernorm(pe), of_norms(pe) | of_tables(pe)
    found = result.summary()
    assert set(found) == set(expected) == set(result.defined())
    for name, value in expected.items():
        near = distance if name == "distance_to_full_before" else 4 * ROUNDING
        assert found[name] == pytest.approx(value, rel=2e-5, abs=near), name


def test_a_grid_of_many_patches_says_how_many_it_compared_and_how_far_off_that_is(vectors):
    pe = vectors("input", grid=(40, 41), names=("norm1",), depth=2)
    smooth = np.cumsum(pe.tables[0].values, axis=0)
    pe = replace(pe, tables=(replace(pe.tables[0], values=smooth),))
    result = layernorm(pe)
    (note,) = [note for note in result.notes if "evenly spread" in note]
    assert "distance_to_full is over 639 of 1,640 patches" in note
    said = float(note.rpartition("standard error is ")[2].split(" or less")[0])
    exact, found = of_tables(pe), result.summary()
    assert 0 < abs(found["distance_to_full_before"] - exact["distance_to_full_before"]) < 3 * said
    for name in ("mean_cosine_before", "mean_cosine_after", "neighbour_cosine_after"):
        assert found[name] == pytest.approx(exact[name], abs=4 * ROUNDING)
