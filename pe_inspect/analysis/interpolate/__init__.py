"""The position embedding at another resolution, and what resampling does to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from pe_inspect.analysis import questions
from pe_inspect.analysis.interpolate.notes import notes_on, notes_on_values
from pe_inspect.analysis.interpolate.query_maps import QueryMaps, checked_token, places
from pe_inspect.analysis.interpolate.resampled import ResampledTable
from pe_inspect.analysis.interpolate.result import InterpolationResult
from pe_inspect.analysis.interpolate.two_grids import SourceTable
from pe_inspect.errors import UsageError
from pe_inspect.kinds.frames import frames_as_channels, has_frames, notes_of_frames, space_alone
from pe_inspect.kinds.layouts import source_grid, target_shape
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.registry import did_you_mean
from pe_inspect.resampling.methods import Method, methods
from pe_inspect.resampling.methods.computed import for_network
from pe_inspect.resampling.model_grids import grid_in_model, notes_beside
from pe_inspect.resampling.native import origin_of
from pe_inspect.resampling.refusals import refuse_free, refuse_other_kinds
from pe_inspect.resampling.resampler import Resampler
from pe_inspect.resampling.target_grid import (
    Size,
    check_divisible,
    pair_of,
    refuse_if_too_large,
    shown,
)
from pe_inspect.resampling.time_axis import at_frames

__all__ = ["METHODS", "InterpolationResult", "QueryMaps", "check_request", "interpolate"]

METHODS: Final[Mapping[str, str]] = {
    name: str(methods[name]) for name in dict.fromkeys(["native", *methods])
}
"""What each method does: its exact arguments, where it is defined, and for which kinds."""


@questions.register("interpolate")
def interpolate(
    pe: PositionEmbedding,
    *,
    res: Size | None = None,
    grid: Size | tuple[int, int, int] | None = None,
    patch_size: Size | None = None,
    method: str = "native",
    token: Sequence[int] | None = None,
    model: Sequence[PositionEmbedding] = (),
) -> InterpolationResult:
    """Put every table of an embedding on another grid. Prefix rows are kept as they are.

    Tables are resampled as stored, before any norm: the two do not commute. A bias is resampled
    as a table of offsets, relative vectors along their axis, and rotary angles are evaluated at
    the new positions. Each method equals the library that it is named after to 1e-6 of the
    largest entry. Tables and their measures are computed when they are first asked for.

    Args:
        pe: one scheme of one checkpoint.
        res: the target in pixels: one side, or (height, width).
        grid: the target in patches, instead of `res`; (T, H, W) of a table with frames, each of
            which is resampled for itself; another T first, linearly along time.
        patch_size: pixels of a patch, where the checkpoint does not say or to overrule it.
        method: a name of `METHODS`, several with commas (the first is the chosen one), or `all`
            that apply to the embedding's kind.
        token: (row, column) of the patch that `query_maps` will be asked for; checked at once.
        model: all embeddings of the checkpoint, where there are several: the size is then that of
            the one at the input, and further levels, branches and stages keep their proportion.

    Raises:
        UsageError: an unknown method or one of another kind, an impossible size, one that would
            not fit into memory, a patch outside the grid, or an embedding that has no table.
    """
    pe = at_frames(pe, grid)
    plane, model = space_alone(pe, grid), () if has_frames(pe) else model
    pe = frames_as_channels(pe, "interpolate")
    refuse_free(pe)
    chosen, asked_all = _chosen(pe, method)
    size = grid_in_model(pe, model, res, plane, patch_size)
    resamplers = {each.name: each.choose(pe) for each in chosen}
    refuse_if_too_large(pe, size, len(set(resamplers.values())))
    kind = pe.scheme_kind
    sources = [
        SourceTable(table.name, kind.laid_out(table), kind, table.network) for table in pe.tables
    ]
    checked_token(token, places(sources[0].values, is_bias=kind.is_pairwise))
    shapes = [target_shape(pe, table, size) for table in pe.tables]
    skipped = _checked(resamplers, sources, shapes, may_skip=asked_all)
    resamplers = {name: each for name, each in resamplers.items() if name not in skipped}
    origin = origin_of(pe)
    outcomes = _outcomes(sources, shapes, resamplers, methods[origin.library].choose(pe))
    parameters = {
        "method": ",".join(outcomes), "grid": list(size), "from": list(source_grid(pe)),
        "native": origin.library, "native_is_known": origin.is_known,
    }  # fmt: skip
    if res is not None:
        parameters["res"] = shown(res)
    notes = notes_on(pe, size, resamplers, origin, skipped, asked_all=asked_all)
    return InterpolationResult(
        pe, size, outcomes, {name: each.name for name, each in resamplers.items()}, origin,
        parameters,
        (*notes_of_frames(pe), *notes, *notes_beside(pe, model, size), *notes_on_values(outcomes)),
        pe.patch_size if patch_size is None else pair_of(patch_size, "--patch-size"),
    )  # fmt: skip


def check_request(
    tables: Sequence[PositionEmbedding],
    method: str,
    res: tuple[int, int] | None = None,
    patch_size: tuple[int, int] | None = None,
) -> None:
    """Stop at words that mean nothing, also where nothing is to be done.

    Args:
        tables: the embeddings of a checkpoint.
        method: a name, several with commas, or `all`.
        res: the target, (height, width) in pixels.
        patch_size: (height, width) of a patch in pixels, where it is not the tables' own.

    Raises:
        UsageError: an unknown method, or an image that no whole number of patches fills.
    """
    named(method)
    for pe in tables:
        patch = patch_size or pe.patch_size
        if res is not None and patch is not None:
            check_divisible(res, patch)


def named(method: str) -> list[str]:
    """The methods that a user's words name; `all` is among them as it is.

    Raises:
        UsageError: there is none, or one that is not known.
    """
    names = [name.strip() for name in method.split(",") if name.strip()]
    unknown = [name for name in names if name != "all" and name not in methods]
    if names and not unknown:
        return names
    wrong = f"--method {method!r} names no method."
    if unknown:
        wrong = did_you_mean("method", unknown[0], list(methods))
    raise UsageError(f"{wrong} `--method list` prints what each does.")


def _chosen(pe: PositionEmbedding, method: str) -> tuple[list[Method], bool]:
    """The methods that were asked for, and whether that is all of them."""
    names = named(method)
    if "all" in names:
        fitting = [name for name, each in methods.items() if each.suits(pe)]
        first = [name for name in names if name != "all"] or ["native"]
        return [methods[name] for name in dict.fromkeys([*first, *fitting])], True
    found = [methods[name] for name in dict.fromkeys(names)]
    for each in found:
        refuse_other_kinds(pe, each)
    return found, False


def _checked(
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


def _outcomes(
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
