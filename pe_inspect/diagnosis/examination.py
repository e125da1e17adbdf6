"""The doctor's rounds: the file's checks, the readings of its tables, the embeddings' checks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import isnan
from typing import TYPE_CHECKING, Any, Final, get_args

from pe_inspect.errors import AmbiguousCheckpoint, NoPositionEmbedding, UsageError
from pe_inspect.finding import Finding
from pe_inspect.registry import did_you_mean

if TYPE_CHECKING:
    from pe_inspect.diagnosis.readings import Reading, Readings
    from pe_inspect.kinds.position_embedding import PositionEmbedding
    from pe_inspect.loading import Checkpoint

__all__ = ["Examination", "Expected", "Ranked", "allowed_codes", "examine"]


@dataclass(frozen=True)
class Expected:
    """What the user expects of a checkpoint.

    Attributes:
        rows: of its table (`--expect`).
        pixels: of the images (`--expect-res`).
        other: a checkpoint whose model it should fit (`--against`).
    """

    rows: int | None = None
    pixels: tuple[int, int] | None = None
    other: Checkpoint | None = None


@dataclass(frozen=True)
class Ranked:
    """One reading of a table, with what its values say of it.

    Attributes:
        table: all readings of the table.
        reading: this one.
        smoothness: how alike neighbours are on its grid (Moran's I); `None` where not computed.
    """

    table: Readings
    reading: Reading
    smoothness: float | None

    @property
    def is_taken(self) -> bool:
        """Whether every command reads the table so."""
        return self.reading is self.table.taken

    def as_dict(self) -> dict[str, Any]:
        """Return the reading as one JSON object."""
        return {
            "key": self.table.key,
            "rows": self.table.rows,
            "grid_size": list(self.reading.grid_size),
            "num_prefix_rows": self.reading.num_prefix_rows,
            "taken": self.is_taken,
            "why": self.reading.because,
            "neighbour_correlation": self.smoothness,
        }


@dataclass(frozen=True)
class Examination:
    """What the doctor found.

    Attributes:
        findings: what is wrong.
        readings: of every table, the likeliest first.
        tables: the embeddings, where the file could be read.
        notes: what is true and harmless.
        checks: the names of the checks that ran.
    """

    findings: tuple[Finding, ...]
    readings: tuple[Ranked, ...]
    tables: tuple[PositionEmbedding, ...]
    notes: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()


def examine(checkpoint: Checkpoint, expected: Expected, *, ask_timm: bool = False) -> Examination:
    """Run every check on a checkpoint.

    Args:
        checkpoint: what was opened.
        expected: what it should fit.
        ask_timm: also have the installed timm resample a table, which imports it.

    Raises:
        NoPositionEmbedding: it holds none, and nothing else is wrong with the file.
        UsageError: something is expected of it that cannot be counted.
    """
    from pe_inspect.diagnosis.checks import checks
    from pe_inspect.diagnosis.diagnosis import doctor
    from pe_inspect.diagnosis.file_checks import file_checks
    from pe_inspect.diagnosis.readings import file_readings

    found = [finding for check in file_checks.values() for finding in check(checkpoint)]
    found += _asked_of_timm() if ask_timm else []
    read = file_readings(checkpoint)
    ranked = tuple(each for table in read for each in _ranked(checkpoint, table))
    tables, unread, notes = _embeddings(checkpoint, ranked, found)
    diagnoses = [doctor(pe) for pe in tables]
    unfit = _unfit(checkpoint, expected, read, tables)
    seen = [*unread, *unfit, *found, *(f for each in diagnoses for f in each.findings)]
    said = [*notes, *(note for each in diagnoses for note in each.notes)]
    return Examination(
        _once(seen), ranked, tables, tuple(dict.fromkeys(said)), (*file_checks, *checks)
    )


def allowed_codes(given: Sequence[str]) -> frozenset[str]:
    """Return the codes of findings that the user accepts.

    Raises:
        UsageError: no check has such a finding.
    """
    from pe_inspect.diagnosis.checks import checks
    from pe_inspect.diagnosis.file_checks import file_checks

    for word in given:
        known = sorted({*checks, *file_checks, *CODES})
        if word not in known:
            raise UsageError(did_you_mean("finding", word, known))
    return frozenset(given)


# Of findings that are not called as the check is that makes them.
CODES: Final = (
    "ambiguous", "ambiguous-grid", "axis-order", "grid-not-stated", "mismatch-name",
    "mismatch-norms", "mismatch-rows", "mismatch-scheme", "mismatch-width", "other-grid",
    "scrambled",
)  # fmt: skip


def _asked_of_timm() -> list[Finding]:
    from pe_inspect.diagnosis.file_checks.resampler import broken_resampler

    return list(broken_resampler())


def _once(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Leave out what two embeddings of one file share: their norms."""
    return tuple({(f.code, f.where, f.message): f for f in findings}.values())


def _ranked(checkpoint: Checkpoint, found: Readings) -> list[Ranked]:
    """Measure every reading; where none is taken, order those of one standing by their values."""
    from pe_inspect.diagnosis.diagnosis import smoothness
    from pe_inspect.diagnosis.held_tables import trunk_of
    from pe_inspect.diagnosis.readings import Standing

    divisions = [(each.num_prefix_rows, each.grid_size) for each in found.all]
    if found.table is None:
        return [Ranked(found, each, None) for each in found.all]
    alike = smoothness(found.table.read(trunk_of(checkpoint)), divisions)
    ranked = [
        Ranked(found, each, None if isnan(near) else near) for each, near in zip(found.all, alike)
    ]
    if found.taken is None:
        places = get_args(Standing)
        ranked.sort(key=lambda r: (places.index(r.reading.standing), -(r.smoothness or 0.0)))
    return ranked


def _embeddings(
    checkpoint: Checkpoint, ranked: Sequence[Ranked], found: Sequence[Finding]
) -> tuple[tuple[PositionEmbedding, ...], list[Finding], list[str]]:
    """Extract; where that is ambiguous, say so, and go on with the likeliest reading."""
    from pe_inspect.families import extract

    try:
        return extract(checkpoint, with_sha256=False), [], []
    except NoPositionEmbedding as error:
        if not found:
            raise
        return (), [], [str(error)]
    except AmbiguousCheckpoint as error:
        return _supposing(checkpoint, ranked, str(error))


def _supposing(
    checkpoint: Checkpoint, ranked: Sequence[Ranked], said: str
) -> tuple[tuple[PositionEmbedding, ...], list[Finding], list[str]]:
    from pe_inspect.families import extract

    open_tables = [each for each in ranked if each.table.taken is None]
    if not open_tables:
        return (), [_ambiguous(checkpoint, said)], []
    best = open_tables[0]
    finding = _no_grid(checkpoint, best, [r for r in ranked if r.table is best.table])
    origins = {name: f"--{name.replace('_', '-')}" for name in ("grid_size", "num_prefix_tokens")}
    hints = replace(
        checkpoint.hints,
        grid_size=best.reading.grid_size,
        num_prefix_tokens=None if best.table.is_bias else best.reading.num_prefix_rows,
        origins={**checkpoint.hints.origins, **origins},
    )
    try:
        tables = extract(replace(checkpoint, hints=hints), with_sha256=False)
    except AmbiguousCheckpoint as error:
        return (), [finding, _ambiguous(checkpoint, str(error))], []
    return tables, [finding], [f"examined as {best.reading}, the likeliest reading"]


def _no_grid(checkpoint: Checkpoint, best: Ranked, ranked: Sequence[Ranked]) -> Finding:
    """Return the finding of a table that nothing divides."""
    table, reading = best.table, best.reading
    tied = table.is_ambiguous
    shown = "; ".join(map(_described, ranked[:4])) + ("; …" if len(ranked) > 4 else "")
    grid = "x".join(map(str, reading.grid_size))
    options = f"--grid-size {grid}" + (
        "" if table.is_bias else f" --num-prefix-tokens {reading.num_prefix_rows}"
    )
    return Finding(
        "ambiguous-grid" if tied else "grid-not-stated",
        table.key,
        f"{table.key} has {table.rows} rows: {shown}.",
        "Several readings fit, and nothing in the file picks one; neighbours correlate most on "
        "the true grid."
        if tied
        else "One reading is square, but nothing in the file names its prefix tokens: the other "
        "commands ask before they take it.",
        f"pe-inspect info {checkpoint.source} {options}",
        {
            "rows": table.rows,
            "readings": len(ranked),
            "likeliest_grid_size": list(reading.grid_size),
            "likeliest_num_prefix_rows": reading.num_prefix_rows,
            "neighbour_correlation": best.smoothness,
        },
    )


def _described(ranked: Ranked) -> str:
    if ranked.smoothness is None:
        return str(ranked.reading)
    return f"{ranked.reading} (neighbours correlate {ranked.smoothness:.2f})"


def _ambiguous(checkpoint: Checkpoint, said: str) -> Finding:
    return Finding(
        "ambiguous",
        checkpoint.source,
        said,
        "No command can read the file as it is.",
        "See the message: it names what is missing, or the option that contradicts the file.",
        {},
        "error",
    )


def _unfit(
    checkpoint: Checkpoint,
    expected: Expected,
    read: tuple[Readings, ...],
    tables: tuple[PositionEmbedding, ...],
) -> Iterator[Finding]:
    from pe_inspect.diagnosis.expectation import expected_resolution, expected_rows

    if expected.rows is not None:
        yield from expected_rows(checkpoint, read, expected.rows)
    if expected.pixels is not None:
        yield from expected_resolution(checkpoint, read, expected.pixels)
    if expected.other is not None:
        yield from _against(checkpoint, tables, expected.other)


def _against(
    checkpoint: Checkpoint, tables: tuple[PositionEmbedding, ...], other: Checkpoint
) -> Iterator[Finding]:
    from pe_inspect.diagnosis.against import differences
    from pe_inspect.families import extract

    try:
        theirs = extract(other, with_sha256=False)
    except (NoPositionEmbedding, AmbiguousCheckpoint):
        theirs = ()
    yield from differences(checkpoint, tables, other, theirs)
