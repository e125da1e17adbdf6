"""`.npy`: the one array, replaced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO

from pe_inspect.loading.formats import SourceFile
from pe_inspect.loading.rewriting import TensorEdit, rewrites
from pe_inspect.loading.rewriting.npz import as_npy

__all__ = ["rewrite_npy"]


@rewrites("npy")
def rewrite_npy(_file: SourceFile, edits: Sequence[TensorEdit], out: IO[bytes]) -> None:
    """Write the array; its file holds nothing else."""
    out.write(as_npy(edits[0]))
