"""`bake`: the same checkpoint at another resolution, in its own format, under its own names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from pe_inspect.baking.configurations import configurations
from pe_inspect.baking.copies import Held, held_in, other_copies, verify
from pe_inspect.baking.plan import BakePlan, BakeRequest, plan
from pe_inspect.baking.renormalised import renormalised
from pe_inspect.baking.writing import (
    check_target,
    left_out,
    refuse_existing,
    write_file,
    write_folder,
)
from pe_inspect.errors import UsageError
from pe_inspect.kinds.all_kinds import (
    BIAS,
    COMPUTED_BIAS,
    PHASES,
    RELATIVE,
    RESPONSE,
    VECTORS,
    SchemeKind,
)
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding
from pe_inspect.loading.byte_source import LocalFile
from pe_inspect.loading.checkpoint import Checkpoint
from pe_inspect.loading.formats.huggingface import INDEX_NAMES, weight_map
from pe_inspect.loading.rewriting import TensorEdit
from pe_inspect.resampling.refusals import needs_nothing
from pe_inspect.resampling.target_grid import Size

__all__ = ["Baked", "bake", "refuse_if_missed"]

Grid = tuple[int, int]

_TELLS_ITS_GRID: Final[Mapping[SchemeKind, bool]] = {
    VECTORS: False,
    BIAS: False,
    PHASES: True,
    RELATIVE: True,
    RESPONSE: True,
    COMPUTED_BIAS: True,
}
"""Whether the sides of an oblong grid can be read from a written file."""


@dataclass(frozen=True)
class Baked:
    """What `bake` wrote.

    Attributes:
        path: the new file or folder; `None` where nothing had to change, and none was written.
        grid_size: the new (H, W) in patches.
        before: the old one.
        changed: stored name → shape before and after.
        notes: the rules that were followed, and what needed nothing.
        count: how many tensors the state dict has.
    """

    path: Path | None
    grid_size: Grid
    before: Grid
    changed: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    count: int = 0

    @property
    def summary(self) -> str:
        """What changed: `pos_embed 197→577, 1 of 152 tensors; the rest copied`."""
        if not self.changed:
            return "nothing changed"
        (name, shapes), *others = self.changed.items()
        more = f" and {len(others)} more" if others else ""
        told = f"{name} {_sides(*shapes)}{more}, {len(self.changed)} of {self.count} tensors"
        return told if self.count == len(self.changed) else f"{told}; the rest copied"

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values, as `interpolate --write --json` prints them."""
        return {
            "written": None if self.path is None else str(self.path),
            "grid_size": list(self.grid_size),
            "from_grid_size": list(self.before),
            "tensors": {
                name: {"from": list(before), "to": list(after)}
                for name, (before, after) in self.changed.items()
            },
            "num_tensors": self.count,
            "notes": list(self.notes),
        }


def _sides(before: tuple[int, ...], after: tuple[int, ...]) -> str:
    """The sides that differ; of as many values as before, that they do."""
    if len(before) != len(after) or before == after:
        return "with other values" if before == after else f"{before}→{after}"
    return ", ".join(f"{a}→{b}" for a, b in zip(before, after) if a != b)


