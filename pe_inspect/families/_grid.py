"""From a number of rows to a grid: which readings fit, which is the ordinary one, which is said.

A table of N rows stores neither its grid nor how many of the rows stand for prefix tokens. Only a
square grid with the model's own prefix tokens is taken without being told; a root is never rounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Final

import numpy as np

from pe_inspect._typing import Shaped
from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families._hints import is_flag, origin
from pe_inspect.families._names import trunk
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = [
    "Layout",
    "PrefixTokens",
    "factor_pairs",
    "image_grid",
    "layout",
    "patch_size",
    "period",
    "prefix_tokens",
    "x",
]

_CLS: Final = (
    "cls_token",
    "class_token",
    "class_embedding",
    "cls",
    "embeddings.cls_token",
    "embeddings.class_embedding",
    "embedding.cls_token",
)
_DISTILLATION: Final = ("dist_token", "embeddings.distillation_token")
_REGISTERS: Final = (
    "reg_token",
    "register_tokens",
    "storage_tokens",
    "embeddings.register_tokens",
    "embeds.reg_token",
)
_PATCH_KERNELS: Final = (
    "patch_embed.proj.weight",
    "conv1.weight",
    "conv_proj.weight",
    "embeddings.patch_embeddings.projection.weight",
    "embeddings.patch_embedding.weight",
    "embedding.conv1.weight",
    "features.0.0.weight",
)
_MOST_READINGS: Final = 6
_MOST_PREFIX_ROWS: Final = 16  # of a table without a model; no known one has more than 8


@dataclass(frozen=True)
class PrefixTokens:
    """How many prefix tokens a file holds, by sort.

    Attributes:
        known: whether the file holds a model at all: a bare table says nothing of prefix tokens.
    """

    cls: int = 0
    distillation: int = 0
    registers: int = 0
    known: bool = True

    @property
    def total(self) -> int:
        """All of them: timm's `num_prefix_tokens`."""
        return self.cls + self.distillation + self.registers

    def coverings(self, said: int | None) -> tuple[int, ...]:
        """How many prefix rows a table may have: all tokens, then fewer, then none.

        Args:
            said: `num_prefix_tokens` by a flag or a config.json; outranks what the file holds.
        """
        if said is not None and said != self.total:
            return tuple(dict.fromkeys((said, 0)))
        own = (self.total, self.cls + self.distillation, self.cls, 0)
        return tuple(dict.fromkeys(own))


@dataclass(frozen=True)
class Layout:
    """How the rows of a table divide: the prefix rows, then a grid (H, W), row-major."""

    grid_size: tuple[int, int]
    num_prefix_rows: int = 0
    notes: tuple[str, ...] = ()


def prefix_tokens(checkpoint: Checkpoint) -> PrefixTokens:
    """Count the prefix tokens that a file holds, from their shapes."""
    return PrefixTokens(
        _count(checkpoint, _CLS),
        _count(checkpoint, _DISTILLATION),
        _count(checkpoint, _REGISTERS),
        known=len(checkpoint) > 1,
    )


def _count(checkpoint: Checkpoint, names: tuple[str, ...]) -> int:
    keys = trunk(checkpoint)
    shapes = [checkpoint.shape(keys[name]) for name in names if name in keys]
    return (shapes[0][-2] if len(shapes[0]) > 1 else 1) if shapes else 0


def patch_size(checkpoint: Checkpoint) -> tuple[int, int] | None:
    """Return (height, width) of a patch in pixels: as said, else the patch kernel's.

    A kernel behind a convolutional stem says nothing, and `None` is returned.
    """
    if checkpoint.hints.patch_size is not None:
        return checkpoint.hints.patch_size
    names = trunk(checkpoint)
    if any(name.startswith("patch_embed.backbone.") for name in names):
        return None
    if "embedding/kernel" in names:  # flax stores (height, width, in, out)
        shape = checkpoint.shape(names["embedding/kernel"])
        return (shape[0], shape[1]) if len(shape) == 4 else None
    shapes = [checkpoint.shape(names[name]) for name in _PATCH_KERNELS if name in names]
    return next(((shape[2], shape[3]) for shape in shapes if len(shape) == 4), None)


def image_grid(checkpoint: Checkpoint) -> tuple[int, int] | None:
    """Return (H, W) as the image size and the patch size give it, where both are known."""
    image, patch = checkpoint.hints.img_size, patch_size(checkpoint)
    if image is None or patch is None:
        return None
    return image[0] // patch[0], image[1] // patch[1]


def layout(checkpoint: Checkpoint, key: str, rows: int) -> Layout:
    """Divide `rows` rows of the table `key`: as said, else in the ordinary way.

    Raises:
        AmbiguousCheckpoint: what was said does not fit, or several readings do and none is a
            square with the model's own prefix tokens.
    """
    notes: list[str] = []
    for grid, who, binding in _stated_grids(checkpoint):
        prefix = rows - grid[0] * grid[1]
        if prefix in _accepted(checkpoint):
            return Layout(grid, prefix, (f"grid {x(grid)} from {who}",))
        if binding:
            raise AmbiguousCheckpoint(_contradiction(checkpoint, key, rows, grid, who))
        notes.append(f"{who} gives a {x(grid)} grid, which does not fit the {rows} rows of {key}")
    return _ordinary(checkpoint, key, rows, notes)


