"""`structure.npz`: the arrays behind the figures of `structure`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol, runtime_checkable

import numpy as np

from pe_inspect.analysis.common.stages import stacked_by_stage
from pe_inspect.analysis.structure.heads import HeadProfiles
from pe_inspect.analysis.structure.indices import COLUMNS, Indices
from pe_inspect.analysis.structure.layer_rows import StructureRow
from pe_inspect.analysis.structure.rotation import LayerRotation
from pe_inspect.arrays import Float

__all__ = ["arrays_of"]


@runtime_checkable
class Indexed(Protocol):
    """What the arrays are made of."""

    @property
    def all_rows(self) -> tuple[StructureRow, ...]:
        """The stored table first, then every layer."""

    @property
    def layer_correlations(self) -> Float[np.ndarray, "layers layers"]:
        """Those of the maps of all pairs of layers."""

    @property
    def hierarchy(self) -> float:
        """1 − the mean of them."""

    @property
    def baselines(self) -> Mapping[str, Indices]:
        """The indices of tables that learned nothing."""

    @property
    def heads(self) -> tuple[HeadProfiles, ...]:
        """The profiles of every layer's heads."""

    @property
    def rotations(self) -> tuple[LayerRotation, ...]:
        """The rotation of every layer."""

    @property
    def rotations_at_target(self) -> tuple[LayerRotation, ...]:
        """The same on another grid."""


def _spectrum(row: StructureRow) -> np.ndarray:
    return np.zeros(0) if row.indices.of_table is None else row.indices.of_table.spectrum


def _maps(row: StructureRow) -> np.ndarray:
    sides = row.indices.sides
    return np.zeros((0, *sides)) if row.indices.of_table is None else row.indices.of_table.maps


_BY_ROW: Final[Mapping[str, Callable[[StructureRow], np.ndarray]]] = {
    "offset_profile": lambda row: row.profile.astype(np.float32),
    "offset_pairs": lambda row: row.indices.of_map.profile.counts,
    "pca_spectrum": _spectrum,
    "pca_maps": _maps,
}
"""Arrays of every row of the table."""
_OF_TABLES: Final[Mapping[str, Callable[[StructureRow], np.ndarray]]] = {
    "norms": lambda row: np.zeros(0) if row.table is None else row.table.norms,
    "prefix_norms": lambda row: np.linalg.norm(row.prefix, axis=1),
    "dct_energy": lambda row: np.zeros(0) if row.table is None else row.table.waves,
}
"""Arrays of every row, for vectors."""


def arrays_of(result: Indexed) -> dict[str, np.ndarray]:
    """Return every array by its name in the file."""
    rows = result.all_rows
    made = dict(_BY_ROW) | (dict(_OF_TABLES) if rows[0].table is not None else {})
    found: dict[str, np.ndarray] = {}
    for name, make in made.items():
        found |= stacked_by_stage(name, [make(row) for row in rows])
    grids = [row.view.grid_size for row in rows]
    found["layer_names"] = np.array([row.name for row in rows])
    found["grid_size"] = np.array(grids[0] if len(set(grids)) == 1 else grids)
    found["words"] = np.array([row.word.word if row.word else "" for row in rows])
    found["layer_correlations"] = result.layer_correlations
    found["hierarchy"] = np.array(result.hierarchy)
    return found | _of_baselines(result) | _of_heads(result) | _of_rotations(result)


def _of_baselines(result: Indexed) -> dict[str, np.ndarray]:
    values = [[each.row()[name] for name in COLUMNS] for each in result.baselines.values()]
    return {
        "index_names": np.array(COLUMNS),
        "baseline_names": np.array(list(result.baselines)),
        "baselines": np.array(values).reshape(-1, len(COLUMNS)),
    }


def _of_heads(result: Indexed) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    if result.heads:
        found |= stacked_by_stage("head_profile", [layer.profile for layer in result.heads])
        found |= stacked_by_stage("distances", [layer.distances for layer in result.heads])
        found |= stacked_by_stage("distance_profile", [layer.by_distance for layer in result.heads])
        found |= stacked_by_stage("lean", [layer.lean for layer in result.heads])
    return found


def _of_rotations(result: Indexed) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for suffix, rotations in (
        ("", result.rotations),
        ("_at_target", result.rotations_at_target),
    ):
        if rotations:
            found |= stacked_by_stage(
                f"frequencies{suffix}", [each.frequencies for each in rotations]
            )
            found |= stacked_by_stage(f"cycles{suffix}", [each.cycles for each in rotations])
            found |= stacked_by_stage(
                f"anisotropy{suffix}", [each.anisotropy for each in rotations]
            )
    return found