def bake(
    checkpoint: Checkpoint,
    path: str | os.PathLike[str],
    *,
    res: Size | None = None,
    grid: Size | None = None,
    patch_size: Size | None = None,
    method: str = "native",
    renormalise: bool = False,
    force: bool = False,
) -> Baked:
    """Write a checkpoint whose positions are those of another resolution.

    Tables, biases, relative vectors, index and coordinate buffers are put on the new grid, a
    config.json beside them is told the new size, and everything else is copied byte by byte: it
    is not read as numbers, and takes no memory. Types stay as they are stored. Further copies of
    the model in the file (averages, teachers) are treated alike. The new file is read back and
    compared before it gets its name.

    Args:
        checkpoint: what `pe_inspect.load` returned of a file, a folder or a remote name.
        path: the new file, with an extension of the same format; of a folder, the new folder.
        res: the target in pixels: one side, or (height, width).
        grid: the target in patches, instead of `res`; of windowed biases (Swin) the new window.
        patch_size: pixels of a patch. Another one than that of the file's kernel has the kernel
            PI-resized (FlexiViT).
        method: a method of `interpolate`; `native` is the rule of each embedding's own library.
        renormalise: scale the new rows of tables of vectors, so that their lengths are
            distributed as those of the old rows: the k-th shortest of n gets the (k + ½)/n
            quantile. Bilinear resampling makes rows shorter than any trained one.
        force: replace what stands at `path`.

    Returns:
        What was written. Where the scheme needs nothing, no file is.

    Raises:
        UsageError: the size, the method or the scheme does not allow it; `path` is the input or
            has another format's extension; a state dict in memory, which has no format.
        OutputError: `path` exists and `force` is not set, or the disk is full. What stood there
            stays as it was.
        NoPositionEmbedding, AmbiguousCheckpoint: as `extract`.
    """
    target = Path(path)
    if checkpoint.path is None:
        refuse_existing(target, force=force)  # before anything is downloaded
    source = _source_of(checkpoint)
    check_target(checkpoint, source, target, force=force)
    request = BakeRequest(res, grid, patch_size, method, renormalise)
    if checkpoint.format == "pe":
        return _saved_extraction(source, target, request)
    made = plan(checkpoint, request)
    if not made.changes:
        return Baked(
            None, made.new, made.old, notes=(*made.notes, "nothing to change: no file was written")
        )
    job = _Job(checkpoint, source, target, request, made, [*made.notes])
    written = _folder(job) if source.is_dir() else _file(job)
    changed, count = _changed_shapes(checkpoint, made), len(checkpoint)
    return Baked(written, made.new, made.old, changed, tuple(job.notes), count)


def refuse_if_missed(
    baked: Baked, checkpoint: Checkpoint, path: Path, tables: Sequence[PositionEmbedding]
) -> None:
    """Stop where no file was made, and the one that was asked for would be missed.

    Args:
        baked: what `bake` returned.
        checkpoint: what was to be copied.
        path: where.
        tables: the embeddings of the checkpoint.

    Raises:
        UsageError: the checkpoint is at that size already, or an older file stands in that place.
    """
    if baked.path is not None:
        return
    source, (rows, columns) = checkpoint.source, baked.grid_size
    if baked.grid_size == baked.before and not all(map(needs_nothing, tables)):
        raise UsageError(
            f"Nothing was written to {path}: {source} is at {rows}×{columns} patches already, and "
            "no tensor changes. Use it as it is, or pass another --res or --grid."
        )
    if path.exists():
        raise UsageError(
            f"Nothing was written to {path}, and what stands there stays: {source} serves "
            "this size as it is. Use that, or copy it."
        )


@dataclass(frozen=True)
class _Job:
    """One copy to be written, and what is said of it on the way."""

    checkpoint: Checkpoint
    source: Path
    target: Path
    request: BakeRequest
    made: BakePlan
    notes: list[str]


def _source_of(checkpoint: Checkpoint) -> Path:
    """The file or folder that a checkpoint was read from; what lies elsewhere is downloaded.

    Raises:
        UsageError: there is none, or it is a folder elsewhere with several weight files.
    """
    given = Path(checkpoint.source).expanduser()
    if checkpoint.path is not None:
        return given if checkpoint.format == "huggingface" and given.is_dir() else checkpoint.path
    if checkpoint.format == "state_dict":
        raise UsageError(
            "A state dict in memory has no file to copy. Save it, and load that: "
            "safetensors.torch.save_file(state_dict, 'weights.safetensors')."
        )
    from pe_inspect.loading.remote import downloaded

    return downloaded(checkpoint.source)


def _changed_shapes(checkpoint: Checkpoint, made: BakePlan) -> dict[str, Any]:
    return {
        checkpoint.stored_key(key): (checkpoint.shape(key), values.shape)
        for key, values in made.changes.items()
    }


def _edits(job: _Job, held: Held) -> list[TensorEdit]:
    """The edits of the copy that was read, and of every other one in the file."""
    edits = _of_plan(job.checkpoint, job.made)
    _refuse_unplaced(edits)
    for place, copy in other_copies(job.checkpoint, held, job.made.changes):
        edits += _of_plan(copy, plan(copy, job.request))
        job.notes.append(f"{place or 'the copy without a prefix'} is the same model, treated alike")
    job.notes.extend(_on_optimizers(held, edits))
    return edits


def _of_plan(checkpoint: Checkpoint, made: BakePlan) -> list[TensorEdit]:
    return [TensorEdit(checkpoint.tensors[key], values) for key, values in made.changes.items()]


