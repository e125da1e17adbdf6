"""Principal components of the kernel that makes patches, and what of a table lies in their span."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from pe_inspect.arrays import Float, Float32

__all__ = ["Components", "PatchKernel", "components_of", "share_inside"]

ROUNDING: Final = 1e-6  # singular values below it, relative to the first, are no directions


@dataclass(frozen=True, eq=False)
class PatchKernel:
    """The convolution that makes patches.

    Attributes:
        key: its name in the file.
        values: (embed_dim, channels, height, width), or with frames ahead of the height.
        source: the file.
    """

    key: str
    values: Float32[np.ndarray, "embed_dim channels *sides"]
    source: str = ""

    @property
    def rows(self) -> Float[np.ndarray, "embed_dim pixels"]:
        """A filter a row: one for each channel that patches are given."""
        return self.values.reshape(len(self.values), -1).astype(np.float64)


@dataclass(frozen=True, eq=False)
class Components:
    """The principal components of a kernel's filters, centred over them.

    Attributes:
        spectrum: the share of the variance of each component, descending.
        filters: each component as a filter of length one, (components, pixels).
        directions: each component as a direction among the channels that patches are given, of
            length one, (components, embed_dim).
    """

    spectrum: Float[np.ndarray, " components"]
    filters: Float[np.ndarray, "components pixels"]
    directions: Float[np.ndarray, "components embed_dim"]


def components_of(rows: Float[np.ndarray, "embed_dim pixels"]) -> Components:
    """Return the principal components of filters; none where all of them are equal.

    The sign of a component is that which makes the largest of its weights positive.

    Args:
        rows: a filter each.

    Source: arXiv:2010.11929, Figure 7, left.
    """
    centred = rows - rows.mean(axis=0)
    left, values, right = np.linalg.svd(centred, full_matrices=False)
    size = float(np.linalg.norm(rows))
    count = int(np.count_nonzero(values > ROUNDING * max(values[0], size * ROUNDING)))
    left, values, right = left[:, :count], values[:count], right[:count]
    largest = np.abs(right).argmax(axis=1)
    signs = np.where(right[np.arange(count), largest] < 0, -1.0, 1.0)
    shares = values**2 / max(float(np.sum(values**2)), np.finfo(float).tiny)
    return Components(shares, right * signs[:, None], (left * signs).T)


def share_inside(
    table: Float32[np.ndarray, "patches embed_dim"],
    directions: Float[np.ndarray, "components embed_dim"],
) -> Float[np.ndarray, " components"]:
    """Return the share of the centred table inside the span of the first 1, 2, 3, … directions.

    A random span of k directions holds k/D of it on average. NaN where a row is not finite or the
    table is constant.

    Args:
        table: without prefix rows.
        directions: orthonormal, in order.
    """
    values = table.astype(np.float64) if np.isfinite(table).all() else np.zeros(table.shape)
    centred = values - values.mean(axis=0)
    whole = float(np.sum(centred**2))
    if not whole > ROUNDING**2 * float(np.sum(values**2)):
        return np.full(len(directions), np.nan)
    along = np.sum((centred @ directions.T) ** 2, axis=0)
    return np.cumsum(along) / whole
