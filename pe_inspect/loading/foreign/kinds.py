"""A kind of file that holds no weights, or holds them in a way that is not read."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

from pe_inspect.loading.byte_source import ByteSource, suffix_of

__all__ = [
    "AGAIN",
    "EXPECTED",
    "EXPORT",
    "WEIGHTS",
    "Kind",
    "UnknownFile",
    "matches",
    "named",
    "starts",
]

EXPECTED: Final = (
    "Expected a PyTorch file (.pth .pt .bin .ckpt), .safetensors, .npz, .npy, or a folder with one"
)
EXPORT: Final = "save its weights as .safetensors or .npz and give those"
WEIGHTS: Final = "give the model's weight file"
AGAIN: Final = "copy or download it again"


@runtime_checkable
class UnknownFile(Protocol):
    """A file that no format claims: a `SourceFile`."""

    @property
    def source(self) -> ByteSource:
        """The file."""
        ...

    @property
    def head(self) -> bytes:
        """Its first bytes."""
        ...

    @property
    def is_zip(self) -> bool:
        """Whether it is a zip archive."""
        ...

    @property
    def members(self) -> tuple[str, ...]:
        """The names in it, where it is one."""
        ...


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    Attributes:
        recognises: whether a file is of this kind.
        what: the end of a sentence that begins with the file.
        remedy: what to do about it.
    """

    recognises: Callable[[UnknownFile], bool]
    what: str | Callable[[UnknownFile], str]
    remedy: str


def starts(*magics: bytes, at: int = 0) -> Callable[[UnknownFile], bool]:
    """Return a function that looks for one of some magics at a byte of the file."""
    return lambda file: file.head[at:].startswith(magics)


def matches(pattern: bytes) -> Callable[[UnknownFile], bool]:
    """Return a function that looks for a text at the file's start, whatever its case."""
    expression = re.compile(rb"(?:\xef\xbb\xbf)?\s*" + pattern, re.IGNORECASE | re.DOTALL)
    return lambda file: expression.match(file.head) is not None


def named(*suffixes: str) -> Callable[[UnknownFile], bool]:
    """Return a function for kinds without any mark, of which only the names tell."""
    return lambda file: suffix_of(file.source.name) in suffixes