def _refuse_unplaced(edits: Sequence[TensorEdit]) -> None:
    for edit in edits:
        is_torch = isinstance(edit.tensor.storage, tuple) and edit.tensor.storage[0] == "torch"
        is_slice = isinstance(edit.tensor.storage, tuple) and edit.tensor.storage[0] == "slice"
        if is_torch or is_slice:
            raise UsageError(
                f"{edit.tensor.key} does not lie in the file as it was read (--trust-pickle, or "
                "blocks that share one array), so that it cannot be replaced there. Save the state "
                "dict by itself, and give that: torch.save(state_dict, 'weights.pth')."
            )


def _on_optimizers(held: Held, edits: Sequence[TensorEdit]) -> Iterator[str]:
    """A momentum has its table's shape, and no rule resamples one."""
    shapes = {edit.tensor.shape for edit in edits}
    others = held.tree if isinstance(held.tree, dict) else {}
    for name, part in others.items():
        if "optim" in str(name) and any(shape in shapes for shape in _shapes_in(part)):
            yield (
                f"{name} was kept as it is, with averages of the old tables' shape: to train on, "
                "begin with a new optimizer"
            )


def _shapes_in(node: Any) -> Iterator[tuple[int, ...]]:
    """The shapes of a part's tensors; what is reached in several ways is looked at once."""
    stack, seen = [node], set[int]()
    while stack:
        part = stack.pop()
        if hasattr(part, "shape"):
            yield part.shape
        elif isinstance(part, dict | list) and id(part) not in seen:
            seen.add(id(part))
            stack += part.values() if isinstance(part, dict) else part


def _file(job: _Job) -> Path:
    held = held_in(job.source)
    edits = _edits(job, held)
    if "config" in job.checkpoint.metadata:
        job.notes.append(
            "config.json beside the input was not copied and says the old size: give the folder "
            "to have both written"
        )
    job.notes.extend(_on_grid(job.made))
    check = partial(verify, before=held, edits=edits)
    return write_file(job.source, job.target, edits, check)


def _on_grid(made: BakePlan) -> Iterator[str]:
    rows, columns = made.new
    if rows != columns and not _TELLS_ITS_GRID[made.tables[0].scheme_kind]:
        yield f"no table stores its grid: read the new file with --grid-size {rows}x{columns}"


def _folder(job: _Job) -> Path:
    configs = configurations(job.checkpoint, job.source, job.made, job.request.res)
    held = {name: held_in(job.source / name) for name in _weights(job.source, job.checkpoint)}
    whole = Held({k: t for each in held.values() for k, t in each.tensors.items()}, {})
    edits = _edits(job, whole)
    by_file = {
        name: [edit for edit in edits if each.paths_of(edit.tensor)] for name, each in held.items()
    }

    if away := left_out(job.source, by_file):
        job.notes.append(f"left out, for they are links out of the folder: {', '.join(away)}")

    def check(folder: Path) -> None:
        for name, each in held.items():
            verify(folder / name, each, by_file[name])

    return write_folder(job.source, job.target, by_file, configs, check)


def _weights(source: Path, checkpoint: Checkpoint) -> list[str]:
    """The names of a folder's weight files that were read: one, or its shards."""
    only = checkpoint.path
    if only is None or only.name not in INDEX_NAMES:
        return [only.name] if only is not None else []
    return sorted(set(weight_map(LocalFile(source / only.name)).values()))


def _saved_extraction(source: Path, target: Path, request: BakeRequest) -> Baked:
    """A `*.pe.safetensors` is one embedding: the resampled one is saved likewise."""
    from pe_inspect.analysis.interpolate import interpolate

    pe = PositionEmbedding.open(source)
    result = interpolate(
        pe, res=request.res, grid=request.grid, patch_size=request.patch_size, method=request.method
    )
    made = result.embedding()
    if request.renormalise and pe.scheme_kind.has_token_rows:
        made = replace(made, tables=tuple(map(_renormalised, pe.tables, made.tables)))
    shapes = {old.name: (old.shape, new.shape) for old, new in zip(pe.tables, made.tables)}
    made.save(target)
    return Baked(target, result.grid_size, pe.grid_size, shapes, result.notes, len(shapes))


def _renormalised(old: LayerPE, new: LayerPE) -> LayerPE:
    by_place = [each.patches.reshape(*each.grid_size, -1) for each in (new, old)]
    rows = renormalised(*by_place).reshape(new.num_patches, -1)
    return replace(new, values=np.concatenate([new.prefix, rows]))
