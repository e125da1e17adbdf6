"""The only place that opens weight files: a path becomes a `Checkpoint` of lazy tensors.

formats/        one function a format, found by content
_containers     which of a file's dictionaries is the state dict
_prefixes       wrapper prefixes and towers, down to the vision trunk's own names
_hints          what a config.json or saved arguments say
checkpoint      the container that families are handed
"""

from __future__ import annotations

from pe_inspect.loading._load import load
from pe_inspect.loading.checkpoint import Checkpoint, Hints, StoredTensor

__all__ = ["Checkpoint", "Hints", "StoredTensor", "load"]
