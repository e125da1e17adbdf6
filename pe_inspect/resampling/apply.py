"""Apply one matrix an axis to a table, keeping what is not finite where it belongs."""

from __future__ import annotations

import numpy as np

from pe_inspect.arrays import Bool, Float, Shaped

__all__ = ["apply", "support"]


def apply(
    values: Float[np.ndarray, "rows columns channels"],
    along_rows: Float[np.ndarray, "new_rows rows"],
    along_columns: Float[np.ndarray, "new_columns columns"],
) -> Float[np.ndarray, "new_rows new_columns channels"]:
    """Resample, in the precision of the matrices; a value that draws on a missing one is NaN."""
    missing = ~np.isfinite(values)
    if not missing.any():
        return _product(values, along_rows, along_columns)
    resampled = _product(np.where(missing, 0, values), along_rows, along_columns)
    touched = _product(missing, support(along_rows), support(along_columns))
    resampled[touched > 0] = np.nan
    return resampled


def support(matrix: Float[np.ndarray, "target source"]) -> Float[np.ndarray, "target source"]:
    """1 where a source cell takes part in a target cell, else 0."""
    taking_part: Bool[np.ndarray, "target source"] = matrix != 0
    return taking_part.astype(np.float32)


def _product(
    values: Shaped[np.ndarray, "rows columns channels"],
    along_rows: Float[np.ndarray, "new_rows rows"],
    along_columns: Float[np.ndarray, "new_columns columns"],
) -> Float[np.ndarray, "new_rows new_columns channels"]:
    rows, columns, channels = values.shape
    flat = values.astype(along_rows.dtype, copy=False).reshape(rows, columns * channels)
    with np.errstate(over="ignore", invalid="ignore"):  # beyond the type: infinite, or NaN
        by_row = (along_rows @ flat).reshape(-1, columns, channels)
        result: np.ndarray = along_columns @ by_row
    return result
