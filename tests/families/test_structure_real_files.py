"""Weights that others published: every table is read, and is what a direct read of it is."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import pe_inspect as pei

DATA = Path(__file__).parents[2].parent / "shared" / "data"

pytestmark = pytest.mark.skipif(not DATA.exists(), reason="the files are not beside the checkout")


@pytest.fixture(scope="module")
def read():
    def once(name: str):
        checkpoint = pei.load(str(DATA / name))
        return checkpoint, pei.extract(checkpoint)

    return once


def indexed(checkpoint, key: str, table) -> np.ndarray:
    """Return the bias of a table of offsets by its own loop over pairs of places."""
    values = checkpoint.tensor(key)
    height, width = table.grid_size
    places = list(np.ndindex(height, width))
    rows = [
        [(y - v + height - 1) * (2 * width - 1) + x - u + width - 1 for v, u in places]
        for y, x in places
    ]
    return np.asarray(values, np.float32)[np.array(rows)].transpose(2, 0, 1)


@pytest.mark.parametrize(
    ("name", "count", "windows"),
    [("wild/ngswin_x2.pth", 40, {(8, 8), (2, 2)}), ("wild/imdtn.pth", 6, {(6, 6)})],
)
def test_every_table_of_offsets_is_read(read, name, count, windows):
    checkpoint, found = read(name)

    wanted = [key for key in checkpoint.keys if key.endswith("relative_position_bias_table")]
    stored = {checkpoint.stored_key(key): key for key in wanted}
    assert len(wanted) == count
    assert {key for pe in found for key in pe.keys} == set(stored)
    assert {table.grid_size for pe in found for table in pe.tables} == windows
    for pe in found:
        for key, table in zip(pe.keys, pe.tables, strict=True):
            assert np.array_equal(table.values, indexed(checkpoint, stored[key], table))


def test_mobile_sam_s_distances_are_read(read):
    checkpoint, (pe,) = read("wild/mobile_sam_image_encoder.pt")

    assert (pe.family, len(pe.keys)) == ("distance_bias", 10)
    bare = {checkpoint.stored_key(key): key for key in checkpoint.keys}
    for key, table in zip(pe.keys, pe.tables, strict=True):
        stored = np.asarray(checkpoint.tensor(bare[key]), np.float32)
        height, width = table.grid_size
        places = list(np.ndindex(height, width))
        away = [[abs(y - v) * width + abs(x - u) for v, u in places] for y, x in places]
        assert np.array_equal(table.values, stored[:, np.array(away)])


def test_dinov2_is_read(read):
    checkpoint, (pe,) = read("dinov2-small")

    assert (pe.grid_size, pe.num_prefix_rows, pe.depth) == ((37, 37), 1, 12)
    (key,) = [key for key in checkpoint.keys if re.search("position_embeddings$", key)]
    assert np.array_equal(pe.tables[0].values, np.asarray(checkpoint.tensor(key), np.float32)[0])
