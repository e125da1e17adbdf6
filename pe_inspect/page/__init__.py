"""Embeddings and results → dataclasses → one self-contained page.

    import pe_inspect as pei

    pei.report(pei.extract(pei.load("ckpt.pth"))).save("report.html")

`pe_inspect.report` is the function `report` of this package.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from pe_inspect.errors import UsageError
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.page.content import (
    Chapter,
    Definition,
    Entry,
    Fact,
    Health,
    Omission,
    Picture,
    Section,
    Table,
)
from pe_inspect.page.report_page import Report

__all__ = [
    "Chapter",
    "Definition",
    "Entry",
    "Fact",
    "Health",
    "Omission",
    "Picture",
    "Report",
    "Section",
    "Table",
    "report",
]

MB: Final = 1_000_000
LEAST_MB: Final = 0.1


def report(
    subjects: Iterable[Any] | PositionEmbedding,
    *,
    title: str | None = None,
    command: str = "",
    now: datetime | str | None = None,
    labels: Sequence[str] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    max_mb: float = 10,
    dpi: int | None = None,
) -> Report:
    """Return the page of one or several position embeddings: `.save("report.html")` writes it.

    Every section that applies is asked of every embedding; the page says why the others do not.
    Finished results are shown as they are; those of an embedding that is handed in too are used
    instead of asking again. The same arguments give the same bytes.

    Args:
        subjects: position embeddings, results of questions, or both.
        title: the heading; by default it names the embeddings.
        command: the command line that makes the page, for its provenance.
        now: the date to print; none is printed without it.
        labels: a short name each; by default file names, with as much around them as is needed
            to tell them apart.
        options: question → keyword arguments, e.g. `{"interpolate": {"res": 384}}`.
        max_mb: the page's size, at most, in units of 10⁶ bytes: a larger one has fewer maps to
            explore, evenly spaced, and says so.
        dpi: dots an inch of the pictures; by default each has what it needs.

    Raises:
        UsageError: there is nothing to report on, something is neither embedding nor result, or
            no page is as small as `max_mb`.

    Example:
        >>> page = pe_inspect.page(tables, options={"interpolate": {"grid": (24, 24)}})
        >>> page.save("report.html")
    """
    from pe_inspect.page.build import built
    from pe_inspect.page.subjects import gathered
    from pe_inspect.page.words import made_with

    items = (subjects,) if isinstance(subjects, PositionEmbedding) else subjects
    if not max_mb >= LEAST_MB:
        raise UsageError(f"max_mb is {max_mb:g}; a page takes at least {LEAST_MB:g}.")
    found = gathered(items, labels, options or {}, dpi)
    page = built(found, title, made_with(command, now))
    return replace(page, max_bytes=round(max_mb * MB))
