"""How a result shows itself in a notebook: its numbers as a small table, nothing drawn.

A figure takes a second and belongs to another room: `pe_inspect.figure(result)` in a cell draws it.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["Shown"]

MOST_NOTES: Final = 8
DRAWN: Final = "<p><small><code>pe_inspect.figure(result)</code> draws it.</small></p>"
LONGEST: Final = 300  # letters of a note or a name
_TABLE: Final = '<table style="font-variant-numeric: tabular-nums">'


class Shown:
    """A mixin of results: IPython and Jupyter call `_repr_html_`.

    Attributes:
        is_drawn: whether the question has a figure.
        definitions: what the numbers of the question are.
    """

    is_drawn: ClassVar[bool] = True
    definitions: ClassVar[Mapping[str, str]] = {}

    def defined(self) -> dict[str, str]:
        """Return the definition of every number of `summary()` that has one, by its name."""
        result: Any = self
        return {
            name: self.definitions[name] for name in result.summary() if name in self.definitions
        }

    def to_xarray(self) -> Dataset:
        """Return the rows as an xarray `Dataset`: words are coordinates, numbers are variables.

        Where the rows are those of layers, the dimension is `layer`; else `row`.

        Raises:
            MissingLibrary: xarray is not installed.
        """
        from pe_inspect.extras import needed

        result: Any = self
        frame = result.to_frame()
        by_layer = "layer" in frame and frame["layer"].is_unique
        indexed = frame.set_index("layer") if by_layer else frame.rename_axis("row")
        with needed("to_xarray"):
            found: Dataset = indexed.to_xarray()
        return found.set_coords(list(indexed.select_dtypes(exclude=["number", "bool"])))

    def _repr_html_(self) -> str:
        """Return the summary and the notes as HTML; every text in it is escaped."""
        result: Any = self
        name, form = _escaped(result.question), _escaped(repr(result))
        heading = f"<p><strong>{name}</strong> · <code>{form}</code></p>"
        drawn = DRAWN if self.is_drawn else ""
        return f"<div>{heading}{_table(result.summary())}{_listed(_told(result))}{drawn}</div>"


def _told(result: Any) -> list[str]:
    """What is to be said in words: the doctor's findings, and every note."""
    found: Iterable[Any] = getattr(result, "findings", ())
    return [*(f"{one.severity} {one.code}: {one.message}" for one in found), *result.notes]


def _table(numbers: Mapping[str, float]) -> str:
    rows = (
        f'<tr><th scope="row" style="text-align: left">{_escaped(name)}</th>'
        f'<td style="text-align: right">{_escaped(_number(value))}</td></tr>'
        for name, value in numbers.items()
    )
    return f"{_TABLE}<tbody>{''.join(rows)}</tbody></table>"


def _listed(notes: Iterable[str]) -> str:
    shown = list(notes)
    more = f"<li>… and {len(shown) - MOST_NOTES} more</li>" if len(shown) > MOST_NOTES else ""
    items = "".join(f"<li>{_escaped(note)}</li>" for note in shown[:MOST_NOTES])
    return f"<ul>{items}{more}</ul>" if shown else ""


def _number(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    if math.isnan(value):
        return "–"
    return f"{value:,.0f}" if value.is_integer() else f"{value:.4g}"


def _escaped(text: str) -> str:
    """Escape markup, and write characters that hide or reorder text as what they are."""
    cut = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
    return html.escape(plain)
