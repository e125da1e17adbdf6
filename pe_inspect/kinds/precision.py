"""How many digits the values of an array have, whatever type they are held in."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np

from pe_inspect.arrays import Float32

__all__ = ["DIGITS", "FloatType", "narrowest_type"]

FloatType = Literal["float32", "float16", "bfloat16"]

DIGITS: Final[dict[FloatType, int]] = {"float32": 24, "float16": 11, "bfloat16": 8}

# Of float32's values one in 2¹³ is a float16 by chance and one in 2¹⁶ a bfloat16.
FEWEST: Final = 64


def narrowest_type(values: Float32[np.ndarray, "..."]) -> FloatType:
    """Return the narrowest type that holds every finite value; float32 for too few to tell."""
    different = np.unique(values[np.isfinite(values) & (values != 0)])
    if len(different) < FEWEST:
        return "float32"
    if not (different.view(np.uint32) & np.uint32(0xFFFF)).any():
        return "bfloat16"
    with np.errstate(over="ignore"):
        is_half = (different.astype(np.float16) == different).all()
    return "float16" if is_half else "float32"
