"""What to say of a file that is of no checkpoint format: what it is, and the way out."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Protocol, runtime_checkable

from pe_inspect.loading.byte_source import ByteSource, suffix_of

__all__ = ["what_it_is"]

EXPECTED: Final = (
    "Expected a PyTorch file (.pth .pt .bin .ckpt), .safetensors, .npz, .npy, or a folder with one"
)


@runtime_checkable
class UnknownFile(Protocol):
    """A file that no format claims: a `SourceFile`."""

    @property
    def source(self) -> ByteSource:
        """The file."""
        ...

    @property
    def head(self) -> bytes:
        """Its first bytes."""
        ...

    @property
    def is_zip(self) -> bool:
        """Whether it is a zip archive."""
        ...


def _starts(*magics: bytes) -> Callable[[UnknownFile], bool]:
    return lambda file: file.head.startswith(magics)


def _text(pattern: bytes) -> Callable[[UnknownFile], bool]:
    expression = re.compile(rb"(?:\xef\xbb\xbf)?\s*" + pattern, re.IGNORECASE)
    return lambda file: expression.match(file.head) is not None


def _is_tensorflow(file: UnknownFile) -> bool:
    """Protocol buffers and tables without a magic of their own: only the names tell."""
    return suffix_of(file.source.name) in (".pb", ".index") or ".data-0000" in file.source.name


def _is_onnx(file: UnknownFile) -> bool:
    """A protocol buffer whose first field is a small ir_version and whose next is a string."""
    return re.match(rb"\x08[\x01-\x1f][\x12\x3a]", file.head) is not None


def _is_msgpack(file: UnknownFile) -> bool:
    """A map whose first key is a short text: what flax.serialization writes."""
    return (
        re.match(rb"(?:[\x81-\x8f]|\xde..|\xdf....)[\xa1-\xbf\xd9][\w/]", file.head, re.S)
        is not None
    )


_EXPORT: Final = "save its weights as .safetensors or .npz and give those"

_WEIGHTS: Final = "give the model's weight file"
_AGAIN: Final = "copy or download it again"

# recognises, what it is, what to do
_OTHERS: Final[tuple[tuple[Callable[[UnknownFile], bool], str, str], ...]] = (
    (lambda file: not file.head, "is empty", _AGAIN),
    (
        _starts(b"version https://git-lfs"),
        "is a Git LFS pointer, not the weights",
        "run `git lfs pull` in its repository",
    ),
    (
        _text(rb"<(!doctype|html|\?xml|head)"),
        "is a web page",
        "the link needs a log-in or is wrong; download the weights again",
    ),
    (
        _text(rb"[\[{]"),
        "is JSON, not weights",
        "give the weight file that it describes, or the folder with both",
    ),
    (_starts(b"\x1f\x8b"), "is a gzip archive", "unpack it first (`gunzip`, `tar xzf`)"),
    (
        _starts(b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"\x28\xb5\x2f\xfd"),
        "is a compressed archive",
        "unpack it first",
    ),
    (
        lambda file: file.head[257:262] == b"ustar",
        "is a tar archive",
        "unpack it first (`tar xf`); if PyTorch 0.1 wrote it, load and save it with that torch",
    ),
    (_starts(b"\xff\xd8\xff"), "is a JPEG picture", _WEIGHTS),
    (_starts(b"\x89PNG", b"GIF8", b"RIFF", b"BM"), "is a picture", _WEIGHTS),
    (_starts(b"%PDF"), "is a PDF document", _WEIGHTS),
    (_starts(b"\x89HDF"), "is an HDF5 file (Keras)", _EXPORT),
    (_starts(b"GGUF"), "is a GGUF file", "give the .safetensors that it was made from"),
    (_is_onnx, "is an ONNX model", "give the PyTorch checkpoint that it was exported from"),
    (_is_msgpack, "is a msgpack file (Flax)", _EXPORT),
    (_is_tensorflow, "is a TensorFlow file", _EXPORT),
    (
        lambda file: file.is_zip,
        "is a zip archive without a PyTorch pickle or numpy arrays",
        "unpack it, and give the weight file in it",
    ),
    (
        lambda file: suffix_of(file.source.name) == ".safetensors",
        "is no safetensors file, or its start is damaged",
        _AGAIN,
    ),
)


def what_it_is(file: UnknownFile) -> str:
    """Return one line: what the file is, what was expected, and what to do."""
    for is_it, what, remedy in _OTHERS:
        if is_it(file):
            return f"{file} {what}. {EXPECTED}: {remedy}."
    return f"{file} is of no kind that pe-inspect knows. {EXPECTED}: {_EXPORT}."
