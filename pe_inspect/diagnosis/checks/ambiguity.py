"""Files that are read in several ways, and files that contradict themselves."""

from __future__ import annotations

from collections.abc import Iterator

from pe_inspect.diagnosis.case import Case
from pe_inspect.diagnosis.checks import on_case
from pe_inspect.diagnosis.ranked import Ranked
from pe_inspect.finding import Finding

__all__ = ["ambiguity"]

MOST_READINGS = 4


@on_case("ambiguity", codes=("ambiguous", "ambiguous-grid", "grid-not-stated"))
def ambiguity(case: Case) -> Iterator[Finding]:
    """Tables whose rows nothing divides, and all else that no command can read."""
    if case.supposed is not None:
        yield _undivided(case, case.supposed)
    if case.refusal:
        yield _unreadable(case)


def _undivided(case: Case, best: Ranked) -> Finding:
    table, reading, tied = best.table, best.reading, best.table.is_ambiguous
    readings = [str(each) for each in case.ranked if each.table is table]
    more = "; …" if len(readings) > MOST_READINGS else ""
    return Finding(
        "ambiguous-grid" if tied else "grid-not-stated",
        table.key,
        f"{table.key} has {table.rows} rows: {'; '.join(readings[:MOST_READINGS])}{more}.",
        "Several readings fit, and nothing in the file picks one; neighbours correlate most on "
        "the true grid."
        if tied
        else "One reading is square, but nothing in the file names its prefix tokens: the other "
        "commands ask before they take it.",
        f"pe-inspect info {case.checkpoint.source} {_options(best)}",
        {
            "rows": table.rows,
            "readings": len(readings),
            "likeliest_grid_size": list(reading.grid_size),
            "likeliest_num_prefix_rows": reading.num_prefix_rows,
            "neighbour_correlation": best.smoothness,
        },
        runs_in="shell",
    )


def _options(best: Ranked) -> str:
    """Return the options that state a reading."""
    grid = "x".join(map(str, best.reading.grid_size))
    prefix = f" --num-prefix-tokens {best.reading.num_prefix_rows}"
    return f"--grid-size {grid}{'' if best.table.is_bias else prefix}"


def _unreadable(case: Case) -> Finding:
    return Finding(
        "ambiguous",
        case.checkpoint.source,
        case.refusal,
        "No command can read the file as it is.",
        "See the message: it names what is missing, or the option that contradicts the file.",
        {},
        "error",
    )
