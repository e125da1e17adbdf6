"""Datasets by name, as plain uint8 arrays; `load("digits")` is the way in.

The datasets themselves are one file each in `data/datasets/`. A recipe names an augmentation
without loading NumPy: what needs it is loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pe_inspect.data.by_name import load
    from pe_inspect.data.dataset import Dataset, FileSplit, Split

__all__ = ["Dataset", "FileSplit", "Split", "load"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "by_name" if name == "load" else "dataset"
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
