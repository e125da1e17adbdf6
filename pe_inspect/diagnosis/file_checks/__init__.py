"""The doctor's checks of a file: names, shapes, types and buffers. A new one is one function here.

    @file_checks.register("index-buffer")
    def index_buffer(checkpoint: Checkpoint) -> Iterator[Finding]: ...

What can be told from an embedding's arrays alone is checked in the analysis room instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from pe_inspect.finding import Finding
from pe_inspect.loading.checkpoint import Checkpoint
from pe_inspect.registry import Registry

__all__ = ["FileCheck", "file_checks"]

FileCheck: TypeAlias = Callable[[Checkpoint], Iterator[Finding]]

file_checks: Final[Registry[FileCheck]] = Registry("file check", "pe_inspect.diagnosis.file_checks")
