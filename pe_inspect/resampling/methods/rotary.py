"""Rotary angles on another grid: positions rescaled or not, or the base changed.

Angles are functions of the position, so nothing is interpolated between values: the slopes are
read back from the table (they are exact: angles are linear in position) and evaluated anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final, TypeAlias

import numpy as np

from pe_inspect.arrays import Float
from pe_inspect.errors import UsageError
from pe_inspect.resampling.registering import plain
from pe_inspect.resampling.resampler import Size, Table, Whole
from pe_inspect.resampling.rotary_planes import Planes, planes

__all__ = [
    "extrapolate", "normalised", "normalised_max", "normalised_min", "ntk", "rescale", "yarn",
]  # fmt: skip

SAME: Final = 1e-3  # two speeds whose logarithms differ by less are one
EVEN: Final = 1e-2  # relative spread of the gaps of a geometric series, read from float32 angles
SLOW: Final = 1.0  # YaRN's α and β, in turns over the trained length
FAST: Final = 32.0

Slopes: TypeAlias = np.ndarray  # (angles,)
Change: TypeAlias = Callable[[Slopes, int, int], Slopes]
"""(slopes of one axis, its old side, its new side) → new slopes."""


def _places(side: int, origin: float) -> Float[np.ndarray, " side"]:
    places: np.ndarray = np.arange(side) + origin
    return places


def _extrapolated(found: Planes, source: Size, size: Size) -> Table:
    del source
    y, x = (_places(side, 0.0) for side in size)
    angles: Table = found.at(y, x) + found.first
    return angles


def _rescaled(found: Planes, source: Size, size: Size) -> Table:
    y, x = (
        _places(new, origin) * old / new for old, new, origin in zip(source, size, found.origin)
    )
    return found.at(y, x)


def _normalised(found: Planes, source: Size, size: Size) -> Table:
    y, x = (
        _places(new, 0.5) * old / new - 0.5 + origin
        for old, new, origin in zip(source, size, found.origin)
    )
    return found.at(y, x)


def _by_one_side(choose: Callable[[Size], int], found: Planes, source: Size, size: Size) -> Table:
    """As `_normalised`, both axes in units of one of the sides."""
    scale = choose(source) / choose(size)
    y, x = (_places(new, 0.5) * scale - 0.5 + origin for new, origin in zip(size, found.origin))
    return found.at(y, x)


def _changed(change: Change, found: Planes, source: Size, size: Size) -> Table:
    a, b = (change(slope, *sides) for slope, *sides in zip((found.a, found.b), source, size))
    y, x = (_places(*axis) for axis in zip(size, found.origin))
    return replace(found, a=a, b=b).at(y, x)


def _ntk(slopes: Slopes, source: int, target: int) -> Slopes:
    """Change the base by s^(d/(d−2)): the fastest angle keeps its speed, the slowest loses s."""
    if source == target or not slopes.any():
        return slopes
    rank, _, count = _series(slopes)
    return np.asarray(slopes * (target / source) ** (-rank / (count - 1)))


def _yarn(slopes: Slopes, source: int, target: int) -> Slopes:
    """Slow angles are slowed by s, fast ones kept, and between them a ramp over their ranks."""
    if source == target or not slopes.any():
        return slopes
    rank, ratio, count = _series(slopes)
    fastest = np.abs(slopes).max()
    low, high = (
        math.log(source * fastest / (turns * 2 * math.pi)) / math.log(ratio)
        for turns in (FAST, SLOW)
    )
    low, high = max(math.floor(low), 0), min(math.ceil(high), 2 * count - 1)
    ramp = np.clip((rank - low) / (high - low or 1e-3), 0, 1)
    return np.asarray(slopes * (ramp * source / target + 1 - ramp))


def _series(slopes: Slopes) -> tuple[Slopes, float, int]:
    """The rank of each angle in the geometric series of speeds, the series' ratio and length."""
    speeds = np.abs(slopes)
    ordered = -np.sort(-np.log(speeds[speeds > 0]))
    distinct = ordered[np.diff(ordered, prepend=np.inf) < -SAME]
    gaps = -np.diff(distinct)
    if len(distinct) < 2 or np.ptp(gaps) > EVEN * gaps.max():
        raise UsageError(
            "A change of base needs frequencies in geometric progression along each axis, and "
            "these are not. Use --method extrapolate, rescale or normalised."
        )
    ratio = math.exp((distinct[0] - distinct[-1]) / (len(distinct) - 1))
    steps = np.log(speeds.max() / np.where(speeds > 0, speeds, speeds.max())) / math.log(ratio)
    return np.rint(steps), ratio, len(distinct)