def _accepted(checkpoint: Checkpoint) -> tuple[int, ...]:
    """How many prefix rows are believed where the grid was said."""
    tokens, said = prefix_tokens(checkpoint), checkpoint.hints.num_prefix_tokens
    if not tokens.known and said is None:
        return tuple(range(_MOST_PREFIX_ROWS + 1))
    return tokens.coverings(said)


def _stated_grids(checkpoint: Checkpoint) -> list[tuple[tuple[int, int], str, bool]]:
    """Return (grid, who said it, whether that was a flag), the strongest first."""
    hints, stated = checkpoint.hints, []
    if hints.grid_size is not None:
        who = origin(checkpoint, "grid_size")
        stated.append((hints.grid_size, who, is_flag(checkpoint, "grid_size")))
    if (grid := image_grid(checkpoint)) is not None and hints.img_size is not None:
        who = f"img_size {x(hints.img_size)} ({origin(checkpoint, 'img_size')})"
        stated.append((grid, who, is_flag(checkpoint, "img_size")))
    return stated


def _ordinary(checkpoint: Checkpoint, key: str, rows: int, notes: list[str]) -> Layout:
    coverings = prefix_tokens(checkpoint).coverings(checkpoint.hints.num_prefix_tokens)
    squares = [p for p in coverings if rows > p and isqrt(rows - p) ** 2 == rows - p]
    if len(squares) != 1:
        raise AmbiguousCheckpoint(f"{key} has {rows} rows: {_readings(checkpoint, rows)}")
    side = isqrt(rows - squares[0])
    note = f"grid {x((side, side))} inferred from {rows - squares[0]} patch rows"
    if others := _other_readings(rows, coverings, squares[0]):
        note += f"; {others} would fit too (--grid-size, --num-prefix-tokens)"
    return Layout((side, side), squares[0], (*notes, note))


def _other_readings(rows: int, coverings: tuple[int, ...], taken: int) -> str:
    """Name the rectangles that the other numbers of prefix rows leave; a single row is none."""
    pairs = [(p, factor_pairs(rows - p)[0]) for p in coverings if p != taken and rows > p]
    return ", ".join(f"{p} prefix + {x(pair)}" for p, pair in pairs if pair[0] > 1)


def _readings(checkpoint: Checkpoint, rows: int) -> str:
    """List every reading, and the options that pick the first of them."""
    tokens, said = prefix_tokens(checkpoint), checkpoint.hints.num_prefix_tokens
    coverings = tokens.coverings(said)
    if not tokens.total and said is None:
        coverings = (1, 0)  # a class token that the file does not hold is the likeliest
    fitting = [p for p in coverings if rows > p]
    grids = {p: _grids(rows - p) for p in fitting}
    listed = [
        f"{p}{' prefix' if i == 0 else ''} + {', '.join(map(x, grids[p][:_MOST_READINGS]))}"
        + (", …" if len(grids[p]) > _MOST_READINGS else "")
        for i, p in enumerate(fitting)
    ]
    first = fitting[0]
    return (
        f"{', or '.join(listed)}. Pass --grid-size {'x'.join(map(str, grids[first][0]))} "
        f"--num-prefix-tokens {first}."
    )


def _grids(patches: int) -> list[tuple[int, int]]:
    """Return the grids of so many patches, the squarest first; a strip only where no other is."""
    root = isqrt(patches)
    if root * root == patches:
        return [(root, root)]
    pairs = [pair for pair in factor_pairs(patches) if pair[0] > 1]
    if not pairs:
        return [(1, patches)]
    return [either for a, b in pairs for either in ((a, b), (b, a))]


def factor_pairs(number: int) -> list[tuple[int, int]]:
    """Return (a, b) with a·b = number and a ≤ b, the closest pair first."""
    return [(a, number // a) for a in range(isqrt(number), 0, -1) if number % a == 0]


def period(rows: Shaped[np.ndarray, "patches channels"]) -> int:
    """Return W: how many patches on something that depends on the column only comes back.

    The first row comes back once a row of the grid; where it never does, there is one row.
    """
    again = np.flatnonzero((rows[1:] == rows[0]).all(axis=1))
    return int(again[0]) + 1 if again.size else len(rows)


def _contradiction(
    checkpoint: Checkpoint, key: str, rows: int, grid: tuple[int, int], who: str
) -> str:
    left, tokens = rows - grid[0] * grid[1], prefix_tokens(checkpoint).total
    told = checkpoint.hints.num_prefix_tokens
    which = f"{tokens} in the file" if told is None else f"--num-prefix-tokens {told}"
    if left < 0:
        return (
            f"{key} has {rows} rows, fewer than the {grid[0] * grid[1]} patches of {x(grid)} "
            f"({who}). Pass a --grid-size that fits: {_readings(checkpoint, rows)}"
        )
    return (
        f"{key} has {rows} rows: {x(grid)} ({who}) leaves {left} for prefix tokens ({which}). "
        f"Readings that fit: {_readings(checkpoint, rows)}"
    )


def x(grid: tuple[int, int]) -> str:
    """Write a grid as the field does: `14×14`."""
    return f"{grid[0]}×{grid[1]}"
