"""Number formats by name, and the exact widening of those that numpy does not have.

Sources: bfloat16 is the upper half of a binary32; E4M3 and E5M2 are arXiv:2209.05433; their
`fnuz` variants (one NaN, no negative zero, bias one larger) are arXiv:2206.02915; `e8m0fnu` is
the scale type of the OCP Microscaling specification, v1.0.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numpy as np

from pe_inspect.arrays import Float32, Shaped
from pe_inspect.errors import UnreadableCheckpoint

__all__ = ["decode", "is_known", "itemsize"]

_NUMPY: Final = {
    "bool": "b1",
    "uint8": "u1",
    "int8": "i1",
    "uint16": "u2",
    "int16": "i2",
    "uint32": "u4",
    "int32": "i4",
    "uint64": "u8",
    "int64": "i8",
    "float16": "f2",
    "float32": "f4",
    "float64": "f8",
    "complex64": "c8",
    "complex128": "c16",
}
# exponent bits, mantissa bits, bias, what the all-ones exponent means
_FLOAT8: Final = {
    "float8_e4m3fn": (4, 3, 7, "one NaN"),
    "float8_e5m2": (5, 2, 15, "IEEE"),
    "float8_e4m3fnuz": (4, 3, 8, "negative zero is NaN"),
    "float8_e5m2fnuz": (5, 2, 16, "negative zero is NaN"),
    "float8_e8m0fnu": (8, 0, 127, "unsigned"),
}


def is_known(dtype: str) -> bool:
    """Whether numbers of this type can be read."""
    return dtype in _NUMPY or dtype in _FLOAT8 or dtype == "bfloat16"


@cache
def itemsize(dtype: str) -> int:
    """Bytes an element."""
    if dtype in _FLOAT8:
        return 1
    return 2 if dtype == "bfloat16" else np.dtype(_NUMPY[dtype]).itemsize


def decode(
    buffer: bytes | bytearray, dtype: str, *, big_endian: bool = False
) -> Shaped[np.ndarray, " n"]:
    """Return the numbers of a buffer in native byte order; narrow floats as float32, exactly.

    Raises:
        UnreadableCheckpoint: the type is one that neither numpy nor pe-inspect knows.
    """
    order = ">" if big_endian else "<"
    if dtype == "bfloat16":
        halves = np.frombuffer(buffer, order + "u2").astype(np.uint32)
        return (halves << 16).view(np.float32)
    if dtype in _FLOAT8:
        return _float8_values(dtype)[np.frombuffer(buffer, np.uint8)]
    if dtype not in _NUMPY:
        raise UnreadableCheckpoint(f"Numbers of type {dtype} cannot be read by this version.")
    stored, wide = _read_as(dtype, order)
    values = np.frombuffer(buffer, stored)
    return values if stored == wide else values.astype(wide)


@cache
def _read_as(dtype: str, order: str) -> tuple[np.dtype[Any], np.dtype[Any]]:
    """Return numpy's type of the stored numbers, and that which they are given in."""
    stored = np.dtype(order + _NUMPY[dtype])
    return stored, np.dtype(np.float32) if dtype == "float16" else stored.newbyteorder("=")


@cache
def _float8_values(dtype: str) -> Float32[np.ndarray, "256"]:
    """The value of each of the 256 bit patterns."""
    exponent_bits, mantissa_bits, bias, special = _FLOAT8[dtype]
    bits = np.arange(256)
    mantissa = bits & ((1 << mantissa_bits) - 1)
    exponent = (bits >> mantissa_bits) & ((1 << exponent_bits) - 1)
    sign = np.where((bits >> 7) & (special != "unsigned"), -1.0, 1.0)
    is_normal = (exponent > 0) | (special == "unsigned")
    fraction = is_normal + mantissa / (1 << mantissa_bits)
    power = np.maximum(exponent, 0 if special == "unsigned" else 1) - bias
    values = np.ldexp(sign * fraction, power)
    return _with_specials(values, exponent, mantissa, special).astype(np.float32)


def _with_specials(
    values: np.ndarray, exponent: np.ndarray, mantissa: np.ndarray, special: str
) -> np.ndarray:
    """Put infinities and NaNs where the variant has them."""
    all_ones = exponent == exponent.max()
    if special == "IEEE":
        values[all_ones & (mantissa == 0)] *= np.inf
        values[all_ones & (mantissa != 0)] = np.nan
    elif special == "negative zero is NaN":
        values[0x80] = np.nan
    else:
        values[all_ones & (mantissa == mantissa.max())] = np.nan
    return values