def _refuse_mixed(found: Planes) -> None:
    if ((found.a != 0) & (found.b != 0)).any():
        raise UsageError(
            "A change of base needs angles of one axis each, and these mix rows and columns "
            "(RoPE-Mixed). Use --method extrapolate, rescale or normalised."
        )


def _refuse_thin(table: Table, size: Size) -> None:
    for axis, source, target in zip(("row", "column"), table.shape, size):
        if source == 1 < target:
            raise UsageError(
                f"A grid of one {axis} does not show how angles grow from {axis} to {axis}. "
                "Extract them on a larger grid: --grid-size HxW."
            )


def _refuse(table: Table, size: Size, *, evaluate: Callable[[Planes, Size, Size], Table]) -> None:
    _refuse_thin(table, size)
    rows, columns, _ = table.shape
    found = planes(table)
    if isinstance(evaluate, partial):
        _refuse_mixed(found)
    evaluate(found, (rows, columns), (1, 1))


def _turning(
    name: str, evaluate: Callable[[Planes, Size, Size], Table], *, call: str, source: str
) -> Whole:
    def resample(table: Table, size: Size) -> Table:
        rows, columns, _ = table.shape
        return evaluate(planes(table), (rows, columns), size).astype(table.dtype)

    resampler = Whole(name, resample, partial(_refuse, evaluate=evaluate))
    plain(resampler, call=call, source=source, kinds=("phases",))
    return resampler


extrapolate: Final = _turning(
    "extrapolate",
    _extrapolated,
    call="positions go on: θ = a·(y + o_y) + b·(x + o_x) for y < H′, x < W′",
    source="arXiv:2104.09864; rope-vit (arXiv:2403.13298)",
)
rescale: Final = _turning(
    "rescale",
    _rescaled,
    call="positions shrink: t = (arange(H′) + o)·H/H′",
    source="EVA-02 (arXiv:2303.11331), ref_feat_shape in timm; arXiv:2306.15595",
)
normalised: Final = _turning(
    "normalised",
    _normalised,
    call="centres of patches in units of the image: t = (arange(H′) + ½)·H/H′ − ½, axes apart",
    source="DINOv3 (arXiv:2508.10104), normalize_coords='separate'",
)
normalised_max: Final = _turning(
    "normalised-max",
    lambda *given: _by_one_side(max, *given),
    call="as normalised, both axes in units of the longer side: t = (arange(H′) + ½)·m/m′ − ½",
    source="DINOv3 (arXiv:2508.10104), normalize_coords='max'",
)
normalised_min: Final = _turning(
    "normalised-min",
    lambda *given: _by_one_side(min, *given),
    call="as normalised, both axes in units of the shorter side",
    source="DINOv3 (arXiv:2508.10104), normalize_coords='min'",
)
ntk: Final = _turning(
    "ntk",
    partial(_changed, _ntk),
    call="base·s^(d/(d−2)), s = H′/H (W′/W for x), d channels an axis; positions go on",
    source="transformers' rope_type='dynamic' with factor 1; arXiv:2309.00071, section 3.1",
)
yarn: Final = _turning(
    "yarn",
    partial(_changed, _yarn),
    call="by parts: α=1, β=32 turns over H, s = H′/H (W′/W for x); attention's temperature apart",
    source="transformers' rope_type='yarn'; arXiv:2309.00071, section 3.2",
)
