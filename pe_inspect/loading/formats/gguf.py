"""GGUF: llama.cpp's files, of which the vision projectors hold a Vision Transformer.

Names stay as the file has them (`v.position_embd.weight`); what its settings say of the tower
(size, heads, ε) goes where a config.json's words go.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pe_inspect.arrays import Float32
from pe_inspect.loading.byte_source import ByteSource
from pe_inspect.loading.checkpoint import StoredTensor
from pe_inspect.loading.dtypes import itemsize
from pe_inspect.loading.formats import Contents, SourceFile, damaged, reads
from pe_inspect.loading.tensor_bytes import Span, lazy_tensor, unreadable_tensor
from pe_inspect.loading.wire.octets import octets_of
from pe_inspect.loading.wire.protobuf import Malformed

if TYPE_CHECKING:
    from pe_inspect.loading.gguf.blocks import BlockType
    from pe_inspect.loading.gguf.header import TensorInfo

_SETTINGS: Final = {
    "image_size": "clip.vision.image_size",
    "patch_size": "clip.vision.patch_size",
    "hidden_size": "clip.vision.embedding_length",
    "num_hidden_layers": "clip.vision.block_count",
    "num_attention_heads": "clip.vision.attention.head_count",
    "layer_norm_eps": "clip.vision.attention.layer_norm_epsilon",
}
"""What a config.json calls it, and what the file does."""


def is_gguf(file: SourceFile) -> bool:
    """The format's magic."""
    return file.head.startswith(b"GGUF")


@reads("gguf", name="gguf", suffixes=(".gguf",), when=is_gguf)
def read_gguf(file: SourceFile) -> Contents:
    """Read the head; numbers stay in the file, packed or not.

    Raises:
        UnreadableCheckpoint: the file is truncated, or its head makes no sense.
    """
    from pe_inspect.loading.gguf.blocks import BLOCKS
    from pe_inspect.loading.gguf.header import read_header

    with octets_of(file.source) as data:
        try:
            header = read_header(data)
        except Malformed as error:
            raise damaged(file, f"is truncated or damaged: {error}") from error
    tensors = {info.name: _tensor(info, file.source).named(info.name) for info in header.tensors}
    stated = {word: header.settings.get(name) for word, name in _SETTINGS.items()}
    packed = [info for info in header.tensors if info.kind in BLOCKS]
    notes = (_on_packed(packed[0], len(packed)),) if packed else ()
    return Contents(tensors, file.source, {"stated": _rounded(stated)}, notes)


def _rounded(stated: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that are there; an ε that was kept in four bytes as people write it."""
    rounded = {n: float(f"{v:.6g}") if isinstance(v, float) else v for n, v in stated.items()}
    return {name: value for name, value in rounded.items() if value is not None}


def _on_packed(first: TensorInfo, count: int) -> str:
    from pe_inspect.loading.gguf.blocks import BLOCKS

    kind = BLOCKS[first.kind].name
    return f"{count} tensors are quantised, such as {first.name} ({kind}); read by their formulas"


def _tensor(info: TensorInfo, source: ByteSource) -> StoredTensor:
    from pe_inspect.loading.gguf.blocks import BLOCKS, NAMES, PLAIN

    count = math.prod(info.shape)
    if info.kind in PLAIN:
        nbytes = count * itemsize(PLAIN[info.kind])
        _check_place(info, nbytes, source)
        return lazy_tensor(Span(source, info.start, nbytes), PLAIN[info.kind], info.shape)
    if info.kind not in BLOCKS:
        name = NAMES.get(info.kind, f"type {info.kind}")
        return unreadable_tensor(info.shape, name, f"numbers that are quantised as {name}")
    block = BLOCKS[info.kind]
    if not info.shape or info.shape[-1] % block.numbers:
        raise damaged(source, f"has a head that lies: {info.name} is no blocks of {block.numbers}")
    nbytes = count // block.numbers * block.nbytes
    _check_place(info, nbytes, source)
    read = partial(_widened, Span(source, info.start, nbytes), block, info.shape)
    return StoredTensor(info.name, info.shape, "float32", read)


def _check_place(info: TensorInfo, nbytes: int, source: ByteSource) -> None:
    if info.start + nbytes > source.size or math.prod([side or 1 for side in info.shape]) >> 59:
        raise damaged(
            source,
            f"is truncated: {info.name} of shape {list(info.shape)} ends at byte "
            f"{info.start + nbytes} of {source.size}",
        )


def _widened(span: Span, block: BlockType, shape: tuple[int, ...]) -> Float32[np.ndarray, "..."]:
    packed = np.frombuffer(span.read(0, span.nbytes), np.uint8).reshape(-1, block.nbytes)
    widened: np.ndarray = block.widen(packed).astype(np.float32, copy=False).reshape(shape)
    return widened
