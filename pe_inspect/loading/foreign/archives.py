"""Archives that are no checkpoint by themselves: which files lie in them."""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Iterator
from typing import IO, Final

from pe_inspect.errors import printable
from pe_inspect.loading.byte_source import ByteSource, suffix_of
from pe_inspect.loading.foreign.kinds import Kind, UnknownFile, starts

__all__ = ["ARCHIVES"]

LOOK: Final = 1 << 18
"""Bytes of a compressed archive that are unpacked to see what lies in it."""
MOST_MEMBERS: Final = 64
BLOCK: Final = 512
SHOWN: Final = 3
_WEIGHTS: Final = (
    *(".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".npz", ".npy", ".onnx", ".gguf", ".h5"),
    *(".msgpack", ".keras", ".pt2", ".pdparams"),
)
_UNPACK: Final = "unpack it, and give the weight file in it"


def _names_in_tar(source: ByteSource) -> tuple[str, ...]:
    """The first members of a tar archive, packed by gzip or not; none where it is no tar."""
    with source.open() as stream:
        head = stream.read(2)
        stream.seek(0)
        if head != b"\x1f\x8b":
            return tuple(_members_of(stream, source.size))
        try:
            unpacked = zlib.decompressobj(wbits=31).decompress(stream.read(LOOK), LOOK)
        except zlib.error:
            return ()
        return tuple(_members_of(io.BytesIO(unpacked), len(unpacked)))


def _members_of(stream: IO[bytes], size: int) -> Iterator[str]:
    """Walk the headers: a name, a size in octal digits, a mark; contents are passed over."""
    position = 0
    for _ in range(MOST_MEMBERS):
        stream.seek(position)
        header = stream.read(BLOCK)
        digits = header[124:136].strip(b" \0")
        if header[257:262] != b"ustar" or not re.fullmatch(rb"[0-7]{1,11}", digits):
            return
        if header[156:157] in b"0\0":
            yield header[:100].rstrip(b"\0").decode("utf-8", "replace")
        position += BLOCK + -(-int(digits, 8) // BLOCK) * BLOCK
        if position >= size:
            return


def _is_tar(file: UnknownFile) -> bool:
    return file.head[257:262] == b"ustar" or bool(
        starts(b"\x1f\x8b")(file) and _names_in_tar(file.source)
    )


def _is_nemo(file: UnknownFile) -> bool:
    names = {name.rpartition("/")[2] for name in _names_in_tar(file.source)}
    return "model_config.yaml" in names


def _is_first_torch(file: UnknownFile) -> bool:
    """PyTorch before 0.1.13 saved tar archives of three parts."""
    return {"storages", "tensors", "pickle"} <= set(_names_in_tar(file.source))


def _is_core_ml(file: UnknownFile) -> bool:
    return any(name.endswith((".mlmodel", ".mlmodelc/")) for name in file.members)


def _is_torchserve(file: UnknownFile) -> bool:
    return "MAR-INF/MANIFEST.json" in file.members


def _of_tar(file: UnknownFile) -> str:
    kind = "a tar archive" if file.head[257:262] == b"ustar" else "a tar archive packed by gzip"
    return f"is {kind}{_holding(_names_in_tar(file.source))}"


def _of_zip(file: UnknownFile) -> str:
    return f"is a zip archive without a PyTorch pickle or numpy arrays{_holding(file.members)}"


def _holding(names: tuple[str, ...]) -> str:
    """Name the weight files in it; else say nothing."""
    weights = [name for name in names if suffix_of(name) in _WEIGHTS]
    shown = ", ".join(printable(name) for name in weights[:SHOWN])
    more = f" and {len(weights) - SHOWN} more" if len(weights) > SHOWN else ""
    return f" that holds {shown}{more}" if weights else ""


ARCHIVES: Final = (
    Kind(
        lambda file: _is_tar(file) and _is_nemo(file),
        "is a NeMo archive: a tar file of model_config.yaml and weights",
        "unpack it (`tar xf`), and give the model_weights.ckpt in it",
    ),
    Kind(
        lambda file: _is_tar(file) and _is_first_torch(file),
        "is a tar archive as PyTorch 0.1 wrote its checkpoints",
        "load it with a torch of that time or with torch.load of today, and save it anew",
    ),
    Kind(_is_tar, _of_tar, "unpack it first (`tar xf`), and give the weight file in it"),
    Kind(starts(b"\x1f\x8b"), "is a gzip archive", "unpack it first (`gunzip`)"),
    Kind(
        starts(b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18"),
        "is a compressed archive",
        "unpack it first",
    ),
    Kind(starts(b"Rar!"), "is a RAR archive", "unpack it first"),
    Kind(
        lambda file: file.is_zip and _is_core_ml(file),
        "is a packed Core ML model, made for Apple's devices",
        "give the checkpoint that it was converted from",
    ),
    Kind(lambda file: file.is_zip and _is_torchserve(file), "is a TorchServe archive", _UNPACK),
    Kind(lambda file: file.is_zip, _of_zip, _UNPACK),
)
