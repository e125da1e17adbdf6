"""`similarity.npz`, written one map at a time: the whole may be larger than memory."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from typing import IO, Final

import numpy as np

from pe_inspect.analysis.similarity.layer_maps import SimilarityMaps

__all__ = ["write_maps"]

EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # the least date of a zip: the same result, the same bytes


def write_maps(result: SimilarityMaps, file: IO[bytes]) -> None:
    """Write the arrays behind a similarity result as an uncompressed `.npz`."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        if result.is_uniform:
            _write_stack(archive, result)
        else:
            for name, maps in result.layers():
                _write(archive, f"layers/{name}", maps.shape, iter(maps))
        raw = [table.name for table in result.raw_tables]
        if raw:
            patches = result.raw_tables[0].num_patches
            shape = (len(raw), 1, patches, patches)
            _write(archive, "raw", shape, (maps for _, maps in result.raw_layers()))
        _write_small(archive, "layer_names", np.array(result.layer_names))
        _write_small(archive, "grid_size", _grid_size(result))


def _write_stack(archive: zipfile.ZipFile, result: SimilarityMaps) -> None:
    heads = 1 if result.head is not None else max(view.num_heads for view in result.views)
    patches = result.views[0].num_patches
    shape = (len(result.views), heads, patches, patches)
    _write(archive, "layers", shape, _filled_up(result, heads))


def _filled_up(result: SimilarityMaps, heads: int) -> Iterator[np.ndarray]:
    """Every head's map in turn, and NaN for the heads that a layer does not have."""
    for _, alike in result.affinities():
        shown = range(alike.num_heads) if result.head is None else [result.head]
        for head in shown:
            values = alike.map(head)
            yield values
        for _ in range(heads - len(shown)):
            yield np.full_like(values, np.nan)


def _write(
    archive: zipfile.ZipFile, name: str, shape: tuple[int, ...], parts: Iterable[np.ndarray]
) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with archive.open(zipfile.ZipInfo(f"{name}.npy", EPOCH), "w", force_zip64=True) as entry:
        np.lib.format.write_array_header_1_0(entry, header)
        for part in parts:
            entry.write(np.ascontiguousarray(part, "<f4").data.cast("B"))


def _write_small(archive: zipfile.ZipFile, name: str, values: np.ndarray) -> None:
    with archive.open(zipfile.ZipInfo(f"{name}.npy", EPOCH), "w") as entry:
        np.lib.format.write_array(entry, values, allow_pickle=False)


def _grid_size(result: SimilarityMaps) -> np.ndarray:
    grids = np.array([view.grid_size for view in result.views], np.int64)
    return grids[0] if result.is_uniform else grids
