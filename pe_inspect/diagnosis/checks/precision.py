"""What half precision does to a table: rounding, overflow, and values too small for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from pe_inspect.arrays import Float32
from pe_inspect.diagnosis.checks import on_file
from pe_inspect.diagnosis.held_tables import keys_of_tables
from pe_inspect.finding import Finding
from pe_inspect.kinds.precision import DIGITS, FloatType, narrowest_type
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["half_precision", "overflow", "underflow"]

FEWEST: Final = 64  # values, to say anything of their distribution
FLOAT16_MAX: Final = 65504.0
FLOAT16_NORMAL: Final = 2.0**-14  # the least with all its digits


@dataclass(frozen=True, eq=False)
class _Stored:
    key: str
    dtype: str
    values: Float32[np.ndarray, " values"]

    @property
    def finite(self) -> Float32[np.ndarray, " finite"]:
        """The values without NaN and infinities."""
        values: Float32[np.ndarray, " finite"] = self.values[np.isfinite(self.values)]
        return values


def _stored_tables(checkpoint: Checkpoint) -> Iterator[_Stored]:
    for key in keys_of_tables(checkpoint):
        values = np.asarray(checkpoint.tensor(key), dtype=np.float32).ravel()
        yield _Stored(checkpoint.stored_key(key), checkpoint.dtype(key), values)


@on_file("half-precision")
def half_precision(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Tables of a 32-bit type all of whose values fit 16 bits: they were rounded on the way."""
    found: dict[FloatType, list[str]] = {}
    for stored in _stored_tables(checkpoint):
        kind = narrowest_type(stored.values)
        if stored.dtype in ("float32", "float64") and kind != "float32":
            found.setdefault(kind, []).append(stored.key)
    for kind, keys in found.items():
        yield _rounded(checkpoint, kind, keys)


def _rounded(checkpoint: Checkpoint, kind: FloatType, keys: list[str]) -> Finding:
    digits = DIGITS[kind]
    more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
    return Finding(
        "half-precision",
        keys[0],
        f"Every value of {keys[0]}{more} is a {kind}, though the file stores "
        f"{checkpoint.dtype(_key_of(checkpoint, keys[0]))}: {digits} binary digits are left of 24.",
        f"The table was rounded to {kind} on its way (relative error up to 2^-{digits}); training "
        "on from here does not bring the digits back.",
        "Take the table from the checkpoint that training wrote, before it was cast; if this is "
        "how it was released, pass --allow half-precision.",
        {"type": kind, "digits": digits, "tables": len(keys)},
    )


def _key_of(checkpoint: Checkpoint, stored: str) -> str:
    return next(key for key in checkpoint if checkpoint.stored_key(key) == stored)


@on_file("overflow")
def overflow(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Infinite values where float16 was too small for them."""
    for stored in _stored_tables(checkpoint):
        infinite = int(np.isinf(stored.values).sum())
        was_half = "float16" in (stored.dtype, narrowest_type(stored.values))
        if infinite and was_half:
            yield Finding(
                "overflow",
                stored.key,
                f"{infinite} values of {stored.key} are infinite, and the others are float16, "
                f"whose largest is {FLOAT16_MAX:g}.",
                "They were larger than float16 can hold and are lost.",
                "Save the table again from the training checkpoint as float32 or bfloat16.",
                {"infinite": infinite, "largest": FLOAT16_MAX},
                "error",
            )


@on_file("underflow")
def underflow(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Small values that float16 could not keep: set to zero, or down to their last digits."""
    for stored in _stored_tables(checkpoint):
        is_half = "float16" in (stored.dtype, narrowest_type(stored.values))
        sizes = np.abs(stored.finite)
        if is_half and len(sizes) >= FEWEST:
            yield from _lost(stored.key, sizes)


def _lost(key: str, sizes: Float32[np.ndarray, " values"]) -> Iterator[Finding]:
    zeros, moving = int((sizes == 0).sum()), sizes[sizes > 0]
    if not moving.size:
        return
    small = float(np.mean(moving < FLOAT16_NORMAL))
    if small > 0.5:
        yield Finding(
            "underflow",
            key,
            f"{100 * small:.0f} % of the values of {key} are under {FLOAT16_NORMAL:.1e}, where "
            f"float16 loses digits; {zeros} are zero.",
            "The table is too small for float16: what is left of it is mostly rounding.",
            "Save the table again from the training checkpoint as float32 or bfloat16.",
            {"fraction_subnormal": small, "zeros": zeros, "least_normal": FLOAT16_NORMAL},
        )
