"""GGML's blocks of small integers with scales, widened by the formulas of its definition.

Each function takes blocks as rows of bytes and returns their numbers. Products are taken in
float32 and in the order of the definition, so that they are the same to the bit.
Source: ggml-org/ggml, src/ggml-common.h (layouts) and src/ggml-quants.c (`dequantize_row_…`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from pe_inspect.arrays import Float32, Num

__all__ = ["BLOCKS", "NAMES", "PLAIN", "BlockType"]

Bytes: TypeAlias = np.ndarray
"""uint8, blocks × bytes of a block."""
Numbers: TypeAlias = np.ndarray
"""float32, blocks × numbers of a block."""


@dataclass(frozen=True)
class BlockType:
    """One way of packing numbers.

    Attributes:
        name: GGML's.
        numbers: in a block.
        nbytes: of a block.
        widen: bytes → numbers.
    """

    name: str
    numbers: int
    nbytes: int
    widen: Callable[[Bytes], Numbers]


def _half(blocks: Bytes, at: int) -> Float32[np.ndarray, "blocks 1"]:
    """The half float at a byte of each block."""
    return np.ascontiguousarray(blocks[:, at : at + 2]).view("<f2").astype(np.float32)


def _nibbles(packed: Bytes) -> Num[np.ndarray, "blocks numbers"]:
    """The lower halves of some bytes, then their upper halves."""
    return np.concatenate([packed & 0x0F, packed >> 4], axis=1)


def _fifth_bits(blocks: Bytes, at: int) -> Num[np.ndarray, "blocks 32"]:
    return np.unpackbits(blocks[:, at : at + 4], axis=1, bitorder="little") << 4


def _q4_0(blocks: Bytes) -> Numbers:
    return _half(blocks, 0) * (_nibbles(blocks[:, 2:]).astype(np.float32) - 8)


def _q4_1(blocks: Bytes) -> Numbers:
    numbers: np.ndarray = _half(blocks, 0) * _nibbles(blocks[:, 4:]).astype(np.float32) + _half(
        blocks, 2
    )
    return numbers


def _q5_0(blocks: Bytes) -> Numbers:
    whole = _nibbles(blocks[:, 6:]) | _fifth_bits(blocks, 2)
    numbers: np.ndarray = _half(blocks, 0) * (whole.astype(np.float32) - 16)
    return numbers


def _q5_1(blocks: Bytes) -> Numbers:
    whole = _nibbles(blocks[:, 8:]) | _fifth_bits(blocks, 4)
    numbers: np.ndarray = _half(blocks, 0) * whole.astype(np.float32) + _half(blocks, 2)
    return numbers


def _q8_0(blocks: Bytes) -> Numbers:
    return _half(blocks, 0) * blocks[:, 2:].view(np.int8).astype(np.float32)


def _pairs_of_bits(packed: Bytes) -> Num[np.ndarray, "blocks 256"]:
    """64 bytes of four pairs each: of 32 bytes all lowest pairs, then the next ones."""
    halves = packed.reshape(-1, 2, 1, 32)
    shifts = np.array([0, 2, 4, 6], np.uint8).reshape(1, 1, 4, 1)
    return ((halves >> shifts) & 3).reshape(len(packed), 256)


def _q2_k(blocks: Bytes) -> Numbers:
    scales, pairs = blocks[:, :16], _pairs_of_bits(blocks[:, 16:80])
    factor = (_half(blocks, 80) * (scales & 0x0F).astype(np.float32)).repeat(16, axis=1)
    least = (_half(blocks, 82) * (scales >> 4).astype(np.float32)).repeat(16, axis=1)
    numbers: np.ndarray = factor * pairs.astype(np.float32) - least
    return numbers


def _q3_k(blocks: Bytes) -> Numbers:
    packed = blocks[:, 96:108]
    low = _nibbles(packed[:, :8])
    shifts = np.array([0, 2, 4, 6], np.uint8).reshape(1, 4, 1)
    high = ((packed[:, None, 8:] >> shifts) & 3).reshape(-1, 16)
    scales = (low | high << 4).astype(np.float32) - 32
    bits = np.arange(8, dtype=np.uint8).reshape(1, 8, 1)
    third = ((blocks[:, None, :32] >> bits) & 1).reshape(-1, 256)
    whole = _pairs_of_bits(blocks[:, 32:96]).astype(np.float32) - 4 * (1 - third.astype(np.float32))
    numbers: np.ndarray = (_half(blocks, 108) * scales).repeat(16, axis=1) * whole
    return numbers


def _six_bits(packed: Bytes) -> tuple[Num[np.ndarray, "blocks 8"], Num[np.ndarray, "blocks 8"]]:
    """Eight scales and eight offsets of six bits each, in twelve bytes."""
    first, second, last = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    scales = np.concatenate([first & 63, (last & 0x0F) | (first >> 6) << 4], axis=1)
    offsets = np.concatenate([second & 63, (last >> 4) | (second >> 6) << 4], axis=1)
    return scales, offsets


def _halves_of_32(packed: Bytes) -> Num[np.ndarray, "blocks 256"]:
    """128 bytes: of each 32 the lower halves, then the upper ones."""
    parts = packed.reshape(-1, 4, 1, 32)
    shifts = np.array([0, 4], np.uint8).reshape(1, 1, 2, 1)
    return ((parts >> shifts) & 0x0F).reshape(len(packed), 256)


def _scaled_with_offsets(blocks: Bytes, whole: Num[np.ndarray, "blocks 256"]) -> Numbers:
    scales, offsets = _six_bits(blocks[:, 4:16])
    factor = (_half(blocks, 0) * scales.astype(np.float32)).repeat(32, axis=1)
    least = (_half(blocks, 2) * offsets.astype(np.float32)).repeat(32, axis=1)
    numbers: np.ndarray = factor * whole.astype(np.float32) - least
    return numbers


def _q4_k(blocks: Bytes) -> Numbers:
    return _scaled_with_offsets(blocks, _halves_of_32(blocks[:, 16:]))


def _q5_k(blocks: Bytes) -> Numbers:
    bits = np.arange(8, dtype=np.uint8).reshape(1, 8, 1)
    fifth = ((blocks[:, None, 16:48] >> bits) & 1).reshape(-1, 256)
    return _scaled_with_offsets(blocks, _halves_of_32(blocks[:, 48:]) | fifth << 4)


def _q6_k(blocks: Bytes) -> Numbers:
    low = blocks[:, :128].reshape(-1, 2, 1, 64) >> np.array([0, 4], np.uint8).reshape(1, 1, 2, 1)
    shifts = np.array([0, 2, 4, 6], np.uint8).reshape(1, 1, 4, 1)
    high = (blocks[:, 128:192].reshape(-1, 2, 1, 32) >> shifts) & 3
    whole = (low & 0x0F).reshape(-1, 256) | high.reshape(-1, 256) << 4
    scales = np.ascontiguousarray(blocks[:, 192:208]).view(np.int8).astype(np.float32)
    factor = (_half(blocks, 208) * scales).repeat(16, axis=1)
    return factor * (whole.astype(np.float32) - 32)


def _q8_k(blocks: Bytes) -> Numbers:
    factor = np.ascontiguousarray(blocks[:, :4]).view("<f4").astype(np.float32)
    whole = np.ascontiguousarray(blocks[:, 4:260]).view(np.int8).astype(np.float32)
    return factor * whole


PLAIN: Final = {
    0: "float32", 1: "float16", 24: "int8", 25: "int16", 26: "int32", 27: "int64", 28: "float64",
    30: "bfloat16",
}  # fmt: skip
"""Types of single numbers."""

BLOCKS: Final = {
    2: BlockType("Q4_0", 32, 18, _q4_0),
    3: BlockType("Q4_1", 32, 20, _q4_1),
    6: BlockType("Q5_0", 32, 22, _q5_0),
    7: BlockType("Q5_1", 32, 24, _q5_1),
    8: BlockType("Q8_0", 32, 34, _q8_0),
    10: BlockType("Q2_K", 256, 84, _q2_k),
    11: BlockType("Q3_K", 256, 110, _q3_k),
    12: BlockType("Q4_K", 256, 144, _q4_k),
    13: BlockType("Q5_K", 256, 176, _q5_k),
    14: BlockType("Q6_K", 256, 210, _q6_k),
    15: BlockType("Q8_K", 256, 292, _q8_k),
}

NAMES: Final = {
    9: "Q8_1", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S",
    22: "IQ2_S", 23: "IQ4_XS", 29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4",
}  # fmt: skip
"""Types that are not widened here."""
