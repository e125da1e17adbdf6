"""Today's `torch.save` archives, read without torch: `data.pkl` and one member a storage.

Source: the layout is described in PyTorch's "Serialization semantics", "Serialized file format".
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from pe_inspect.errors import UnreadableCheckpoint
from pe_inspect.loading.byte_source import ByteSource
from pe_inspect.loading.formats import Contents, SourceFile, reads
from pe_inspect.loading.tensor_bytes import Span, member_span
from pe_inspect.loading.tree import plain_tree
from pe_inspect.loading.zip_archive import open_zip, read_small_member

if TYPE_CHECKING:
    from zipfile import ZipFile

    from pe_inspect.loading.tensor_refs import TensorResolver
    from pe_inspect.loading.unpickler import FindMore

SUFFIXES: Final = (".pth", ".pt", ".bin", ".ckpt", ".tar")
LARGEST_PICKLE: Final = 128 << 20


def is_pytorch_zip(file: SourceFile) -> bool:
    """A zip archive with a `data.pkl` in its one folder, and no program beside it."""
    return has_pickle(file) and not has_program(file)


def has_pickle(file: SourceFile) -> bool:
    """Whether there is a `data.pkl` in the archive's one folder."""
    return any(name.split("/")[1:] == ["data.pkl"] for name in file.members)


def has_program(file: SourceFile) -> bool:
    """Whether the archive is one of TorchScript, which keeps its code beside the pickle."""
    return any(name.split("/")[1:2] in (["code"], ["constants.pkl"]) for name in file.members)


@reads("pytorch_zip", name="pytorch", suffixes=SUFFIXES, when=is_pytorch_zip)
def read_pytorch_zip(file: SourceFile) -> Contents:
    """Walk the pickle; tensors become references to where their storage lies.

    Raises:
        UnsafeCheckpoint: the pickle names a global that is not on the list.
        UnreadableCheckpoint: the archive is damaged.
    """
    from pe_inspect.loading.trusted_pickle import read_trusted

    if file.trust_pickle:
        return read_trusted(file)
    tree, tensors = unpickled(file)
    return Contents(plain_tree(tree, tensors), file.source)


def unpickled(file: SourceFile, more: FindMore | None = None) -> tuple[Any, TensorResolver]:
    """Return what the archive's pickle holds, and what makes tensors of its references.

    Args:
        file: the archive.
        more: what stands in place of globals that only some archives name.
    """
    from pe_inspect.loading.tensor_refs import TensorResolver
    from pe_inspect.loading.unpickler import load_plain

    with open_zip(file.source) as archive:
        folder = folder_of(file)
        pickled = read_small_member(archive, f"{folder}/data.pkl", LARGEST_PICKLE)
        value = load_plain(io.BytesIO(pickled), str(file), more=more)
        spans = _spans(archive, file.source, folder)
        return value, TensorResolver(file.source, spans, is_big_endian(archive, folder))


def folder_of(file: SourceFile) -> str:
    """Return the archive's one folder."""
    return next(n for n in file.members if n.split("/")[1:] == ["data.pkl"]).split("/")[0]


def is_big_endian(archive: ZipFile, folder: str) -> bool:
    """Whether the archive says that its numbers are big-endian."""
    name = f"{folder}/byteorder"
    is_said = name in archive.NameToInfo
    return is_said and read_small_member(archive, name, limit=16) == b"big"


def _spans(archive: ZipFile, source: ByteSource, folder: str) -> Callable[[str], Span]:
    """Return a function that finds a storage by its key, and remembers where."""

    @cache
    def span_of(key: str) -> Span:
        info = archive.NameToInfo.get(f"{folder}/data/{key}")
        if info is None:
            raise UnreadableCheckpoint("the archive has no such member")
        return member_span(info, source)

    return span_of
