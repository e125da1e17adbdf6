"""`--trust-pickle`: the one place where a checkpoint may run code, because the user said so."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pe_inspect.errors import UnreadableCheckpoint, reason
from pe_inspect.loading.checkpoint import tensor_in_memory
from pe_inspect.loading.formats import Contents, SourceFile
from pe_inspect.loading.tree import plain_leaf, plain_tree

__all__ = ["read_trusted"]


def read_trusted(file: SourceFile, *, is_torch: bool = True) -> Contents:
    """Unpickle a file without restrictions; a module becomes its state dict.

    Args:
        file: the file that the user trusts.
        is_torch: whether `torch.save` wrote it; else it is a plain pickle.

    Raises:
        UnreadableCheckpoint: unpickling failed; the message carries the reason.
    """
    path = file.source.whole()
    try:
        value = _torch_load(path, file.is_zip) if is_torch else pickle.loads(path.read_bytes())  # noqa: S301
    except Exception as error:  # the file's own code ran: it may raise anything
        raise UnreadableCheckpoint(
            f"{file} was trusted, and cannot be unpickled: "
            f"{type(error).__name__}: {reason(error)}. "
            "The code that its classes come from must be importable."
        ) from error
    note = "--trust-pickle: the file's pickle was allowed to run code"
    return Contents(plain_tree(value, _reduced), file.source, notes=(note,))


def _torch_load(path: Path, is_zip: bool) -> Any:
    import torch

    return torch.load(path, map_location="cpu", weights_only=False, mmap=is_zip)


def _reduced(value: Any) -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        return tensor_in_memory("", value)
    if isinstance(value, torch.nn.Module):
        return dict(value.state_dict())
    if isinstance(value, Mapping):
        return dict(value)
    return plain_leaf(value) or _attributes(value)


def _attributes(value: Any) -> dict[str, Any] | None:
    """The attributes of a Namespace and of objects like it."""
    attributes = getattr(value, "__dict__", None)
    return dict(attributes) if attributes and not callable(value) else None
