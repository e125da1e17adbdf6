"""What `torch.save` wrote before PyTorch 1.6: five pickles, then the storages one by one.

Read without torch by the same restricted unpickler, and as lazily as today's archives.
Source: `torch.serialization._legacy_save`, whose order of parts this follows.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from pe_inspect.errors import UnreadableCheckpoint, printable
from pe_inspect.loading.byte_source import for_unpickling
from pe_inspect.loading.dtypes import is_known, itemsize
from pe_inspect.loading.formats import Contents, SourceFile, damaged, reads
from pe_inspect.loading.inert import StorageRef
from pe_inspect.loading.tensor_bytes import Span
from pe_inspect.loading.tree import plain_tree

SUFFIXES: Final = (".pth", ".pt", ".bin", ".ckpt", ".tar")
MAGIC: Final = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
COUNT_BYTES: Final = 8


def is_pytorch_legacy(file: SourceFile) -> bool:
    """A first pickle that holds PyTorch's magic number."""
    return file.head.startswith(b"\x80") and MAGIC in file.head[:32]


@reads("pytorch_legacy", name="pytorch", suffixes=SUFFIXES, when=is_pytorch_legacy)
def read_pytorch_legacy(file: SourceFile) -> Contents:
    """Walk the pickles, then find where each storage starts.

    Raises:
        UnsafeCheckpoint: the pickle names a global that is not on the list.
        UnreadableCheckpoint: the file is truncated or damaged.
    """
    from pe_inspect.loading.tensor_refs import TensorResolver
    from pe_inspect.loading.trusted_pickle import read_trusted

    if file.trust_pickle:
        return read_trusted(file)
    tree, system, spans = _parts(file)
    is_big_endian = isinstance(system, dict) and system.get("little_endian") is False
    resolver = TensorResolver(file.source, partial(_span, spans), is_big_endian)
    return Contents(plain_tree(tree, resolver), file.source)


def storage_spans(file: SourceFile) -> tuple[Any, dict[str, Span]]:
    """Return what the file says of the system that wrote it, and where each storage lies."""
    _, system, spans = _parts(file)
    return system, spans


def _parts(file: SourceFile) -> tuple[Any, Any, dict[str, Span]]:
    """Walk the five pickles, then follow the storages."""
    from pe_inspect.loading.unpickler import load_plain

    with for_unpickling(file.source) as pickled:
        source, storages = str(file), dict[str, StorageRef]()
        _magic, _version, system = (load_plain(pickled, source) for _ in range(3))
        tree = load_plain(pickled, source, storages)
        order = load_plain(pickled, source)
        return tree, system, _spans(file, pickled, order, storages)


def _spans(
    file: SourceFile, pickled: Any, order: Any, storages: dict[str, StorageRef]
) -> dict[str, Span]:
    """Follow the storages: each is its number of elements (eight bytes), then its elements.

    The pickle states the number too. It is believed where each look would be a request.
    """
    spans: dict[str, Span] = {}
    is_near = file.source.path is not None
    for key in order if isinstance(order, list) else []:
        if type(key) is not str:
            raise damaged(file, f"is damaged: a storage is called by {type(key).__name__}")
        storage = storages.get(key, StorageRef(key, None))
        dtype, count = storage.dtype, storage.count
        if is_near:
            count = int.from_bytes(pickled.read(COUNT_BYTES), "little")
        else:
            pickled.seek(COUNT_BYTES, 1)
        nbytes = count * _element_size(dtype)
        if pickled.tell() + nbytes > file.size:
            raise damaged(file, f"is truncated: storage {printable(key)!r} needs {nbytes} bytes")
        spans[key] = Span(file.source, pickled.tell(), nbytes)
        pickled.seek(nbytes, 1)
    if not is_near and pickled.tell() != file.size:
        raise damaged(file, f"is damaged: its storages end at byte {pickled.tell()}, not its last")
    return spans


def _span(spans: dict[str, Span], key: str) -> Span:
    if key not in spans:
        raise UnreadableCheckpoint("the file has no such storage")
    return spans[key]


def _element_size(dtype: str | None) -> int:
    if dtype is None:
        return 1
    if is_known(dtype):
        return itemsize(dtype)
    return 4 if dtype == "qint32" else 1
