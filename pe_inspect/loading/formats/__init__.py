"""The checkpoint formats, one module each; a new one is one more function here.

A reader is recognised by content, never by extension, and reads no tensor's numbers: it returns
the file's tree of names with lazy tensors for leaves. All of them are asked whether a file is
theirs, so that what only reading needs (pickles) is imported where it is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from pe_inspect.errors import UnreadableCheckpoint
from pe_inspect.loading.byte_source import ByteSource, Folder, suffix_of
from pe_inspect.registry import Registry

__all__ = [
    "Contents",
    "Format",
    "SourceFile",
    "damaged",
    "formats",
    "reads",
    "recognise",
    "suffix_note",
]

HEAD: Final = 1024


@dataclass(frozen=True)
class SourceFile:
    """A file or folder that is to be recognised and read. `str()` is what messages call it.

    Attributes:
        place: the file or folder.
        trust_pickle: whether a pickle in it may run code.
    """

    place: ByteSource | Folder
    trust_pickle: bool = False

    def __str__(self) -> str:
        return str(self.place)

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return isinstance(self.place, Folder)

    @property
    def folder(self) -> Folder:
        """The folder, where it is one."""
        if not isinstance(self.place, Folder):
            raise TypeError(f"{self} is no folder")
        return self.place

    @property
    def source(self) -> ByteSource:
        """The file, where it is one."""
        if isinstance(self.place, Folder):
            raise TypeError(f"{self} is a folder")
        return self.place

    @property
    def size(self) -> int:
        """Bytes."""
        return self.source.size

    @cached_property
    def head(self) -> bytes:
        """The first bytes; none for a folder."""
        if self.is_folder:
            return b""
        with self.source.open() as file:
            return file.read(HEAD)

    @cached_property
    def is_zip(self) -> bool:
        """Whether it starts as a zip archive does, even an empty one."""
        return self.head.startswith((b"PK\x03\x04", b"PK\x05\x06"))

    @cached_property
    def members(self) -> tuple[str, ...]:
        """The names in a zip archive.

        Raises:
            UnreadableCheckpoint: the archive is truncated or damaged.
        """
        from pe_inspect.loading.zip_archive import names_in

        return names_in(self.source) if self.is_zip else ()


@dataclass(frozen=True)
class Contents:
    """What a reader found.

    Attributes:
        tree: nested dicts and lists; the leaves are `StoredTensor`s and scalars.
        weights: the file that sha256 stands for.
        metadata: what the format itself keeps beside the tree.
        notes: guesses, in words.
        format: the contract's word, where it is not the format's own name.
    """

    tree: Any
    weights: ByteSource
    metadata: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    format: str = ""


Reader = Callable[[SourceFile], Contents]


@dataclass(frozen=True)
class Format:
    """One checkpoint format.

    Attributes:
        name: what `Checkpoint.format` says.
        suffixes: the extensions that it usually has; another one is worth a note.
        recognises: whether a file's content is of this format.
        read: returns its contents; reads headers only.
        way: where such a file is not written, what to do instead.
    """

    name: str
    suffixes: tuple[str, ...]
    recognises: Callable[[SourceFile], bool]
    read: Reader
    way: str = ""


formats: Registry[Format] = Registry("checkpoint format", "pe_inspect.loading.formats")


def reads(
    entry: str,
    *,
    name: str,
    suffixes: tuple[str, ...],
    when: Callable[[SourceFile], bool],
    way: str = "",
) -> Callable[[Reader], Reader]:
    """Register the decorated function as the reader of a format.

    Args:
        entry: the name in the registry.
        name: the contract's word for `info`'s `format`.
        suffixes: usual extensions, lower case.
        when: recognises the content; at most one format may claim a file.
        way: what to do instead of writing such a file, where nothing rewrites it.
    """

    def enter(reader: Reader) -> Reader:
        formats.register(entry)(Format(name, suffixes, when, reader, way))
        return reader

    return enter


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


_OF_SUFFIX: Final = {
    **dict.fromkeys(("pth", "pt", "bin", "ckpt"), "pytorch_zip"),
    "h5": "keras",
    "msgpack": "flax",
    "distcp": "dcp",
}
"""The formats that files with other formats' suffixes are looked at as first."""


def _likeliest_first(file: SourceFile) -> Iterator[Format]:
    """Yield the format of a folder, or that which an extension stands for, then all of them.

    Only what is yielded is imported.
    """
    suffix = "" if file.is_folder else suffix_of(file.source.name).removeprefix(".")
    likely = "huggingface" if file.is_folder else _OF_SUFFIX.get(suffix, suffix)
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


def damaged(source: object, what: str) -> UnreadableCheckpoint:
    """The error for a file whose header does not fit its content."""
    return UnreadableCheckpoint(f"{source} {what}. Copy or download it again.")
