"""Keras's weights: `.h5` of Keras 2 and of transformers, `.weights.h5` and `.keras` of Keras 3.

HDF5 is read by h5py, an extra: its structures are many, and most of its files are small. Numbers
that lie in one piece are read without it, from their place.
"""

from __future__ import annotations

from typing import Final

from pe_inspect.errors import UnreadableCheckpoint
from pe_inspect.loading.formats import Contents, SourceFile, damaged, reads
from pe_inspect.loading.zip_archive import after_local_header, open_zip

MAGIC: Final = b"\x89HDF\r\n\x1a\n"
WEIGHTS: Final = "model.weights.h5"


def is_keras(file: SourceFile) -> bool:
    """HDF5's magic; or an archive of a model's description and its weights in HDF5."""
    return file.head.startswith(MAGIC) or {WEIGHTS, "config.json"} <= set(file.members)


@reads(
    "keras",
    name="keras",
    suffixes=(".h5", ".hdf5", ".keras"),
    when=is_keras,
    way="load it with Keras, numpy.savez its weights under their paths, and write from that",
)
def read_keras(file: SourceFile) -> Contents:
    """Walk the groups; numbers stay in the file.

    Raises:
        UnreadableCheckpoint: the file is damaged, or holds no weights.
        MissingLibrary: h5py is not installed.
    """
    from pe_inspect.extras import needed
    from pe_inspect.loading.channels_last import as_torch_has_them

    with needed(f"{file}, an HDF5 file,"):
        from pe_inspect.loading.hdf5 import keras_weights

    inner = _weights_in(file) if file.is_zip else file
    found = keras_weights(inner.source)
    if not found.tensors:
        raise UnreadableCheckpoint(
            f"{file} is an HDF5 file without Keras's weights. Save those as .weights.h5, or as "
            ".npz under their names."
        )
    note = "names and axes as PyTorch has them: kernels transposed"
    return Contents(as_torch_has_them(found.tensors), file.source, notes=(note, *found.notes))


def _weights_in(file: SourceFile) -> SourceFile:
    """The archive's HDF5 file, where it lies."""
    from pe_inspect.loading.wire.stretch import Stretch

    with open_zip(file.source) as archive:
        info = archive.NameToInfo[WEIGHTS]
    if info.compress_type or info.flag_bits & 1:
        raise UnreadableCheckpoint(f"{file} is packed. Unpack it, and give its {WEIGHTS}.")
    with file.source.open() as stream:
        start = after_local_header(stream, info.header_offset)
    if start + info.file_size > file.size:
        raise damaged(file, "is truncated")
    return SourceFile(Stretch(file.source, start, info.file_size, WEIGHTS))
