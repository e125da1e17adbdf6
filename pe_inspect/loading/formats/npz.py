"""`.npz`: a zip archive of `.npy` members, as numpy and the JAX code bases write it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pe_inspect.loading.checkpoint import StoredTensor
from pe_inspect.loading.formats import Contents, SourceFile, reads
from pe_inspect.loading.formats.npy import array_header, lazy_array
from pe_inspect.loading.tensor_bytes import member_span
from pe_inspect.loading.zip_archive import open_zip

if TYPE_CHECKING:
    from zipfile import ZipFile, ZipInfo


def is_npz(file: SourceFile) -> bool:
    """A zip archive of arrays and nothing else."""
    return bool(file.members) and all(name.endswith(".npy") for name in file.members)


@reads("npz", name="npz", suffixes=(".npz",), when=is_npz)
def read_npz(file: SourceFile) -> Contents:
    """Read every member's header; numbers stay in the archive until they are asked for.

    Raises:
        UnreadableCheckpoint: the archive is damaged, or a member holds Python objects.
    """
    with open_zip(file.source) as archive:
        tensors = {
            info.filename.removesuffix(".npy"): _member(archive, info, file)
            for info in archive.infolist()
        }
    found = {key: tensor.named(key) for key, tensor in tensors.items()}
    return Contents(found, file.source, notes=_notes_on_opaque(found))


def _member(archive: ZipFile, info: ZipInfo, file: SourceFile) -> StoredTensor:
    what = f"{file} ({info.filename})"
    with archive.open(info) as stream:
        header = array_header(stream, what)
        start = stream.tell()
    span = member_span(info, file.source)
    numbers = replace(span, offset=span.offset + start, nbytes=span.nbytes - start)
    return lazy_array(numbers, header, what)


def _notes_on_opaque(tensors: dict[str, StoredTensor]) -> tuple[str, ...]:
    """JAX saves bfloat16 as two opaque bytes; numpy cannot tell them from any other two."""
    opaque = sum(tensor.dtype == "bfloat16" for tensor in tensors.values())
    note = f"{opaque} arrays of opaque 2-byte values (|V2) are read as bfloat16"
    return (note,) if opaque else ()
