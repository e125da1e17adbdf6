"""Every table by every method: which methods refuse, and the results as one array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pe_inspect.analysis.interpolate.resampled import ResampledTable
from pe_inspect.analysis.interpolate.two_grids import SourceTable
from pe_inspect.arrays import Float32
from pe_inspect.errors import UsageError
from pe_inspect.resampling.methods.computed import for_network
from pe_inspect.resampling.resampler import Resampler

__all__ = ["outcomes_of", "refusing_methods", "stacked"]


def refusing_methods(
    resamplers: Mapping[str, Resampler],
    sources: Sequence[SourceTable],
    shapes: Sequence[tuple[int, int]],
    *,
    may_skip: bool,
) -> dict[str, UsageError]:
    """Have every method look at every table; return those that refuse one, where that may be."""
    skipped = {}
    for name, resampler in resamplers.items():
        try:
            for source, shape in zip(sources, shapes):
                if source.values.shape[:2] != shape:
                    for_network(resampler, source.network).check(source.values, shape)
        except UsageError as error:
            if not may_skip or name == "native":
                raise
            skipped[name] = error
    return skipped


def outcomes_of(
    sources: Sequence[SourceTable],
    shapes: Sequence[tuple[int, int]],
    resamplers: Mapping[str, Resampler],
    native: Resampler,
) -> dict[str, tuple[ResampledTable, ...]]:
    """One table a source by every method; methods that are one plain method share theirs."""
    by_native = tuple(
        ResampledTable(source, shape, for_network(native, source.network))
        for source, shape in zip(sources, shapes)
    )
    made = {native: by_native}
    for resampler in resamplers.values():
        if resampler not in made:
            made[resampler] = tuple(
                ResampledTable(source, shape, for_network(resampler, source.network), reference)
                for source, shape, reference in zip(sources, shapes, by_native)
            )
    return {name: made[resampler] for name, resampler in resamplers.items()}


def stacked(values: list[Float32[np.ndarray, "..."]]) -> Float32[np.ndarray, "tables ..."]:
    """One array, as large as the largest; what is not there is NaN."""
    shapes = [each.shape for each in values]
    if len(values) == 1:
        return values[0][None]
    if len(set(shapes)) == 1:
        return np.stack(values)
    stack = np.full((len(values), *np.max(shapes, axis=0)), np.nan, np.float32)
    for row, each in zip(stack, values):
        row[tuple(map(slice, each.shape))] = each
    return stack
