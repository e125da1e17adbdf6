"""Numbers as the bytes of a stored type: `dtypes.decode`, the other way round."""

from __future__ import annotations

import numpy as np

from pe_inspect.arrays import Float, Num, Shaped
from pe_inspect.errors import UsageError
from pe_inspect.loading.checkpoint import StoredTensor
from pe_inspect.loading.dtypes import decode, itemsize

__all__ = ["as_stored", "encode"]


def encode(values: Shaped[np.ndarray, "..."], dtype: str, *, big_endian: bool = False) -> bytes:
    """Return values in C order in the stored type, rounded to the nearest, halves to even.

    Raises:
        UsageError: a value is beyond what the type can hold.
    """
    flat = np.ascontiguousarray(values).reshape(-1)
    narrow = _narrowed(flat, dtype)
    if np.issubdtype(flat.dtype, np.floating):
        _refuse_overflow(flat, decode(narrow.tobytes(), dtype), dtype)
    return (narrow.byteswap() if big_endian else narrow).tobytes()


def as_stored(tensor: StoredTensor, values: Shaped[np.ndarray, "..."]) -> np.ndarray:
    """Return what `values` are once they are stored in a tensor's type and read back."""
    return decode(encode(values, tensor.dtype), tensor.dtype).reshape(values.shape)


def _narrowed(flat: Shaped[np.ndarray, " n"], dtype: str) -> Shaped[np.ndarray, " n"]:
    """The values as little-endian numbers of the type, or as integers of the same bits."""
    if dtype == "bfloat16":
        return _bfloat16_bits(flat.astype(np.float32))
    if dtype.startswith("float8"):
        return _nearest_of_256(flat.astype(np.float64), dtype)
    with np.errstate(over="ignore"):
        narrow: np.ndarray = flat.astype(np.dtype(dtype).newbyteorder("<"))
    return narrow


def _bfloat16_bits(flat: Float[np.ndarray, " n"]) -> Num[np.ndarray, " n"]:
    bits = flat.view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    kept: np.ndarray = np.where(np.isnan(flat), bits >> 16 | 0x40, rounded).astype("<u2")
    return kept


def _nearest_of_256(flat: Float[np.ndarray, " n"], dtype: str) -> Shaped[np.ndarray, " n"]:
    """The nearest of a type's 256 values, of two the one whose last bit is 0."""
    known = decode(bytes(range(256)), dtype).astype(np.float64)
    order = np.argsort(np.where(np.isfinite(known), known, np.inf), kind="stable")
    order = order[: int(np.isfinite(known).sum())]
    sorted_values = known[order]
    right = np.searchsorted(sorted_values, flat).clip(1, len(order) - 1)
    left = right - 1
    gap_left, gap_right = flat - sorted_values[left], sorted_values[right] - flat
    is_left = (gap_left < gap_right) | ((gap_left == gap_right) & (order[left] % 2 == 0))
    nan = np.flatnonzero(np.isnan(known))
    chosen = np.where(is_left, order[left], order[right])
    bits = np.where(np.isnan(flat) & bool(nan.size), nan[:1].sum(), chosen)
    return np.asarray(bits, np.uint8)


def _refuse_overflow(
    given: Float[np.ndarray, " n"], kept: Shaped[np.ndarray, " n"], dtype: str
) -> None:
    lost = np.isfinite(given) & ~np.isfinite(kept.astype(np.float64))
    if lost.any():
        raise UsageError(
            f"{int(lost.sum())} new values, up to {np.abs(given[lost]).max():.3g}, are beyond what "
            f"{dtype} ({8 * itemsize(dtype)} bits) holds. Store the file in a wider type first."
        )
