"""Datasets by name, as plain uint8 arrays; `load("digits")` is the way in.

The datasets themselves are one file each in `data/datasets/`.
"""

from __future__ import annotations

from pe_inspect.data.dataset import Dataset, Split, load

__all__ = ["Dataset", "Split", "load"]
