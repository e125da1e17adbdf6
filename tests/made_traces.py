"""A small trace with every field set, on a 3×4 grid with one prefix token."""

from __future__ import annotations

import numpy as np

from pe_inspect.traces import (
    AttentionSums,
    Edit,
    FoldSums,
    ImageSet,
    LogitSums,
    PositionShare,
    TokenSums,
    Trace,
)

GRID, WIDTH, HEADS, TOKENS = (3, 4), 4, 2, 13


def tokens(place: str, seed: int) -> TokenSums:
    rng = np.random.default_rng(seed)
    by_channel = rng.uniform(50, 60, WIDTH)
    mean = rng.normal(size=(TOKENS, WIDTH)).astype(np.float32)
    norm = rng.uniform(1, 2, TOKENS).astype(np.float32)
    return TokenSums(place, GRID, mean, norm, float(by_channel.sum()), 3.5, by_channel)


def attention(layer: str = "blocks.0") -> AttentionSums:
    rng = np.random.default_rng(5)
    down, right = 2 * GRID[0] - 1, 2 * GRID[1] - 1
    counts = np.outer([1, 2, 3, 2, 1], [1, 2, 3, 4, 3, 2, 1])
    each = [rng.uniform(0, 1, HEADS) for _ in range(8)]
    logits = LogitSums(
        ("content", "position", "constant"), rng.normal(size=(HEADS, 3, 3)), np.zeros(HEADS),
        np.ones(HEADS), 1e-6,
    )  # fmt: skip
    return AttentionSums(
        layer, GRID, False, 12, each[0], each[1], 1.9, each[2], each[3], each[4], 2.4849,
        each[5], rng.uniform(size=(HEADS, down, right)).astype(np.float32), counts, each[6], 144,
        rng.uniform(size=(HEADS, 12)).astype(np.float32), each[7], logits,
    )  # fmt: skip


def folds(place: str, seed: int) -> FoldSums:
    rng = np.random.default_rng(seed)
    sums = rng.normal(size=(4, 12, WIDTH)).astype(np.float32)
    grams = rng.normal(size=(4, 4, WIDTH, WIDTH)).astype(np.float32)
    return FoldSums(place, np.zeros(WIDTH, np.float32), sums, grams)


def made_trace() -> Trace:
    """Return the trace; it is the same every time."""
    places = ("h0", "h1", "final")
    cosines = np.linspace(1, 0.5, 3)
    return Trace(
        "made.safetensors", ImageSet("a folder", 5, "ab", "resized", (0.5,), (0.25,), ("x.jpg",)),
        (12, 16), (4, 4), GRID, 1, True, ("blocks.0",),
        {"base": tuple(tokens(p, i) for i, p in enumerate(places)),
         "null": tuple(tokens(p, 9 + i) for i, p in enumerate(places))},
        (tokens("blocks.0", 20),), (attention(),),
        (PositionShare("blocks.0", 0.9, 0.4, 1e-7, -0.02),), (Edit("zero", cosines, cosines),),
        tuple(tokens(p, 30 + i).mean for i, p in enumerate(places)),
        {"base": tuple(folds(p, i) for i, p in enumerate(places))},
        (2, 1, 1, 1), np.arange(12) % 4, "native", "a ViT", "cd", "float32", 3,
        {"torch": "2"}, ("a note",),
    )  # fmt: skip
