"""`.safetensors` with some tensors replaced: a new header, then runs of the old bytes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import IO, Any

from pe_inspect.loading.encoding import encode
from pe_inspect.loading.formats import SourceFile
from pe_inspect.loading.formats.safetensors import read_header
from pe_inspect.loading.rewriting import TensorEdit, rewrites
from pe_inspect.loading.rewriting._streams import copy_range

__all__ = ["rewrite_safetensors"]

ALIGNMENT = 8


@rewrites("safetensors")
def rewrite_safetensors(file: SourceFile, edits: Sequence[TensorEdit], out: IO[bytes]) -> None:
    """Copy the file; names, their order, metadata and all other bytes stay."""
    header, data = read_header(file)
    new = {edit.tensor.key: encode(edit.values, edit.tensor.dtype) for edit in edits}
    shapes = {edit.tensor.key: list(edit.values.shape) for edit in edits}
    stored = {key: entry for key, entry in header.items() if key != "__metadata__"}
    order = sorted(stored, key=lambda key: stored[key]["data_offsets"])
    made, position = dict[str, Any](), 0
    for key in order:
        begin, end = stored[key]["data_offsets"]
        size = len(new[key]) if key in new else end - begin
        shape = shapes.get(key, stored[key]["shape"])
        made[key] = stored[key] | {"shape": shape, "data_offsets": [position, position + size]}
        position += size
    _write_header({key: made.get(key, header[key]) for key in header}, out)
    _write_data(file, [(stored[key]["data_offsets"], new.get(key)) for key in order], data, out)


def _write_header(header: dict[str, Any], out: IO[bytes]) -> None:
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    out.write(len(text).to_bytes(8, "little") + text)


def _write_data(
    file: SourceFile, parts: list[tuple[list[int], bytes | None]], data: Any, out: IO[bytes]
) -> None:
    """Write new tensors, and between them the old bytes in as few runs as possible."""
    start = end = 0
    for (_begin, stop), content in parts:
        if content is None:
            end = stop
            continue
        copy_range(file.source, out, data.offset + start, end - start)
        out.write(content)
        start = end = stop
    copy_range(file.source, out, data.offset + start, end - start)
