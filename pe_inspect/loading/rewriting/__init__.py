"""The checkpoint formats again, the other way round: a copy of a file with some tensors replaced.

A rewriter copies bytes: what is not replaced is neither read as numbers nor converted, so that it
is the same to the last bit, and a large file takes no memory. A new format is one more function
here, under the name of its reader in `formats/`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from pe_inspect.arrays import Shaped
from pe_inspect.errors import UsageError
from pe_inspect.loading.byte_source import ByteSource
from pe_inspect.loading.checkpoint import StoredTensor
from pe_inspect.loading.formats import Format, SourceFile, formats
from pe_inspect.registry import Registry

__all__ = ["Rewriter", "TensorEdit", "rewriters", "rewrites", "written_as"]


@dataclass(frozen=True, eq=False)
class TensorEdit:
    """A tensor of a file, and the values that take its place.

    Attributes:
        tensor: as a reader of the same file returned it.
        values: of any shape; they are stored in the tensor's own type.
    """

    tensor: StoredTensor
    values: Shaped[np.ndarray, "..."]


Rewriter = Callable[[SourceFile, Sequence[TensorEdit], IO[bytes]], Any]

rewriters: Registry[Rewriter] = Registry("rewriter", "pe_inspect.loading.rewriting")


def rewrites(entry: str) -> Callable[[Rewriter], Rewriter]:
    """Register the decorated function as the rewriter of the format that is entered so."""
    return rewriters.register(entry)


def written_as(place: ByteSource) -> tuple[Format, Rewriter]:
    """Return a file's format, by content, and what rewrites it.

    Raises:
        UsageError: no rewriter is of this format.
    """
    file = SourceFile(place)
    entry = next((name for name, each in formats.items() if each.recognises(file)), None)
    if entry is not None and formats[entry].way:
        raise UsageError(
            f"{place} is {formats[entry].name}, and is not written: {formats[entry].way}."
        )
    if entry is None or entry not in rewriters:
        raise UsageError(f"{place} is of a format that cannot be written: {', '.join(rewriters)}.")
    return formats[entry], rewriters[entry]
