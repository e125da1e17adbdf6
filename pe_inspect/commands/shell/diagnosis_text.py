"""A diagnosis as lines of a terminal: findings as paragraphs, readings as two columns."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from itertools import groupby
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final

from pe_inspect.commands.shell.describe import aligned

if TYPE_CHECKING:
    from pe_inspect.diagnosis.diagnosis import Diagnosis
    from pe_inspect.diagnosis.ranked import Ranked
    from pe_inspect.finding import Finding

__all__ = ["diagnosis_object", "finding_lines", "mend_lines", "told_lines"]

MOST_READINGS: Final = 6
NARROWEST: Final = 40
WIDEST: Final = 96  # of a paragraph
ENDLESS: Final = 1000  # of what is no terminal
INDENT: Final = "  "
MEND: Final = "  → "
NO_BREAK: Final = "\N{NO-BREAK SPACE}"
# A command in a sentence: it is pasted whole.
COMMAND: Final = re.compile(r"`[^`]*`|pe-inspect [a-z]+( [^ ]*[./][^ ]*| --[^ ]+( [A-Z]\w*)?)*")


def told_lines(found: Diagnosis) -> list[str]:
    """Return the diagnosis in a sentence, every finding as a paragraph, and how tables are read."""
    paragraphs = [line for finding in found.findings for line in paragraph(finding)]
    readings = reading_lines(found.readings, found.findings)
    return ["", *_wrapped(found.finding), *paragraphs, *readings]


def finding_lines(found: Diagnosis) -> list[str]:
    """Return a line a finding: its code and what was seen."""
    return [f"{finding.code}: {finding.message}" for finding in found.findings]


def diagnosis_object(found: Diagnosis) -> dict[str, Any]:
    """Return what the JSON object holds of a diagnosis."""
    return {
        "healthy": found.healthy,
        "findings": [finding.as_dict() for finding in found.findings],
        "allowed": [finding.as_dict() for finding in found.allowed],
        "readings": [ranked.as_dict() for ranked in found.readings],
        "checks": list(found.checks),
    }


def reading_lines(ranked: Sequence[Ranked], findings: Sequence[Finding]) -> list[str]:
    """Return how every table is read; the other ways only where they matter.

    They do where none is taken, and where a finding is that another grid is more likely.
    """
    doubted = {each.where for each in findings if "smoothest_grid_size" in each.evidence}
    lines: list[str] = []
    for key, group in groupby(ranked, key=lambda each: each.table.key):
        each = list(group)
        is_sure = key not in doubted and any(one.is_taken for one in each)
        lines += _only_taken(each) if is_sure else _all_ways(each)
    return lines


def _only_taken(ranked: Sequence[Ranked]) -> list[str]:
    taken = next(each for each in ranked if each.is_taken)
    return ["", f"{taken.table.key}: {taken.table.rows} rows are read as", *_fitted([_row(taken)])]


def _all_ways(ranked: Sequence[Ranked]) -> list[str]:
    """Return the readings of one table, the likeliest first, the one that is taken marked."""
    table, shown = ranked[0].table, ranked[:MOST_READINGS]
    lines = ["", f"{table.key}: {table.rows} rows can be read as", *_fitted(list(map(_row, shown)))]
    if len(ranked) > MOST_READINGS:
        lines.append(f"  … and {len(ranked) - MOST_READINGS} more ways (--json lists them)")
    return lines


def _fitted(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Return two columns; where the terminal is narrower, the second below the first."""
    lines = aligned(rows)
    if max(map(len, lines)) <= _columns():
        return lines
    return [
        line
        for name, text in rows
        for line in (*_wrapped(name, INDENT), *_wrapped(text, 2 * INDENT))
    ]


def _row(ranked: Ranked) -> tuple[str, str]:
    taken = ["taken"] if ranked.is_taken else []
    alike = [] if ranked.smoothness is None else [f"neighbours correlate {ranked.smoothness:.2f}"]
    return str(ranked.reading), " · ".join([*taken, ranked.reading.because, *alike])


def paragraph(finding: Finding) -> list[str]:
    """Return a finding: what was seen, why it matters, what to do."""
    body = [*_wrapped(finding.message, INDENT), *_wrapped(finding.why, INDENT)]
    lines = finding.mend.splitlines()
    mend = [each for text in lines for each in mend_lines(text, is_run=bool(finding.runs_in))]
    return ["", f"{finding.code} ({finding.severity})", *body, *mend]


def mend_lines(text: str, *, is_run: bool) -> list[str]:
    """Return words in lines; what is to be pasted stays in one."""
    if is_run:
        return [MEND + text]
    return _wrapped(text, MEND, " " * len(MEND))


def _wrapped(text: str, first: str = "", others: str | None = None) -> list[str]:
    """Return a text in lines that fit the terminal; keys, paths and commands stay whole."""
    kept = COMMAND.sub(lambda command: command[0].replace(" ", NO_BREAK), text)
    lines = wrap(
        kept,
        min(_columns(), WIDEST),
        initial_indent=first,
        subsequent_indent=first if others is None else others,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(NO_BREAK, " ") for line in lines]


def _columns() -> int:
    return max(NARROWEST, shutil.get_terminal_size((ENDLESS, 24)).columns)
