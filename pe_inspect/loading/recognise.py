"""Which format a file is of, by its content."""

from __future__ import annotations

from pe_inspect.errors import UnreadableCheckpoint
from pe_inspect.loading.byte_source import suffix_of
from pe_inspect.loading.formats import Format, SourceFile, formats

__all__ = ["recognise", "suffix_note"]


def recognise(file: SourceFile) -> Format:
    """Return the format that claims the file.

    Raises:
        UnreadableCheckpoint: none does; the message says what the file is, where that is known.
    """
    try:
        claimed = next((f for f in formats.values() if f.recognises(file)), None)
    except OSError as error:
        raise UnreadableCheckpoint(f"{file} cannot be read: {error.strerror}.") from error
    if claimed is None:
        from pe_inspect.loading.foreign import what_it_is

        raise UnreadableCheckpoint(what_it_is(file))
    return claimed


def suffix_note(file: SourceFile, read_as: Format) -> tuple[str, ...]:
    """Say so where the extension promises another format than the content."""
    if file.is_folder:
        return ()
    suffix = suffix_of(file.source.name)
    promised = sorted({f.name for f in formats.values() if suffix in f.suffixes})
    if not promised or suffix in read_as.suffixes:
        return ()
    name, words = file.source.name, " or ".join(promised)
    return (f"{name} is {read_as.name} by content, not {words}; read as that",)
