"""A toy method: every new place has the row of the table's first corner."""

from __future__ import annotations

import numpy as np

from pe_inspect.resampling.registering import separable


@separable("corner", call="first row and column", source="the toy of the tests")
def corner(source: int, target: int, exact: bool) -> np.ndarray:
    """Weigh the first place alone."""
    return np.eye(source)[np.zeros(target, dtype=int)]
