"""The pictures as numbers: how local, two-dimensional, translation-invariant, hierarchical."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from pe_inspect.analysis import questions
from pe_inspect.analysis.common.notebook_repr import Shown
from pe_inspect.analysis.common.numbers import mean_of
from pe_inspect.analysis.structure.baselines import baselines_of
from pe_inspect.analysis.structure.files import arrays_of
from pe_inspect.analysis.structure.finding import finding_of
from pe_inspect.analysis.structure.heads import HeadProfiles, head_profiles
from pe_inspect.analysis.structure.hierarchy import hierarchy, is_thinned
from pe_inspect.analysis.structure.indices import Indices
from pe_inspect.analysis.structure.layer_rows import (
    StructureRow,
    StructureRows,
    rows_of,
    stored_tables,
)
from pe_inspect.analysis.structure.reasons import by_construction, missing_reasons, notes_on
from pe_inspect.analysis.structure.rotation import LayerRotation, rotations_of
from pe_inspect.arrays import Float
from pe_inspect.errors import UsageError
from pe_inspect.kinds.frames import notes_of_frames, row_of_frames
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.kinds.within_memory import notes_of_sampling, within_memory

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["StructureResult", "structure"]

DEFINITIONS: Final[Mapping[str, str]] = {
    "ssdc_l1": "Spearman's correlation of affinity with −distance, rows and columns added, over "
    "pairs i < j",
    "ssdc_l2": "the same with the Euclidean distance",
    "translation_share": "the share of the variance of affinity over pairs of different patches "
    "that their offset explains",
    "half_radius": "the first distance, in patches, at which the mean affinity is half way from "
    "its value at 0 to its least, over exact Euclidean distances",
    "monotone_share": "the share of unit steps outward, along the axes from every patch, on which "
    "affinity falls",
    "mirror_x": "Pearson's correlation of the profile by offset with itself, left and right "
    "exchanged; offset 0 is left out",
    "mirror_y": "the same, up and down exchanged; equal to mirror_x where affinity is symmetric",
    "mirror_t": "the same, earlier and later frames exchanged",
    "transpose": "the same, rows and columns exchanged, on the offsets that both axes have",
    "row_share": "the share of the centred table that the means of its rows of patches explain",
    "column_share": "the share of the centred table that the means of its columns explain",
    "time_share": "the share of the centred table that the means of its frames explain",
    "interaction_share": "what these leave of 1",
    "effective_rank": "exp of the entropy of the variances of the centred table's principal "
    "components",
    "hierarchy": "1 − the mean Pearson correlation of the maps of all pairs of layers, over pairs "
    "of different patches",
    "aliased_share": "the share of rotation angles that turn by more than half a turn from patch "
    "to patch",
    "anisotropy": "the length of the mean doubled direction of the angles' frequencies; 1 where "
    "all are along one line; the mean over heads and layers",
    "cycles": "the most turns of an angle over the image, along an axis",
    "cycles_at_target": "the same on the grid of --res",
    "aliased_share_at_target": "the share of angles beyond half a turn a patch on that grid",
}
"""What each number of the summary is: of the stored table's map, the mean over heads."""


