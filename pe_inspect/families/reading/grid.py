"""From a number of rows to a grid: which readings fit, which is the ordinary one, which is said.

A table of N rows stores neither its grid nor how many of the rows stand for prefix tokens. Only a
square grid with the model's own prefix tokens is taken without being told; a root is never rounded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isqrt
from typing import Final

import numpy as np

from pe_inspect.arrays import Shaped
from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families.reading.hints import is_flag, is_of_config, origin
from pe_inspect.families.reading.names import trunk
from pe_inspect.families.reading.patch import patch_size
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = [
    "Layout",
    "PrefixTokens",
    "Stated",
    "class_token",
    "factor_pairs",
    "image_grid",
    "layout",
    "period",
    "prefix_tokens",
    "stated_by_image",
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
    "embeds.cls_token",
    "cls_token1",  # CoaT's, one a stage
    "cls_token_0",  # CrossViT's, one a branch
    "class_emb",
)
_DISTILLATION: Final = ("dist_token", "embeddings.distillation_token")
_REGISTERS: Final = (
    "reg_token",
    "register_tokens",
    "storage_tokens",
    "embeddings.register_tokens",
    "embeds.reg_token",
)
_MOST_READINGS: Final = 6
_MOST_PREFIX_ROWS: Final = 16  # of a table without a model; no known one has more than 8


@dataclass(frozen=True)
class PrefixTokens:
    """How many prefix tokens a file holds, by sort.

    Attributes:
        known: whether the file holds a model at all: a bare table says nothing of prefix tokens.
        covered: whether the table is known to have a row for each of them.
    """

    cls: int = 0
    distillation: int = 0
    registers: int = 0
    known: bool = True
    covered: bool = False

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
        if self.covered:
            return (self.total,)
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


def class_token(checkpoint: Checkpoint) -> str | None:
    """Return the checkpoint's name of its class token, where it holds one."""
    names = trunk(checkpoint)
    return next((names[name] for name in _CLS if name in names), None)


def _count(checkpoint: Checkpoint, names: tuple[str, ...]) -> int:
    keys = trunk(checkpoint)
    shapes = [checkpoint.shape(keys[name]) for name in names if name in keys]
    return (shapes[0][-2] if len(shapes[0]) > 1 else 1) if shapes else 0


def image_grid(checkpoint: Checkpoint) -> tuple[int, int] | None:
    """Return (H, W) as the image size and the patch size give it, where both are known."""
    image, patch = checkpoint.hints.img_size, patch_size(checkpoint)
    if image is None or patch is None:
        return None
    return image[0] // patch[0], image[1] // patch[1]


def layout(
    checkpoint: Checkpoint, key: str, rows: int, tokens: PrefixTokens | None = None
) -> Layout:
    """Divide `rows` rows of the table `key`: as said, else in the ordinary way.

    Args:
        checkpoint: where the table comes from.
        key: its name, for messages.
        rows: how many it has.
        tokens: the prefix tokens of a table that is one of several (a branch of CrossViT's). What
            was said of the grid may then be meant for another table, and does not bind this one.

    Raises:
        AmbiguousCheckpoint: what was said does not fit, or several readings do and none is a
            square with the model's own prefix tokens.
    """
    if checkpoint.hints.tower == "text":
        return Layout((1, rows), 0, (f"a text tower: {rows} positions of words, in one line",))
    notes, all_stated = list[str](), _stated_grids(checkpoint)
    for stated in all_stated:
        grid, prefix = stated.grid_size, rows - stated.grid_size[0] * stated.grid_size[1]
        if prefix in _accepted(checkpoint, tokens):
            against = (f"{o.who} gives {x(o.grid_size)}" for o in all_stated if o.grid_size != grid)
            note = "; ".join((f"grid {x(grid)} from {stated.who}", *against))
            return Layout(grid, prefix, (note,))
        if tokens is not None and (likest := _in_proportion(checkpoint, rows, grid, tokens)):
            return replace(
                likest,
                notes=(
                    f"grid {x(likest.grid_size)}, as {x(grid)} ({stated.who}) in its proportions",
                ),
            )
        if stated.is_flag and tokens is None:
            raise AmbiguousCheckpoint(_contradiction(checkpoint, key, rows, grid, stated.who))
        if stated.is_config and tokens is None and not _patches_overlap(checkpoint, rows):
            raise AmbiguousCheckpoint(config_contradicts(checkpoint, key, rows, stated))
        notes.append(
            f"{stated.who} gives a {x(grid)} grid, which does not fit the {rows} rows of {key}"
        )
    return _ordinary(checkpoint, key, rows, notes, tokens or prefix_tokens(checkpoint))


def _in_proportion(
    checkpoint: Checkpoint, rows: int, said: tuple[int, int], tokens: PrefixTokens
) -> Layout | None:
    """Divide a table whose grid has the proportions of another table's, which was said."""
    for prefix in tokens.coverings(checkpoint.hints.num_prefix_tokens):
        for a, b in factor_pairs(rows - prefix) if rows > prefix else ():
            for grid in ((a, b), (b, a)):
                if grid[0] * said[1] == grid[1] * said[0]:
                    return Layout(grid, prefix)
    return None


