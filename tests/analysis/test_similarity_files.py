"""The `.npz` that `similarity` saves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pe_inspect.analysis.similarity import similarity
from pe_inspect.kinds.position_embedding import LayerPE


def test_the_file_has_the_keys_of_the_contract(vectors, tmp_path):
    result = similarity(vectors(depth=2, prefix=1))
    saved = reopened(result, tmp_path)

    assert set(saved) == {"layers", "raw", "layer_names", "grid_size"}
    np.testing.assert_array_equal(saved["layers"], result.matrix)
    np.testing.assert_array_equal(saved["raw"], result.raw)
    assert saved["layers"].dtype == saved["raw"].dtype == np.float32
    assert list(saved["layer_names"]) == ["blocks.0", "blocks.1"]
    assert list(saved["grid_size"]) == [3, 5]


def test_only_vectors_have_raw_maps_in_the_file(per_layer, tmp_path):
    rng = np.random.default_rng(0)
    pe = per_layer("bias", [rng.normal(size=(h, 6, 6)) for h in (3, 2)], (2, 3))
    saved = reopened(similarity(pe), tmp_path)

    assert "raw" not in saved
    np.testing.assert_array_equal(saved["layers"], similarity(pe).matrix)


def test_layers_of_different_grids_are_arrays_of_their_own_in_the_file(per_layer, tmp_path):
    tables = (
        LayerPE("layers.0", np.zeros((2, 6, 6), np.float32), (2, 3)),
        LayerPE("layers.1", np.ones((2, 2, 2), np.float32), (1, 2)),
    )
    pe = replace(per_layer("bias", [np.zeros((2, 6, 6))], (2, 3)), tables=tables)
    saved = reopened(similarity(pe), tmp_path)

    assert saved["layers/layers.1"].shape == (2, 2, 2)
    assert saved["grid_size"].tolist() == [[2, 3], [1, 2]]


def test_the_same_result_is_the_same_file(vectors, tmp_path):
    first, second = (written(similarity(vectors()), tmp_path / name) for name in ("a", "b"))

    assert first.read_bytes() == second.read_bytes()


def test_a_file_of_one_layer_holds_one_layer(vectors, tmp_path):
    assert reopened(similarity(vectors(), layer=1), tmp_path)["layers"].shape == (1, 1, 15, 15)


def written(result, path):
    with path.open("wb") as file:
        result.save_npz(file)
    return path


def reopened(result, folder):
    with np.load(written(result, folder / "similarity.npz")) as archive:
        return dict(archive)
