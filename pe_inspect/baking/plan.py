"""Which tensors of a checkpoint change, and to what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pe_inspect.arrays import Shaped
from pe_inspect.baking.bakers import Job, TensorChange, bakers
from pe_inspect.baking.kernel import kernel_change
from pe_inspect.baking.left_behind import left_behind
from pe_inspect.errors import UsageError
from pe_inspect.families import extract
from pe_inspect.families.trunk import Trunk
from pe_inspect.kinds.layouts import source_grid, target_shape
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.loading.checkpoint import Checkpoint
from pe_inspect.resampling.methods import Method, methods
from pe_inspect.resampling.model_grids import grid_beside, is_free, main_of, size_of
from pe_inspect.resampling.native import origin_of, spoken
from pe_inspect.resampling.refusals import refuse_other_kinds
from pe_inspect.resampling.resampler import Resampler, Whole
from pe_inspect.resampling.target_grid import Size, refuse_if_too_large

__all__ = ["BakePlan", "BakeRequest", "plan"]

Grid = tuple[int, int]
MOST_NAMED: Final = 4
_NO_TABLE: Final = Whole("none", lambda table, _size: table)


@dataclass(frozen=True)
class BakeRequest:
    """What the user asks for.

    Attributes:
        res: the target in pixels, or
        grid: in patches.
        patch_size: pixels of a patch; another one than the file's kernel has resizes that kernel.
        method: a name of `interpolate`'s methods.
        renormalise: give rows the lengths that the source's rows have.
    """

    res: Size | None = None
    grid: Size | None = None
    patch_size: Size | None = None
    method: str = "native"
    renormalise: bool = False


@dataclass(frozen=True, eq=False)
class BakePlan:
    """What is to be written.

    Attributes:
        tables: the embeddings as they are.
        grids: the largest grid of each embedding, and the one that it becomes.
        changes: the checkpoint's name → new values, of whatever shape.
        patch_size: the new patch in pixels, where that is known.
        notes: what was chosen, and what needs nothing.
    """

    tables: tuple[PositionEmbedding, ...]
    grids: tuple[tuple[Grid, Grid], ...]
    changes: Mapping[str, Shaped[np.ndarray, "..."]]
    patch_size: Grid | None
    notes: tuple[str, ...]

    @property
    def old(self) -> Grid:
        """The grid of the embedding that the request is about."""
        return self.grids[0][0]

    @property
    def new(self) -> Grid:
        """The grid that was asked for."""
        return self.grids[0][1]


def plan(checkpoint: Checkpoint, request: BakeRequest) -> BakePlan:
    """Resample everything that lies on a grid.

    Raises:
        UsageError: the size, the method or the scheme does not allow it.
        NoPositionEmbedding: the file holds none.
        AmbiguousCheckpoint: it has several readings.
    """
    found = extract(checkpoint, with_sha256=False)
    _refuse_method(found, request)
    main = main_of(found, in_pixels=request.res is not None)
    main.require_flat_grid("interpolate --write")
    size = size_of(main, request.res, request.grid, request.patch_size)
    others = [pe for pe in found if pe is not main and not _is_of_time(pe)]
    for pe in others:
        pe.require_flat_grid("interpolate --write")
    tables = (main, *others)
    beside = tuple((source_grid(pe), grid_beside(main, size, pe)) for pe in tables[1:])
    grids = ((source_grid(main), size), *beside)
    changes: dict[str, np.ndarray] = {}
    notes, trunk = list[str](), Trunk(checkpoint)
    told = {key for pe in found if _is_of_time(pe) for key in pe.keys}
    for pe, (old, new) in zip(tables, grids):
        if changes and set(pe.keys) <= set(map(checkpoint.stored_key, changes)):
            continue  # MAE's decoder: written together with the table of the encoder
        made = list(_changes(trunk, pe, new, request, notes))
        changes |= {each.key: each.values for each in made if each.values is not None}
        notes += [each.note for each in made if each.note]
        if old == new or is_free(pe) or any(each.note for each in made):
            told |= set(pe.keys)  # it is known why what does not change stays
    kernel = kernel_change(trunk, _as_pair(request.patch_size))
    if kernel is not None:
        changes[kernel.key] = kernel.values if kernel.values is not None else np.empty(0)
        notes.append(kernel.note)
    patch = _as_pair(request.patch_size) or tables[0].patch_size
    kept = {key: values for key, values in changes.items() if not _is_same(checkpoint, key, values)}
    if kept:
        _refuse_half(checkpoint, left_behind(checkpoint, told, changes))
    return BakePlan(tables, grids, kept, patch, tuple(dict.fromkeys(notes)))


def _is_of_time(pe: PositionEmbedding) -> bool:
    """Whether its places are frames alone, which no image's size changes."""
    return pe.grid_size is not None and tuple(pe.grid_size[1:]) == (1, 1)


