"""Is a checkpoint healthy, and why does it not fit? Every check of `checks`, on one subject."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from pe_inspect.diagnosis.case import Case, Expected, opened
from pe_inspect.diagnosis.checks import checks, checks_of
from pe_inspect.diagnosis.diagnosis import Diagnosis
from pe_inspect.diagnosis.observations import measured, observed
from pe_inspect.errors import UsageError
from pe_inspect.finding import Finding
from pe_inspect.kinds.frames import row_of_frames
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.loading.checkpoint import Checkpoint
from pe_inspect.registry import did_you_mean

__all__ = ["checked_codes", "doctor", "doctor_by_table"]


def doctor(
    subject: Checkpoint | PositionEmbedding,
    *,
    expect: int | None = None,
    expect_res: int | tuple[int, int] | None = None,
    against: Checkpoint | None = None,
    ask_timm: bool = False,
    allow: Collection[str] = (),
) -> Diagnosis:
    """Run every check on a checkpoint, or those of arrays on one embedding.

    Args:
        subject: what `pe_inspect.load` or `pe_inspect.extract` returned.
        expect: the rows that a model expects of the table.
        expect_res: the image size that a model is built for, in pixels: R or (height, width).
        against: a checkpoint whose model it should fit.
        ask_timm: also have the installed timm resample a table, which imports it.
        allow: codes of findings that are known and accepted.

    Returns:
        A diagnosis without findings where the subject is healthy.

    Raises:
        NoPositionEmbedding: the file holds none, and nothing else is wrong with it.
        UsageError: something is expected that cannot be counted, or of an embedding alone; or no
            check has a finding that is allowed.
    """
    accepted = checked_codes(allow)
    pixels = (expect_res, expect_res) if isinstance(expect_res, int) else expect_res
    expected = Expected(expect, pixels, against, ask_timm)
    if isinstance(subject, Checkpoint):
        return _of_file(subject, expected).without(accepted)
    if expected != Expected():
        raise UsageError(
            "doctor compares files with what is expected of them, and was given an embedding "
            "alone. Hand in the checkpoint: pe_inspect.load(…)."
        )
    return _of_table(subject).without(accepted)


def doctor_by_table(
    checkpoint: Checkpoint, tables: Sequence[PositionEmbedding]
) -> Iterator[Diagnosis]:
    """Yield one diagnosis an embedding; the findings of the file are among those of each."""
    of_file = _found_in_file(checkpoint)
    names = _names("file")
    for pe in tables:
        own = _of_table(pe)
        findings = _each_once([*of_file, *own.findings])
        yield replace(own, findings=findings, checks=(*names, *own.checks))


def checked_codes(given: Collection[str]) -> frozenset[str]:
    """Return the codes of findings that are accepted.

    Raises:
        UsageError: no check has such a finding.
    """
    known = sorted({code for check in checks.values() for code in check.codes})
    codes = [given] if isinstance(given, str) else given
    for word in codes:
        if word not in known:
            raise UsageError(did_you_mean("finding", word, known))
    return frozenset(codes)


def _of_table(pe: PositionEmbedding) -> Diagnosis:
    pe = row_of_frames(pe, "doctor")
    found = tuple(_found_in_table(pe))
    return Diagnosis(found, _names("embedding"), observed(pe), (pe,), (), measured(pe))


def _of_file(checkpoint: Checkpoint, expected: Expected) -> Diagnosis:
    of_file = _found_in_file(checkpoint)
    case = opened(checkpoint, expected)
    if case.missing is not None and not of_file:
        raise case.missing
    tables = case.tables
    case = replace(case, tables=tuple(row_of_frames(pe, "doctor") for pe in tables))
    return Diagnosis(
        _each_once([*_found_in_case(case), *of_file, *_found_in_tables(case)]),
        (*_asked_of_case(expected), *_names("file"), *_names("embedding")),
        tuple(dict.fromkeys([*case.notes, *(each for pe in case.tables for each in observed(pe))])),
        tables,
        case.ranked,
        {name: value for pe in reversed(case.tables) for name, value in measured(pe).items()},
    )


def _names(sort: str) -> tuple[str, ...]:
    return tuple(check.name for check in checks.values() if check.sort == sort)


def _asked_of_case(expected: Expected) -> Iterator[str]:
    return (check.name for check in checks_of("case") if check.is_asked(expected))


def _found_in_file(checkpoint: Checkpoint) -> list[Finding]:
    return [finding for check in checks_of("file") for finding in check(checkpoint)]


def _found_in_table(pe: PositionEmbedding) -> Iterator[Finding]:
    return (finding for check in checks_of("embedding") for finding in check(pe))


def _found_in_tables(case: Case) -> Iterator[Finding]:
    return (finding for pe in case.tables for finding in _found_in_table(pe))


def _found_in_case(case: Case) -> Iterator[Finding]:
    return (finding for check in checks_of("case") for finding in check(case))


def _each_once(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Leave out what two embeddings of one file share: their norms."""
    return tuple({(f.code, f.where, f.message): f for f in findings}.values())
