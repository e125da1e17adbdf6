"""What sections share: pictures, tables, parameters and facts of a result."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from pe_inspect.page.content import Cell, Fact, Picture, Table
from pe_inspect.page.pictures import picture

__all__ = ["defined", "parameters_of", "pictures", "table_of"]

_FEW: Final = 4


def pictures(
    result: Any,
    seen: str,
    *,
    first: Sequence[str] = (),
    headline: str = "",
    dpi: int | None = None,
    **options: Any,
) -> tuple[Picture, ...]:
    """Draw a result's figures for the page.

    Args:
        result: what a question answered with.
        seen: the finding: the text for readers who do not see the figures.
        first: file stems of the figures to begin with, in order.
        headline: the embedding's, which the page says once and captions need not repeat.
        dpi: dots an inch, where that was chosen.
        options: passed to the question's `draw`.
    """
    from pe_inspect.figures import drawings

    figures = drawings[result.question](result, **options)
    stems = dict.fromkeys([stem for stem in first if stem in figures] + list(figures))
    omit = f"{headline}." if headline else ""
    return tuple(picture(figures[stem], stem, alt=seen, omit=omit, dpi=dpi) for stem in stems)


def table_of(caption: str, rows: Iterable[Mapping[str, Any]], name: str = "") -> Table:
    """Return rows of one shape as a table; numpy's scalars become Python's.

    Args:
        caption: what is counted or measured.
        rows: column → value.
        name: the stem of the file that the page offers.
    """
    found = list(rows)
    columns = tuple(found[0]) if found else ()
    cells = tuple(tuple(_cell(row[column]) for column in columns) for row in found)
    return Table(caption, columns, cells, name)


def _cell(value: Any) -> Cell:
    plain: Cell = value.item() if hasattr(value, "item") else value
    return plain


def parameters_of(result: Any) -> tuple[tuple[str, str], ...]:
    """Return a result's parameters that were chosen, as text; long lists keep their ends."""
    chosen = ((name, value) for name, value in result.parameters.items() if value is not None)
    return tuple((name, _written(value)) for name, value in chosen)


def _written(value: Any) -> str:
    if not isinstance(value, (list, tuple)):
        return str(value)
    shown = [str(part) for part in value]
    if len(shown) > _FEW:
        return f"{shown[0]} … {shown[-1]} ({len(shown)})"
    return ",".join(shown)


def defined(*facts: Fact) -> tuple[Fact, ...]:
    """Return the facts that have a value: what could not be computed is left out."""
    values = ((fact, fact.value) for fact in facts)
    return tuple(fact for fact, x in values if not (isinstance(x, float) and math.isnan(x)))