def _refuse_half(checkpoint: Checkpoint, left: Sequence[str]) -> None:
    """Refuse a file of which some position tensors would be of the new size, and some of the old.

    Raises:
        UsageError: with those of which it is not known what becomes of them.
    """
    if not left:
        return
    shown = ", ".join(f"{name} {_shape(checkpoint, name)}" for name in left[:MOST_NAMED])
    more = f" and {len(left) - MOST_NAMED} more" if len(left) > MOST_NAMED else ""
    raise UsageError(
        f"{checkpoint.source} also holds {shown}{more}, whose names say position, and nothing "
        "tells what becomes of them at another size. A file of two sizes would load nowhere, so "
        "none is written; without --write, interpolate shows what is understood."
    )


def _shape(checkpoint: Checkpoint, stored: str) -> tuple[int, ...]:
    return next(each.shape for each in checkpoint.tensors.values() if each.key == stored)


def _changes(
    trunk: Trunk, pe: PositionEmbedding, new: Grid, request: BakeRequest, notes: list[str]
) -> Iterator[TensorChange]:
    if pe.family not in bakers:
        raise UsageError(f"{pe.family} is not written at another resolution: {', '.join(bakers)}.")
    if is_free(pe):
        yield from bakers[pe.family](trunk, Job(pe, new, _NO_TABLE))
        return
    if source_grid(pe) == new:
        notes.append(f"{pe.family} stays on its {new[0]}×{new[1]} grid")
        return
    refuse_if_too_large(pe, new, 1)
    method, resampler = _resampler(pe, request)
    _check(pe, new, resampler)
    renormalise = request.renormalise and pe.scheme_kind.has_token_rows
    made = list(bakers[pe.family](trunk, Job(pe, new, resampler, renormalise)))
    if any(change.values is not None for change in made):
        notes.append(f"{pe.family}: {_rule(pe, method, resampler)}")
    if renormalise:
        notes.append(f"{pe.family}: rows have the lengths of the source's, by rank (--renormalise)")
    elif request.renormalise:
        notes.append(f"{pe.family}: --renormalise is for vectors, and changed nothing of this one")
    yield from made


def _rule(pe: PositionEmbedding, method: Method, resampler: Resampler) -> str:
    if method.name != "native":
        return f"resampled by {spoken(method.name, resampler.name)}"
    return f"resampled by {origin_of(pe).sentence(resampler.name)}"


def _resampler(pe: PositionEmbedding, request: BakeRequest) -> tuple[Method, Resampler]:
    """The first method that was named and applies; a scheme beside it falls back on its own."""
    names = [name.strip() for name in request.method.split(",") if name.strip()]
    chosen = methods[names[0]] if names and names[0] != "all" else methods["native"]
    if not chosen.suits(pe):
        chosen = methods["native"]
    return chosen, chosen.choose(pe)


def _check(pe: PositionEmbedding, new: Grid, resampler: Resampler) -> None:
    for layer in pe.tables[: 1 if pe.scheme_kind.has_heads else None]:  # theirs are all alike
        shape = target_shape(pe, layer, new)
        values = pe.scheme_kind.laid_out(layer)
        if values.shape[:2] != shape:
            resampler.check(values, shape)


def _refuse_method(tables: Sequence[PositionEmbedding], request: BakeRequest) -> None:
    """Refuse a method that applies to no embedding of the file.

    Raises:
        UsageError: with the methods that apply.
    """
    name = request.method.split(",")[0].strip()
    tabled = [pe for pe in tables if not is_free(pe)]
    if name in ("all", "native") or not tabled:
        return
    if not any(methods[name].suits(pe) for pe in tabled):
        refuse_other_kinds(tabled[0], methods[name])


def _as_pair(size: Size | None) -> Grid | None:
    return (size, size) if isinstance(size, int) else size


def _is_same(checkpoint: Checkpoint, key: str, values: np.ndarray) -> bool:
    """Whether a tensor stays what it is; only then is it left to be copied."""
    if checkpoint.shape(key) != values.shape:
        return False
    return np.array_equal(np.asarray(checkpoint.tensor(key)), values, equal_nan=True)
