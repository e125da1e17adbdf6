"""From a pickle's tensor references to lazy tensors, once it is known where the storages lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pe_inspect.errors import UnreadableCheckpoint, printable
from pe_inspect.loading.byte_source import ByteSource
from pe_inspect.loading.checkpoint import StoredTensor
from pe_inspect.loading.formats import damaged
from pe_inspect.loading.inert import StorageRef, TensorRef
from pe_inspect.loading.tensor_bytes import Span, lazy_tensor, unreadable_tensor
from pe_inspect.loading.tree import plain_leaf

__all__ = ["TensorResolver"]


@dataclass(frozen=True)
class TensorResolver:
    """Resolves what `_unpickler.load_plain` returns, leaf by leaf.

    Attributes:
        source: the file.
        span_of: where the storage of that key lies; raises where there is none.
        is_big_endian: the byte order of the machine that wrote the file.
    """

    source: ByteSource
    span_of: Callable[[str], Span]
    is_big_endian: bool = False

    def __call__(self, value: Any) -> Any:
        """Return a lazy tensor for a reference, and what `plain_leaf` says for anything else."""
        if not isinstance(value, TensorRef):
            return plain_leaf(value)
        if value.storage is None:
            return unreadable_tensor(value.shape, value.dtype, value.problem)
        return self._tensor(value, value.storage)

    def _tensor(self, ref: TensorRef, storage: StorageRef) -> StoredTensor:
        try:
            return lazy_tensor(
                self.span_of(storage.key),
                ref.dtype,
                ref.shape,
                strides=ref.strides,
                start=ref.start,
                big_endian=self.is_big_endian,
                storage=(str(self.source), storage.key),
            )
        except UnreadableCheckpoint as error:
            what = f"is truncated or damaged: storage {printable(storage.key)!r}: {error}"
            raise damaged(self.source, what) from error
