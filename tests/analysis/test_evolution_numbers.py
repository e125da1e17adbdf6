"""Every number of `evolution`'s summary, by its definition in plain NumPy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from analysis.made import dinov2, strong, vectors
from closeness import ROUNDING
from scipy.stats import spearmanr

from pe_inspect.analysis.evolution import evolution

PARTS = (0.0, 0.3, 0.8, 1.0)


def history(pe):
    """Snapshots between noise of the table's size and the table, which has no norms here."""
    (table,) = pe.tables
    noise = np.random.default_rng(3).standard_normal(table.values.shape) * table.values.std()
    mixed = [((1 - p) * noise + p * table.values).astype(np.float32) for p in PARTS]
    return [replace(pe, tables=(replace(table, values=v),), norms=()) for v in mixed]


def cosines(pe):
    rows = pe.tables[0].patches.astype(np.float64)
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return units @ units.T


def ssdc(values, distance):
    upper = np.triu_indices(len(values), 1)
    return spearmanr(values[upper], -distance[upper]).statistic


def half_radius(values, squared):
    """Where the mean by distance is half way from that at 0 to the least, between two distances."""
    distances = np.unique(squared)
    means = np.array([values[squared == each].mean() for each in distances])
    half = (means[0] + means.min()) / 2
    if means[0] < means.max():
        return np.nan
    k = np.flatnonzero(means <= half)[0]
    return np.interp(half, means[[k, k - 1]], np.sqrt(distances)[[k, k - 1]])


def by_definition(run, epochs):
    height, width = run[0].grid_size
    y, x = np.divmod(np.arange(height * width), width)
    down, across = abs(y[:, None] - y), abs(x[:, None] - x)
    near, far = down + across == 1, (2 * down >= height) | (2 * across >= width)
    maps = [cosines(pe) for pe in run]
    pairs = [values[down + across > 0] for values in maps]
    alike = [np.corrcoef(each, pairs[-1])[0, 1] for each in pairs]
    lengths = [np.linalg.norm(pe.tables[0].patches.astype(float), axis=1).mean() for pe in run]
    curves = {
        "norm": lengths,
        "neighbours": [values[near].mean() for values in maps],
        "far": [values[far].mean() for values in maps],
        "hierarchy": [np.nan] * len(run),
        "half_radius": [half_radius(values, down**2 + across**2) for values in maps],
        "ssdc_l1": [ssdc(values, down + across) for values in maps],
    }
    ssdcs = np.array(curves["ssdc_l1"])
    back = np.flatnonzero(abs(ssdcs - ssdcs[-1]) >= abs(ssdcs - ssdcs[0]))
    appears = epochs[back[-1] + 1] if abs(ssdcs[-1] - ssdcs[0]) >= 0.1 else np.nan
    late = [k for k in range(len(run)) if min(alike[k:]) >= 0.95]
    return {
        "num_snapshots": len(run),
        "num_layers": 1,
        **{
            f"{name}_{when}": values[place]
            for name, values in curves.items()
            for when, place in (("first", 0), ("last", -1))
        },
        "structure_first_to_last": alike[0],
        "settled_at": epochs[late[0]],
        "appears_first": appears,
        "appears_last": appears,
    }


@pytest.mark.parametrize(
    "make",
    [lambda: vectors((3, 4)), strong, pytest.param(dinov2, marks=pytest.mark.sweep)],
    ids=["oblong", "one strong channel", "DINOv2-S"],
)
def test_every_number_of_the_summary_is_what_its_definition_says(make):
    run, epochs = history(make()), (0, 5, 20, 21)
    result, expected = evolution(run, epochs=epochs), by_definition(run, epochs)
    found = result.summary()
    assert set(found) == set(expected) == set(result.defined())
    for name, value in expected.items():
        assert found[name] == pytest.approx(
            value, rel=1e-5, abs=2e-5 if "ssdc" in name else 4 * ROUNDING, nan_ok=True
        ), name
