"""What the figures of `interpolate` say alike: routes, grids, methods, edges and shares."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pe_inspect.analysis.interpolate import InterpolationResult
    from pe_inspect.analysis.interpolate.resampled import ResampledTable

__all__ = ["edge", "grids", "method_name", "percent", "route"]


def route(result: InterpolationResult, done: ResampledTable) -> str:
    """Say whence and whither a table goes: `14×14 → 24×24 patches by native (timm: bicubic-aa)`."""
    sides = [values.shape[:2] for values in (done.before, done.after)]
    if done.is_by_offset:
        unit = "patches" if done.is_bias else "offsets"
        sides = [tuple((n + 1) // 2 for n in each) for each in sides] if done.is_bias else sides
    else:
        unit = "patches"
    text = " → ".join("×".join(map(str, each)) for each in sides)
    return f"{text} {unit} by {method_name(result, result.method)}"


def grids(result: InterpolationResult) -> str:
    """Say whence and whither the whole embedding goes: `14×14 → 24×24 patches`."""
    sides = (result.pe.grid_size, result.grid_size)
    return " → ".join("×".join(map(str, each)) for each in sides) + " patches"


def edge(done: ResampledTable) -> str:
    """What the border of a table is: relative vectors lie in a row."""
    return "the two ends" if 1 in done.before.shape[:2] else "the outermost ring"


def method_name(result: InterpolationResult, method: str) -> str:
    """A method, and in brackets what it comes down to."""
    plain = result.rules[method]
    if method == "native" and not result.origin.is_known:
        return f"native ({result.origin.words(plain)})"
    if method == "native" and plain != result.native:
        return f"native ({result.native}: {plain})"
    return method if plain == method else f"{method} ({plain})"


def percent(value: float) -> str:
    """A share of one, in per cent with one decimal."""
    return f"{100 * value:.1f} %" if np.isfinite(value) else "undefined"
