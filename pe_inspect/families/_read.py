"""Reading one tensor as the containers hold it."""

from __future__ import annotations

import numpy as np

from pe_inspect._typing import Float32
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["read_float32"]


def read_float32(checkpoint: Checkpoint, key: str) -> Float32[np.ndarray, "..."]:
    """Read a tensor as float32, whatever type the file stores."""
    return np.asarray(checkpoint.tensor(key), dtype=np.float32)
