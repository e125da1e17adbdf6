"""Which format a file is of, by its content."""

from __future__ import annotations

from collections.abc import Iterator

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
        claimed = next((f for f in _likeliest_first(file) if f.recognises(file)), None)
    except OSError as error:
        raise UnreadableCheckpoint(f"{file} cannot be read: {error.strerror}.") from error
    if claimed is None:
        from pe_inspect.loading.foreign import what_it_is

        raise UnreadableCheckpoint(what_it_is(file))
    return claimed


def _likeliest_first(file: SourceFile) -> Iterator[Format]:
    """Yield the format of a folder, or that which an extension is named after, then all of them.

    Only what is yielded is imported.
    """
    likely = "huggingface" if file.is_folder else suffix_of(file.source.name).removeprefix(".")
    if likely in formats.stems() and likely in formats:
        yield formats[likely]
    yield from formats.values()


def suffix_note(file: SourceFile, read_as: Format) -> tuple[str, ...]:
    """Say so where the extension promises another format than the content."""
    if file.is_folder:
        return ()
    suffix = suffix_of(file.source.name)
    if suffix in read_as.suffixes:
        return ()
    promised = sorted({f.name for f in formats.values() if suffix in f.suffixes})
    if not promised:
        return ()
    name, words = file.source.name, " or ".join(promised)
    return (f"{name} is {read_as.name} by content, not {words}; read as that",)
