"""`.npz` with some arrays replaced; all other members are copied as they are."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import IO

import numpy as np

from pe_inspect.loading.encoding import encode
from pe_inspect.loading.formats import SourceFile
from pe_inspect.loading.rewriting import TensorEdit, rewrites
from pe_inspect.loading.zip_archive import open_zip

__all__ = ["as_npy", "rewrite_npz"]


@rewrites("npz")
def rewrite_npz(file: SourceFile, edits: Sequence[TensorEdit], out: IO[bytes]) -> None:
    """Copy the archive member by member, in its order."""
    from pe_inspect.loading.rewriting._zip_writer import ZipWriter

    new = {f"{edit.tensor.key}.npy": edit for edit in edits}
    with open_zip(file.source) as archive:
        writer = ZipWriter(out)
        for info in archive.infolist():
            if info.filename in new:
                writer.add(info, as_npy(new[info.filename]))
            else:
                writer.copy(info, file.source)
        writer.close(archive.comment)


def as_npy(edit: TensorEdit) -> bytes:
    """Return an edit as the bytes of a `.npy` file; bfloat16 as JAX keeps it, two opaque bytes."""
    dtype = edit.tensor.dtype
    descr = "|V2" if dtype == "bfloat16" else np.dtype(dtype).newbyteorder("<").str
    head = io.BytesIO()
    header = {"descr": descr, "fortran_order": False, "shape": edit.values.shape}
    np.lib.format.write_array_header_1_0(head, header)
    return head.getvalue() + encode(edit.values, dtype)
