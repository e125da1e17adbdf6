"""`torch.save` files from before PyTorch 1.6 with some storages replaced."""

from __future__ import annotations

import pickle
import pickletools
from collections.abc import Sequence
from typing import IO, Literal

from pe_inspect.loading.byte_source import for_unpickling
from pe_inspect.loading.formats import SourceFile
from pe_inspect.loading.formats.pytorch_legacy import COUNT_BYTES, storage_spans
from pe_inspect.loading.rewriting import TensorEdit, rewrites
from pe_inspect.loading.rewriting._pickle_edits import edited
from pe_inspect.loading.rewriting._streams import copy_range
from pe_inspect.loading.unpickler import load_plain

__all__ = ["rewrite_pytorch_legacy"]

MAGIC_VERSION_SYSTEM = 3
PROTOCOL = 2


@rewrites("pytorch_legacy")
def rewrite_pytorch_legacy(file: SourceFile, edits: Sequence[TensorEdit], out: IO[bytes]) -> None:
    """Copy the pickles and then the storages, in the file's order; new storages come last."""
    system, spans = storage_spans(file)
    is_big_endian = isinstance(system, dict) and system.get("little_endian") is False
    head, pickled, order = _pickles(file)
    made = edited(pickled, edits, big_endian=is_big_endian)
    added = [key for key in made.storages if key not in order]
    out.write(head + made.content + pickle.dumps([*order, *added], PROTOCOL))
    byte_order: Literal["little", "big"] = "big" if is_big_endian else "little"
    for key in [*order, *added]:
        if key in made.storages:
            out.write(made.counts[key].to_bytes(COUNT_BYTES, byte_order) + made.storages[key])
        else:
            span = spans[key]
            copy_range(file.source, out, span.offset - COUNT_BYTES, span.nbytes + COUNT_BYTES)


def _pickles(file: SourceFile) -> tuple[bytes, bytes, list[str]]:
    """Return the three first pickles, the one of the object, and the order of storages."""
    with for_unpickling(file.source) as stream:
        for _ in range(MAGIC_VERSION_SYSTEM):
            _skip(stream)
        begin = stream.tell()
        _skip(stream)
        end = stream.tell()
        order = load_plain(stream, str(file))
        stream.seek(0)
        head = stream.read(begin)
        return head, stream.read(end - begin), [str(key) for key in order]


def _skip(stream: IO[bytes]) -> None:
    for _ in pickletools.genops(stream):
        pass
