"""Kind `phases`: the angles by which queries and keys are rotated, (heads or 1, patches, angles).

Angles are in radians, and there are head_dim / 2 of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from pe_inspect.arrays import Float32
from pe_inspect.kinds.affinity import Affinity, Products
from pe_inspect.kinds.parts import LayerPE, Relation
from pe_inspect.kinds.scheme_kind import AffinityDefinition, Kind, SchemeKind

__all__ = ["PHASES", "Phases"]


@dataclass(frozen=True, repr=False)
class Phases(SchemeKind):
    """Rotation angles: RoPE axial, mixed, DINOv3's. They are laid out as (H, W, heads · angles)."""

    name: ClassVar[str] = "phases"
    word: ClassVar[Kind] = "phases"
    has_heads: ClassVar[bool] = True
    holds_angles: ClassVar[bool] = True
    has_row_vectors: ClassVar[bool] = False
    in_attention: ClassVar[bool] = True
    _affinity: ClassVar[AffinityDefinition] = AffinityDefinition(
        "mean phase cosine",
        "The mean, over the rotation angles of a head, of cos(θ_i − θ_j): "
        "by how much the rotations alone keep a query and a key of equal content alike.",
    )

    def expected_shape(self, table: LayerPE) -> tuple[int | None, ...]:
        """(heads or 1, patches, angles)."""
        return (None, table.num_patches, None)

    def width(self, tables: Sequence[LayerPE]) -> str:
        """The heads and their angles: `"all heads × 16 angles"`."""
        heads = ", ".join(dict.fromkeys(str(table.shape[0]) for table in tables))
        who = "all" if heads == "1" else heads
        return f"{who} heads × {tables[0].shape[-1]} angles"

    def affinity(self, tables: Sequence[LayerPE], relation: Relation | None = None) -> Affinity:  # noqa: ARG002
        """The mean cosine of the differences of angles, per head."""
        return _phase_cosines(tables[0].patches)

    def laid_out(self, table: LayerPE) -> Float32[np.ndarray, "rows columns channels"]:
        """(H, W, heads · angles)."""
        return table.values.transpose(1, 0, 2).reshape(*table.grid_size, -1)

    def put_back(
        self, table: LayerPE, after: Float32[np.ndarray, "rows columns channels"]
    ) -> Float32[np.ndarray, "heads patches angles"]:
        """The angles of each head."""
        heads, _, angles = table.values.shape
        return after.reshape(-1, heads, angles).transpose(1, 0, 2)

    def features(
        self, laid_out: Float32[np.ndarray, "rows columns channels"]
    ) -> Float32[np.ndarray, "rows columns features"]:
        """The cosines and sines of the angles."""
        turned = np.concatenate([np.cos(laid_out), np.sin(laid_out)], axis=-1)
        turned /= np.sqrt(np.float32(laid_out.shape[-1]))
        return turned


PHASES: Final = Phases()


def _phase_cosines(phases: Float32[np.ndarray, "heads patches angles"]) -> Products:
    """cos(a − b) = cos a cos b + sin a sin b: an inner product, averaged over the angles."""
    missing = ~np.isfinite(phases).all(axis=-1)
    angles = np.where(missing[..., None], 0, phases)
    factors = np.concatenate([np.cos(angles), np.sin(angles)], axis=-1)
    factors /= np.sqrt(np.float32(phases.shape[-1]))
    factors[missing] = 0
    return Products(factors, missing)
