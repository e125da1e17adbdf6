"""Reading one tensor as the containers hold it."""

from __future__ import annotations

from typing import Final

import numpy as np

from pe_inspect.arrays import Float32
from pe_inspect.errors import UnreadableCheckpoint
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["read_float32"]

QUANTISED: Final = ("int8", "uint8")


def read_float32(checkpoint: Checkpoint, key: str) -> Float32[np.ndarray, "..."]:
    """Read a tensor as float32, whatever type the file stores.

    Raises:
        UnreadableCheckpoint: it holds complex numbers, or small integers in place of its numbers.
    """
    if checkpoint.dtype(key) in QUANTISED:
        raise UnreadableCheckpoint(
            f"{checkpoint.stored_key(key)} of {checkpoint.source} holds {checkpoint.dtype(key)} "
            "integers: the file is quantised, and this table with it. Give the file that it was "
            "made from."
        )
    if checkpoint.dtype(key).startswith("complex"):
        raise UnreadableCheckpoint(
            f"{checkpoint.stored_key(key)} of {checkpoint.source} holds {checkpoint.dtype(key)}: "
            "complex numbers, and a position embedding is read as real ones. Save its real part, "
            "its angles, or both as real numbers."
        )
    return np.asarray(checkpoint.tensor(key), dtype=np.float32)
