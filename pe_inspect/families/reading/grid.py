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
from pe_inspect.errors import AmbiguousCheckpoint, UndecidedGrid, UnfitShapes
from pe_inspect.families.reading.tokens import PrefixTokens
from pe_inspect.families.trunk import Trunk

__all__ = [
    "Layout",
    "Stated",
    "factor_pairs",
    "image_grid",
    "layout",
    "period",
    "stated_by_image",
    "x",
]

_MOST_READINGS: Final = 6
_MOST_PREFIX_ROWS: Final = 16  # of a table without a model; no known one has more than 8


@dataclass(frozen=True)
class Layout:
    """How the rows of a table divide: the prefix rows, then a grid (H, W), row-major."""

    grid_size: tuple[int, int]
    num_prefix_rows: int = 0
    notes: tuple[str, ...] = ()


def image_grid(trunk: Trunk) -> tuple[int, int] | None:
    """Return (H, W) as the image size and the patch size give it, where both are known."""
    image, patch = trunk.hints.img_size, trunk.patch_size
    if image is None or patch is None:
        return None
    return image[0] // patch[0], image[1] // patch[1]


def layout(trunk: Trunk, key: str, rows: int, tokens: PrefixTokens | None = None) -> Layout:
    """Divide `rows` rows of the table `key`: as said, else in the ordinary way.

    Args:
        trunk: where the table comes from.
        key: its name, for messages.
        rows: how many it has.
        tokens: the prefix tokens of a table that is one of several (a branch of CrossViT's). What
            was said of the grid may then be meant for another table, and does not bind this one.

    Raises:
        AmbiguousCheckpoint: what was said does not fit, or several readings do and none is a
            square with the model's own prefix tokens.
    """
    if trunk.hints.tower == "text":
        return Layout((1, rows), 0, (f"a text tower: {rows} positions of words, in one line",))
    notes, all_stated = list[str](), _stated_grids(trunk)
    for stated in all_stated:
        grid, prefix = stated.grid_size, rows - stated.grid_size[0] * stated.grid_size[1]
        if prefix in _accepted(trunk, tokens):
            against = (f"{o.who} gives {x(o.grid_size)}" for o in all_stated if o.grid_size != grid)
            note = "; ".join((f"grid {x(grid)} from {stated.who}", *against))
            return Layout(grid, prefix, (note,))
        if tokens is not None and (likest := _in_proportion(trunk, rows, grid, tokens)):
            return replace(
                likest,
                notes=(
                    f"grid {x(likest.grid_size)}, as {x(grid)} ({stated.who}) in its proportions",
                ),
            )
        if stated.is_flag and tokens is None:
            raise AmbiguousCheckpoint(_contradiction(trunk, key, rows, grid, stated.who))
        if stated.is_config and tokens is None and not _patches_overlap(trunk, rows):
            raise AmbiguousCheckpoint(config_contradicts(trunk, key, rows, stated))
        notes.append(
            f"{stated.who} gives a {x(grid)} grid, which does not fit the {rows} rows of {key}"
        )
    return _ordinary(trunk, key, rows, notes, tokens or trunk.prefix_tokens)


def _in_proportion(
    trunk: Trunk, rows: int, said: tuple[int, int], tokens: PrefixTokens
) -> Layout | None:
    """Divide a table whose grid has the proportions of another table's, which was said."""
    for prefix in tokens.coverings(trunk.hints.num_prefix_tokens):
        for a, b in factor_pairs(rows - prefix) if rows > prefix else ():
            for grid in ((a, b), (b, a)):
                if grid[0] * said[1] == grid[1] * said[0]:
                    return Layout(grid, prefix)
    return None


def _accepted(trunk: Trunk, own: PrefixTokens | None) -> tuple[int, ...]:
    """How many prefix rows are believed where the grid was said."""
    tokens, said = own or trunk.prefix_tokens, trunk.hints.num_prefix_tokens
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


def _stated_grids(trunk: Trunk) -> list[Stated]:
    """Return what is stated of the grid, the strongest first."""
    hints, stated = trunk.hints, []
    if hints.grid_size is not None:
        who = trunk.hints.origin("grid_size")
        stated.append(_stated(trunk, "grid_size", hints.grid_size, who))
    if (by_image := stated_by_image(trunk)) is not None:
        stated.append(by_image)
    return sorted(stated, key=lambda each: (not each.is_flag, not each.is_config))


def stated_by_image(trunk: Trunk) -> Stated | None:
    """Return the grid that the image size and the patch size give, and who says so."""
    grid, image = image_grid(trunk), trunk.hints.img_size
    if grid is None or image is None:
        return None
    who = f"img_size {x(image)} ({trunk.hints.origin('img_size')})"
    return _stated(trunk, "img_size", grid, who)


def _stated(trunk: Trunk, hint: str, grid: tuple[int, int], who: str) -> Stated:
    return Stated(grid, who, trunk.hints.is_flag(hint), trunk.hints.is_of_config(hint))