def _accepted(checkpoint: Checkpoint, own: PrefixTokens | None) -> tuple[int, ...]:
    """How many prefix rows are believed where the grid was said."""
    tokens, said = own or prefix_tokens(checkpoint), checkpoint.hints.num_prefix_tokens
    if not tokens.known and said is None:
        return tuple(range(_MOST_PREFIX_ROWS + 1))
    if not tokens.total and said is None and own is None:
        return 0, 1  # VitDet keeps the row of the class token that it does without
    return tokens.coverings(said)


@dataclass(frozen=True)
class Stated:
    """A grid that somebody states.

    Attributes:
        grid_size: (H, W).
        who: what states it, for notes.
        is_flag: whether the user did.
        is_config: whether the config.json that came with the weights does.
    """

    grid_size: tuple[int, int]
    who: str
    is_flag: bool
    is_config: bool


def _stated_grids(checkpoint: Checkpoint) -> list[Stated]:
    """Return what is stated of the grid, the strongest first."""
    hints, stated = checkpoint.hints, []
    if hints.grid_size is not None:
        who = origin(checkpoint, "grid_size")
        stated.append(_stated(checkpoint, "grid_size", hints.grid_size, who))
    if (by_image := stated_by_image(checkpoint)) is not None:
        stated.append(by_image)
    return sorted(stated, key=lambda each: (not each.is_flag, not each.is_config))


def stated_by_image(checkpoint: Checkpoint) -> Stated | None:
    """Return the grid that the image size and the patch size give, and who says so."""
    grid, image = image_grid(checkpoint), checkpoint.hints.img_size
    if grid is None or image is None:
        return None
    who = f"img_size {x(image)} ({origin(checkpoint, 'img_size')})"
    return _stated(checkpoint, "img_size", grid, who)


def _stated(checkpoint: Checkpoint, hint: str, grid: tuple[int, int], who: str) -> Stated:
    return Stated(grid, who, is_flag(checkpoint, hint), is_of_config(checkpoint, hint))


def _patches_overlap(checkpoint: Checkpoint, rows: int) -> bool:
    """Whether the image size fits the rows after all, if patches overlap as in Hiera.

    Only a kernel is in the file, and a stride may be smaller.
    """
    image, kernel = checkpoint.hints.img_size, patch_size(checkpoint)
    if image is None or kernel is None or checkpoint.hints.patch_size is not None:
        return False
    coverings = prefix_tokens(checkpoint).coverings(checkpoint.hints.num_prefix_tokens)
    strides = range(1, max(kernel))
    return any((image[0] // s) * (image[1] // s) + p == rows for s in strides for p in coverings)


def config_contradicts(checkpoint: Checkpoint, key: str, rows: int, stated: Stated) -> str:
    """Return what the config.json says, what the weights say, and the ways out."""
    grid = stated.grid_size
    return (
        f"{stated.who} gives a {x(grid)} grid of {grid[0] * grid[1]}, and {key} has {rows} rows: "
        f"the config and the weights are of two models, or of two image sizes. To go by the "
        f"weights: {_readings(checkpoint, rows)}"
    )


def _ordinary(
    checkpoint: Checkpoint, key: str, rows: int, notes: list[str], tokens: PrefixTokens
) -> Layout:
    coverings = tokens.coverings(checkpoint.hints.num_prefix_tokens)
    squares = [p for p in coverings if rows > p and isqrt(rows - p) ** 2 == rows - p]
    if len(squares) != 1:
        raise AmbiguousCheckpoint(f"{key} has {rows} rows: {_readings(checkpoint, rows, tokens)}")
    side = isqrt(rows - squares[0])
    note = f"grid {x((side, side))} inferred from {rows - squares[0]} patch rows"
    if others := _other_readings(rows, coverings, squares[0]):
        note += f"; {others} would fit too (--grid-size, --num-prefix-tokens)"
    return Layout((side, side), squares[0], (*notes, note))


def _other_readings(rows: int, coverings: tuple[int, ...], taken: int) -> str:
    """Name the rectangles that the other numbers of prefix rows leave; a single row is none."""
    pairs = [(p, factor_pairs(rows - p)[0]) for p in coverings if p != taken and rows > p]
    return ", ".join(f"{p} prefix + {x(pair)}" for p, pair in pairs if pair[0] > 1)


def _readings(checkpoint: Checkpoint, rows: int, own: PrefixTokens | None = None) -> str:
    """List every reading, and the options that pick the first of them."""
    tokens, said = own or prefix_tokens(checkpoint), checkpoint.hints.num_prefix_tokens
    coverings = tokens.coverings(said)
    if not tokens.total and said is None:
        coverings = (1, 0)  # a class token that the file does not hold is the likeliest
    grids = {p: _grids(rows - p) for p in coverings if rows > p}
    fitting = sorted(grids, key=lambda p: grids[p][0][0] == 1)  # a strip is the last resort
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
