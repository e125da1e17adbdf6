"""From what a user asks for (pixels or patches) to a grid, and what it would cost in memory."""

from __future__ import annotations

import os
import re
from numbers import Integral
from pathlib import Path
from typing import Final, TypeAlias

from pe_inspect.errors import UsageError
from pe_inspect.kinds.layouts import source_grid
from pe_inspect.kinds.position_embedding import PositionEmbedding

__all__ = ["Size", "check_divisible", "pair_of", "refuse_if_too_large", "target_grid"]

Size: TypeAlias = int | tuple[int, int]

BYTES: Final = 4  # a float32
WORKING_COPIES: Final = 6  # values, and a float64 copy or two while a table is resampled
FALLBACK_MEMORY: Final = 4 << 30  # where the system does not say


def target_grid(
    pe: PositionEmbedding, res: Size | None, grid: Size | None, patch_size: Size | None
) -> tuple[int, int]:
    """Return the (H, W) grid that was asked for, in patches.

    Raises:
        UsageError: neither or both of `res` and `grid`, no patch size, or a size that no whole
            number of patches fills.
    """
    if res is not None and grid is not None:
        raise UsageError(
            f"--res {shown(res)} and --grid {shown(grid)} were both given: pass --res in pixels "
            "or --grid in patches."
        )
    if grid is not None:
        return pair_of(grid, "--grid")
    if res is None:
        raise UsageError("No target size: pass --res 384 (pixels) or --grid 24x24 (patches).")
    return _grid_of(pe, pair_of(res, "--res"), patch_size)


def _grid_of(
    pe: PositionEmbedding, res: tuple[int, int], patch_size: Size | None
) -> tuple[int, int]:
    if is_windowed(pe):
        height, width = source_grid(pe)
        parts = "stages" if pe.facts.is_of_stages else "windows"
        raise UsageError(
            f"--res does not say how large the {parts} of this bias (now {height}×{width} patches, "
            "the largest) become: pass the new size of the largest as --grid HxW."
        )
    patch = _patch(pe, patch_size)
    check_divisible(res, patch)
    return res[0] // patch[0], res[1] // patch[1]


def _patch(pe: PositionEmbedding, patch_size: Size | None) -> tuple[int, int]:
    if patch_size is not None:
        return pair_of(patch_size, "--patch-size")
    if pe.patch_size is None:
        raise UsageError(
            "--res is in pixels, and the checkpoint does not say how large a patch is. "
            "Pass --patch-size P, or the target in patches: --grid HxW."
        )
    return pe.patch_size


def pair_of(size: object, option: str) -> tuple[int, int]:
    """Return both sides of a size.

    Raises:
        UsageError: it is neither a whole number nor a pair of them, or a side is not positive.
    """
    sides = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
    if len(sides) != 2 or not all(isinstance(side, Integral) for side in sides):
        raise UsageError(f"{option} is {size!r}; expected a whole number, or a pair: (24, 24).")
    height, width = sides
    if min(height, width) < 1:
        raise UsageError(f"{option} is {shown(sides)}; both sides must be at least 1.")
    return int(height), int(width)


def check_divisible(res: tuple[int, int], patch: tuple[int, int]) -> None:
    """Stop at a size in pixels that no whole number of patches fills.

    Raises:
        UsageError: with the nearest sizes that are.
    """
    if any(side < step for side, step in zip(res, patch)):
        raise UsageError(
            f"--res {shown(res)} is smaller than one {shown(patch)}-pixel patch: "
            f"the smallest is {shown(patch)}."
        )
    if any(side % step for side, step in zip(res, patch)):
        below = tuple(side // step * step for side, step in zip(res, patch))
        above = tuple(-(-side // step) * step for side, step in zip(res, patch))
        raise UsageError(
            f"--res {shown(res)} is no whole number of {shown(patch)}-pixel patches: "
            f"the nearest are {shown(below)} and {shown(above)}."
        )


def shown(size: Size | tuple[int, ...]) -> str:
    """Return a size as a user types it: `384`, or `384x512` where the sides differ."""
    sides = (size,) if isinstance(size, int) else tuple(size)
    return str(sides[0]) if len(set(sides)) == 1 else "x".join(map(str, sides))


def is_windowed(pe: PositionEmbedding) -> bool:
    """Whether a bias acts in windows (Swin): only plain blocks attend over the whole grid."""
    plain = re.compile(r"blocks\.\d+|input|")
    are_plain = all(plain.fullmatch(table.layer) for table in pe.tables)
    return pe.scheme_kind.is_pairwise and not are_plain


def refuse_if_too_large(pe: PositionEmbedding, grid_size: tuple[int, int], methods: int) -> None:
    """Stop before a size that would take more than half of the memory that is free.

    Raises:
        UsageError: with the bytes that it would take, and the bound.
    """
    needed = _needed(pe, grid_size, methods)
    bound = available_memory() // 2
    if needed > bound:
        height, width = grid_size
        raise UsageError(
            f"A {height}×{width} grid would take {_gibibytes(needed)} of memory; the bound is "
            f"{_gibibytes(bound)}, half of what is free. Pass a smaller --res or --grid."
        )


def _needed(pe: PositionEmbedding, grid_size: tuple[int, int], methods: int) -> int:
    tokens = pe.num_prefix_rows + grid_size[0] * grid_size[1]
    if pe.scheme_kind.is_pairwise:
        heads = max(table.shape[0] for table in pe.tables)
        return BYTES * methods * len(pe.tables) * heads * tokens**2
    if pe.scheme_kind.has_parts:
        tokens = 2 * sum(grid_size)
    channels = pe.embed_dim * (pe.num_heads or 1)
    return BYTES * tokens * channels * (methods * len(pe.tables) + WORKING_COPIES)


def available_memory() -> int:
    """Bytes that a new program can have without swapping."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii")
        kibibytes: str = re.findall(r"MemAvailable:\s+(\d+) kB", lines)[0]
        return int(kibibytes) * 1024
    except (OSError, IndexError):
        return _physical_memory()


def _physical_memory() -> int:
    try:
        pages, page_size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return FALLBACK_MEMORY
    return int(pages) * int(page_size)


def _gibibytes(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