@dataclass(frozen=True, eq=False)
class StructureResult(Shown):
    """Every index of the stored table and of each layer, with floors and baselines.

    Attributes:
        pe: what was analysed.
        ln_eps: overrides the ε of every norm.
        target: a rotary scheme on another grid, where one was asked for.
    """

    question: ClassVar[str] = "structure"
    definitions: ClassVar[Mapping[str, str]] = DEFINITIONS

    pe: PositionEmbedding
    ln_eps: float | None = None
    target: PositionEmbedding | None = None

    def __repr__(self) -> str:
        return f"StructureResult({self.pe.headline})"

    @property
    def parameters(self) -> dict[str, Any]:
        """The choices behind the result, by their command-line names."""
        grid = None if self.target is None else list(self.target.tables[0].grid_size)
        layers = [row.name for row in self.all_rows[1:]]
        return {"layers": layers, "ln_eps": self.ln_eps, "grid": grid}

    @property
    def all_rows(self) -> tuple[StructureRow, ...]:
        """The stored table first, then every layer."""
        return self._pass.rows

    @property
    def layer_correlations(self) -> Float[np.ndarray, "layers layers"]:
        """Pearson's correlations of the maps of all pairs of layers; NaN on the diagonal."""
        return self._pass.correlations

    @property
    def hierarchy(self) -> float:
        """1 − the mean correlation of the maps of all pairs of layers; NaN for one layer."""
        return hierarchy(self.layer_correlations)

    @cached_property
    def baselines(self) -> Mapping[str, Indices]:
        """The indices of tables of that shape that learned nothing: see `baselines.BASELINES`."""
        stored, tables = self.all_rows[0], stored_tables(self.pe)
        alike = self.pe.scheme_kind.affinity(tables, self.pe.relation)
        table = None if stored.table is None else tables[0].patches
        view = stored.view
        return baselines_of(alike, view.grid_size, table, self._width, view.num_frames)

    @property
    def floors(self) -> dict[str, float]:
        """What chance gives of the stored table's shares, whatever the values."""
        profile, sides = self.all_rows[0].indices.of_map.profile, self.all_rows[0].indices.sides
        left = max(int(np.prod(sides)) - 1, 1)
        by_axis = {"row_share": (sides[0] - 1) / left, "column_share": (sides[-1] - 1) / left}
        has_table = self.all_rows[0].table is not None
        return {"translation_share": profile.floor, **(by_axis if has_table else {})}

    @cached_property
    def rotations(self) -> tuple[LayerRotation, ...]:
        """The rotation of every layer; none of a scheme that does not rotate."""
        return rotations_of(self.pe)

    @cached_property
    def rotations_at_target(self) -> tuple[LayerRotation, ...]:
        """The same on the grid that was asked for."""
        return () if self.target is None else rotations_of(self.target)

    @cached_property
    def heads(self) -> tuple[HeadProfiles, ...]:
        """The profiles of every layer's heads; none of a scheme without heads."""
        kind = self.pe.scheme_kind
        if not (kind.has_heads or kind.is_by_offset):
            return ()
        return tuple(head_profiles(row) for row in self.all_rows[1:])

    @property
    def missing(self) -> dict[str, dict[str, str]]:
        """Row → index → why it is missing."""
        return {row.name: missing_reasons(self.pe, row) for row in self.all_rows}

    @property
    def decided(self) -> dict[str, str]:
        """The indices of the stored table that the form of the scheme decides, and how."""
        return by_construction(self.pe, self.all_rows[0])

    @property
    def finding(self) -> str:
        """The answer in one sentence, with its numbers."""
        return finding_of(
            self.all_rows, self.baselines, self.hierarchy, self.decided, self.rotations
        )

    def summary(self) -> dict[str, float]:
        """Return the indices of the stored table, the hierarchy, and numbers of a rotation."""
        stored = self.all_rows[0].indices.row()
        return {**stored, "hierarchy": self.hierarchy, **self._turning()}

    def rows(self) -> list[dict[str, Any]]:
        """Return one dictionary a row: what `to_frame` holds, without pandas."""
        return [{"layer": row.name, **row.indices.row()} for row in self.all_rows]

    def baseline_rows(self) -> list[dict[str, Any]]:
        """Return the stored table's row, a row for each baseline, and that of the floors."""
        stored = self.all_rows[0].indices.row()
        floors = {name: self.floors.get(name, float("nan")) for name in stored}
        found = {"stored": stored, **{n: b.row() for n, b in self.baselines.items()}}
        return [{"table": name, **row} for name, row in [*found.items(), ("chance", floors)]]

    def to_frame(self) -> DataFrame:
        """Return one row a layer, that of the stored table first."""
        from pandas import DataFrame

        return DataFrame(self.rows())

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """Every correction and omission, in words."""
        thinned = is_thinned(max(row.view.num_patches for row in self.all_rows))
        own = [*notes_on(self.pe, self.all_rows), *([thinned] if thinned else [])]
        laid_out = (*notes_of_sampling(self.pe), *notes_of_frames(self.pe))
        return (*laid_out, *own, *self._notes_on_rotation())

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what `structure.npz` holds; keys end in `/stage0`, … where grids differ."""
        return arrays_of(self)

    def save_npz(self, file: IO[bytes]) -> None:
        """Write `arrays()`."""
        arrays: dict[str, Any] = self.arrays()
        np.savez(file, **arrays)

    @cached_property
    def _pass(self) -> StructureRows:
        return rows_of(self.pe, self.ln_eps)

    @property
    def _width(self) -> int:
        """The channels of a random and of a fixed table with which this one is compared."""
        stored = self.all_rows[0]
        if stored.table is not None:
            return stored.table.channels
        angles = self.pe.scheme_kind.holds_angles
        return 2 * int(self.pe.tables[0].shape[-1]) if angles else 0

    def _turning(self) -> dict[str, float]:
        known = [rotation for rotation in self.rotations if rotation.is_linear]
        if not known:
            return {}
        found = {
            **_turns(known, ""),
            "anisotropy": mean_of(np.concatenate([each.anisotropy for each in known])),
        }
        return {**found, **_turns(self.rotations_at_target, "_at_target")}

    def _notes_on_rotation(self) -> list[str]:
        uneven = [rotation.layer for rotation in self.rotations if not rotation.is_linear]
        if not uneven:
            return []
        return [f"{', '.join(uneven)}: the angles are no linear function of the place, and have no "
                "frequency."]  # fmt: skip


def _turns(rotations: Sequence[LayerRotation], suffix: str) -> dict[str, float]:
    if not rotations:
        return {}
    aliased = np.concatenate([rotation.is_aliased.ravel() for rotation in rotations])
    return {
        f"cycles{suffix}": float(max(np.nanmax(rotation.cycles) for rotation in rotations)),
        f"aliased_share{suffix}": float(aliased.mean()),
    }


@questions.register("structure")
def structure(
    pe: PositionEmbedding,
    *,
    ln_eps: float | None = None,
    res: int | tuple[int, int] | None = None,
    grid: int | tuple[int, int] | None = None,
    patch_size: tuple[int, int] | None = None,
    max_memory: int | None = None,
) -> StructureResult:
    """Say what the maps look like in numbers, for the stored table and for every layer.

    Args:
        pe: one scheme of one checkpoint.
        ln_eps: overrides the ε of every norm.
        res: of a rotary scheme, the image size in pixels at which turns are counted too.
        grid: the same in patches.
        patch_size: pixels of a patch, where the checkpoint does not say.
        max_memory: bytes that maps may take, as in `similarity`.

    Raises:
        UndecidedGrid: nothing tells the grid.
        UsageError: another size was asked of a scheme that does not rotate.

    Source: arXiv:2106.01950 (translation), arXiv:2606.00124 (SSDC), arXiv:2403.13298 (rotations).
    """
    target = None if res is None and grid is None else _at_target(pe, res, grid, patch_size)
    shown = within_memory(row_of_frames(pe, "structure"), max_memory)
    return StructureResult(shown, ln_eps, target)


def _at_target(
    pe: PositionEmbedding, res: Any, grid: Any, patch_size: tuple[int, int] | None
) -> PositionEmbedding:
    if not pe.scheme_kind.holds_angles:
        raise UsageError(
            f"structure: another size is asked of rotations, and {pe.family} does not rotate. "
            "`pe-inspect interpolate --res` puts its table on another grid."
        )
    from pe_inspect.analysis.interpolate import interpolate

    found: PositionEmbedding = interpolate(
        pe, res=res, grid=grid, patch_size=patch_size
    ).embedding()
    return found
