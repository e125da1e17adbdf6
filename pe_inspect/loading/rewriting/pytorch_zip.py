"""Today's `torch.save` archives with some storages replaced; optimizers and arguments stay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, Final

from pe_inspect.loading.formats import SourceFile
from pe_inspect.loading.formats.pytorch_zip import LARGEST_PICKLE, folder_of, is_big_endian
from pe_inspect.loading.rewriting import TensorEdit, rewrites
from pe_inspect.loading.rewriting._pickle_edits import edited
from pe_inspect.loading.rewriting._zip_writer import ZipWriter
from pe_inspect.loading.zip_archive import open_zip, read_small_member

__all__ = ["rewrite_pytorch_zip"]

ALIGNMENT: Final = 64


@rewrites("pytorch_zip")
def rewrite_pytorch_zip(file: SourceFile, edits: Sequence[TensorEdit], out: IO[bytes]) -> None:
    """Copy the archive member by member, in its order; new storages follow the old ones."""
    with open_zip(file.source) as archive:
        folder = folder_of(file)
        pickled = read_small_member(archive, f"{folder}/data.pkl", LARGEST_PICKLE)
        made = edited(pickled, edits, big_endian=is_big_endian(archive, folder))
        new = {f"{folder}/data/{key}": content for key, content in made.storages.items()}
        new[f"{folder}/data.pkl"] = made.content
        members, writer = archive.infolist(), ZipWriter(out, ALIGNMENT)
        data = [info for info in members if info.filename.startswith(f"{folder}/data/")]
        for info in members:
            if info.filename in new:
                writer.add(info, new.pop(info.filename))
            else:
                writer.copy(info, file.source)
            if data and info is data[-1]:
                extra = [name for name in new if not name.endswith("/data.pkl")]
                for name in extra:
                    writer.add(info, new.pop(name), name)
        writer.close(archive.comment)
