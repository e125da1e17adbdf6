"""The only place that opens weight files: a path or name becomes a `Checkpoint` of lazy tensors.

formats/        one function a format, found by content
byte_source    where bytes come from: files and folders, of this machine or not
remote/         names and URLs: ranges of files on servers, kept in a cache
containers     which of a file's dictionaries is the state dict
prefixes       wrapper prefixes and towers, down to the vision trunk's own names
hints          what a config.json or saved arguments say
checkpoint      the container that families are handed
"""

from __future__ import annotations

from pe_inspect.loading.byte_source import ChangedMeanwhile
from pe_inspect.loading.checkpoint import Checkpoint, Hints, StoredTensor
from pe_inspect.loading.opening import load

__all__ = [
    "ChangedMeanwhile",
    "Checkpoint",
    "Hints",
    "StoredTensor",
    "load",
]