def _patches_overlap(trunk: Trunk, rows: int) -> bool:
    """Whether the image size fits the rows after all, if patches overlap as in Hiera.

    Only a kernel is in the file, and a stride may be smaller.
    """
    image, kernel = trunk.hints.img_size, trunk.patch_size
    if image is None or kernel is None or trunk.hints.patch_size is not None:
        return False
    coverings = trunk.prefix_tokens.coverings(trunk.hints.num_prefix_tokens)
    strides = range(1, max(kernel))
    return any((image[0] // s) * (image[1] // s) + p == rows for s in strides for p in coverings)


def config_contradicts(trunk: Trunk, key: str, rows: int, stated: Stated) -> str:
    """Return what the config.json says, what the weights say, and the ways out."""
    grid = stated.grid_size
    return (
        f"{stated.who} gives a {x(grid)} grid of {grid[0] * grid[1]}, and {key} has {rows} rows: "
        f"the config and the weights are of two models, or of two image sizes. To go by the "
        f"weights: {_readings(trunk, rows)}"
    )


def _ordinary(trunk: Trunk, key: str, rows: int, notes: list[str], tokens: PrefixTokens) -> Layout:
    coverings = tokens.coverings(trunk.hints.num_prefix_tokens)
    squares = [p for p in coverings if rows > p and isqrt(rows - p) ** 2 == rows - p]
    if len(squares) != 1:
        raise UndecidedGrid(f"{key} has {rows} rows: {_readings(trunk, rows, tokens)}")
    side = isqrt(rows - squares[0])
    note = f"grid {x((side, side))} inferred from {rows - squares[0]} patch rows"
    if others := _other_readings(rows, coverings, squares[0]):
        note += f"; {others} would fit too (--grid-size, --num-prefix-tokens)"
    return Layout((side, side), squares[0], (*notes, note))


def _other_readings(rows: int, coverings: tuple[int, ...], taken: int) -> str:
    """Name the rectangles that the other numbers of prefix rows leave; a single row is none."""
    pairs = [(p, factor_pairs(rows - p)[0]) for p in coverings if p != taken and rows > p]
    return ", ".join(f"{p} prefix + {x(pair)}" for p, pair in pairs if pair[0] > 1)


def _readings(trunk: Trunk, rows: int, own: PrefixTokens | None = None) -> str:
    """List every reading, and the options that pick each of them; none is recommended."""
    tokens, said = own or trunk.prefix_tokens, trunk.hints.num_prefix_tokens
    coverings = tokens.coverings(said)
    if not tokens.total and said is None:
        coverings = (1, 0)  # a class token that the file does not hold is the likeliest
    grids = {p: _grids(rows - p) for p in coverings if rows > p}
    if not grids:
        raise UnfitShapes(f"a table of {rows} rows has none for patches.")
    fitting = sorted(grids, key=lambda p: grids[p][0][0] == 1)  # a strip is the last resort
    shown = {p: _with_line(grids[p][:_MOST_READINGS], rows - p) for p in fitting}
    listed = [
        f"{p}{' prefix' if i == 0 else ''} + {', '.join(map(x, shown[p]))}"
        + (", …" if len(grids[p]) > _MOST_READINGS else "")
        for i, p in enumerate(fitting)
    ]
    flags = "; ".join(_flags(shown[p], p) for p in fitting)
    return f"{', or '.join(listed)}. Each is chosen by its flags: {flags}."


def _with_line(grids: list[tuple[int, int]], patches: int) -> list[tuple[int, int]]:
    """Return grids and, behind rectangles, all patches in one line."""
    is_said = grids[0][0] == grids[0][1] or (1, patches) in grids
    return grids if is_said else [*grids, (1, patches)]


def _flags(grids: list[tuple[int, int]], prefix: int) -> str:
    """Write the flags that choose each of these grids: `--grid-size 3x4 or 4x3 with …`."""
    typed = ["x".join(map(str, grid)) for grid in grids]
    listed = " or ".join(filter(None, (", ".join(typed[:-1]), typed[-1])))
    return f"--grid-size {listed} with --num-prefix-tokens {prefix}"


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


def _contradiction(trunk: Trunk, key: str, rows: int, grid: tuple[int, int], who: str) -> str:
    left, tokens = rows - grid[0] * grid[1], trunk.prefix_tokens.total
    told = trunk.hints.num_prefix_tokens
    which = f"{tokens} in the file" if told is None else f"--num-prefix-tokens {told}"
    if left < 0:
        return (
            f"{key} has {rows} rows, fewer than the {grid[0] * grid[1]} patches of {x(grid)} "
            f"({who}). Pass a --grid-size that fits: {_readings(trunk, rows)}"
            f"{_for_rotations_alone(trunk)}"
        )
    return (
        f"{key} has {rows} rows: {x(grid)} ({who}) leaves {left} for prefix tokens ({which}). "
        f"Readings that fit: {_readings(trunk, rows)}{_for_rotations_alone(trunk)}"
    )


def _for_rotations_alone(trunk: Trunk) -> str:
    """Say how a grid is chosen for the rotations of a model that resizes its table by itself."""
    from pe_inspect.families.reading.rotation_rules import rule_of

    if rule_of(trunk.vision_config) is None:
        return ""
    return " --family rotary takes it for the rotations alone."


def x(grid: tuple[int, int]) -> str:
    """Write a grid as the field does: `14×14`."""
    return f"{grid[0]}×{grid[1]}"
