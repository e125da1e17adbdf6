"""All that the doctor knows of one file: how it is read, what it holds, and what it should fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pe_inspect.diagnosis.ranked import Ranked, ranked
from pe_inspect.diagnosis.readings import Readings, as_read, file_readings
from pe_inspect.errors import AmbiguousCheckpoint, NoPositionEmbedding
from pe_inspect.families import extract
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["Case", "Expected", "opened"]


@dataclass(frozen=True)
class Expected:
    """What the user expects of a checkpoint.

    Attributes:
        rows: of its table (`--expect`).
        pixels: (height, width) of the images (`--expect-res`).
        other: a checkpoint whose model it should fit (`--against`).
        timm: whether the installed timm should be asked too, which imports it (`--ask-timm`).
    """

    rows: int | None = None
    pixels: tuple[int, int] | None = None
    other: Checkpoint | None = None
    timm: bool = False


@dataclass(frozen=True)
class Case:
    """One file, read as far as it can be.

    Attributes:
        checkpoint: what was opened.
        expected: what it should fit.
        readings: of every table of rows that it holds.
        ranked: the same one by one, measured by their values.
        tables: its embeddings.
        supposed: the reading by which they were extracted, where nothing in the file picks one.
        refusal: why extraction could not read it; empty where it could.
        missing: the error where it holds no embedding.
    """

    checkpoint: Checkpoint
    expected: Expected
    readings: tuple[Readings, ...]
    ranked: tuple[Ranked, ...]
    tables: tuple[PositionEmbedding, ...] = ()
    supposed: Ranked | None = None
    refusal: str = ""
    missing: NoPositionEmbedding | None = field(default=None, repr=False)

    @property
    def as_examined(self) -> Checkpoint:
        """The checkpoint as it is opened where the user states the reading that was supposed."""
        return (
            self.checkpoint
            if self.supposed is None
            else _as_if_stated(self.checkpoint, self.supposed)
        )

    @property
    def tables_of_rows(self) -> tuple[Readings, ...]:
        """The readings of every table; of one that nothing divides, the only likeliest is taken."""
        best = self.supposed
        is_only = best is not None and not best.table.is_ambiguous
        return tuple(
            replace(each, taken=best.reading) if is_only and best and each is best.table else each
            for each in self.readings
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What the examination rests on, in words."""
        if self.missing is not None:
            return (str(self.missing),)
        if self.supposed is None or self.refusal:
            return ()
        return (f"examined as {self.supposed.reading}, the likeliest reading",)


def opened(checkpoint: Checkpoint, expected: Expected) -> Case:
    """Extract; where that is ambiguous, go on with the likeliest reading."""
    readings = file_readings(checkpoint)
    case = Case(checkpoint, expected, readings, ranked(checkpoint, readings))
    try:
        tables = extract(checkpoint, with_sha256=False)
        readings = as_read(readings, tables)
        own = ranked(checkpoint, readings)
        return replace(case, tables=tables, readings=readings, ranked=own)
    except NoPositionEmbedding as error:
        return replace(case, missing=error)
    except AmbiguousCheckpoint as error:
        return _supposing(case, str(error))


def _supposing(case: Case, refusal: str) -> Case:
    supposed = _likeliest(case.ranked)
    if supposed is None:
        return replace(case, refusal=refusal)
    try:
        tables = extract(_as_if_stated(case.checkpoint, supposed), with_sha256=False)
    except AmbiguousCheckpoint as error:
        return replace(case, supposed=supposed, refusal=str(error))
    return replace(case, supposed=supposed, tables=tables)


def _likeliest(readings: Sequence[Ranked]) -> Ranked | None:
    """Return the first reading of the first table of which none is taken."""
    return next((each for each in readings if each.table.taken is None), None)


def _as_if_stated(checkpoint: Checkpoint, supposed: Ranked) -> Checkpoint:
    """Return the checkpoint as it is opened where the user states a reading."""
    origins = {name: f"--{name.replace('_', '-')}" for name in ("grid_size", "num_prefix_tokens")}
    hints = replace(
        checkpoint.hints,
        grid_size=supposed.reading.grid_size,
        num_prefix_tokens=None if supposed.table.is_bias else supposed.reading.num_prefix_rows,
        origins={**checkpoint.hints.origins, **origins},
    )
    return replace(checkpoint, hints=hints)
