"""Files with a few bytes changed, cut off or repeated: nothing is raised but to refuse them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pe_inspect.errors import PEInspectError
from pe_inspect.loading import load

__all__ = ["fuzz"]


def fuzz(content: bytes, path: Path, count: int, *, opened: Path | None = None) -> int:
    """Open `count` damaged copies of a file and read all of what opens; return how many did.

    Args:
        content: the whole file.
        path: where the damaged ones are written, one after the other.
        count: how many.
        opened: what is opened; the file itself where left out.
    """
    rng = np.random.default_rng(11)
    return sum(_opens(_damaged(content, rng), path, opened or path) for _ in range(count))


def _damaged(content: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(content)
    for position in rng.integers(0, len(changed), rng.integers(1, 5)):
        changed[position] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, int(rng.integers(256))])
    start, stop = sorted(rng.integers(0, len(changed), 2))
    how = rng.integers(8)
    if how == 0:
        del changed[stop:]
    elif how == 1:
        changed[start:start] = changed[start : min(stop, start + 64)]
    return bytes(changed)


def _opens(content: bytes, path: Path, opened: Path) -> bool:
    path.write_bytes(content)
    try:
        ckpt = load(opened)
        for key in ckpt.keys:
            ckpt.tensor(key)
    except PEInspectError:
        return False
    return True
