"""Files that open and whose tensors are no weights by themselves: parts of DeepSpeed's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pe_inspect.errors import UnreadableCheckpoint
from pe_inspect.loading.checkpoint import StoredTensor

__all__ = ["refuse_part"]


def refuse_part(tree: Mapping[str, Any], source: str) -> None:
    """Refuse a rank's partition; a file in which DeepSpeed left the weights whole is fine.

    Raises:
        UnreadableCheckpoint: the file holds one rank's part of optimizer or weights.
    """
    weights = tree.get("module")
    if isinstance(weights, dict):
        tensors = [part for part in weights.values() if isinstance(part, StoredTensor)]
        if any(tensor.size for tensor in tensors) or not tensors:
            return
        what = "the names of weights that ZeRO has cut into the ranks' partitions"
    else:
        what = "one rank's partition of an optimizer"
    raise UnreadableCheckpoint(
        f"{source} holds {what} (DeepSpeed). Run `python zero_to_fp32.py . OUT` in the folder of "
        "its checkpoint, which joins them, and give OUT."
    )
