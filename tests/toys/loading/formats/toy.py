"""A toy format: one line `#toy NAME H W D`, then H·W·D numbers, little-endian float32."""

from __future__ import annotations

from pe_inspect.loading.formats import Contents, SourceFile, reads
from pe_inspect.loading.tensor_bytes import Span, lazy_tensor


def is_toy(file: SourceFile) -> bool:
    """Its first word."""
    return file.head.startswith(b"#toy ")


@reads("toy", name="toy", suffixes=(".toy",), when=is_toy)
def read_toy(file: SourceFile) -> Contents:
    """Read the line; the numbers stay in the file."""
    line = file.head.partition(b"\n")[0]
    _, name, *sides = line.decode().split()
    span = Span(file.source, len(line) + 1, file.size - len(line) - 1)
    shape = tuple(int(side) for side in sides)
    return Contents({name: lazy_tensor(span, "float32", shape)}, file.source)
