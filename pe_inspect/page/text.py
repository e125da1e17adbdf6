"""How strings and numbers of unknown origin are written on a page."""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Any, Final

from pe_inspect.page.content import Cell

__all__ = ["anchor", "grouped", "number", "visible"]

_UNSEEN: Final = {"Cc", "Cf", "Cn", "Cs", "Zl", "Zp"}
_SIGNIFICANT: Final = 4


def visible(value: Any) -> Any:
    r"""Write characters that hide, reorder or break text as escapes: U+202E becomes `\u202e`.

    Nulls, controls, bidirectional overrides, zero-width characters and lone surrogates (a file
    name that is not UTF-8 holds those) are shown; all else, and anything that is no plain string,
    is returned as it is.
    """
    if not isinstance(value, str) or hasattr(value, "__html__") or value.isprintable():
        return value
    return "".join(_shown(character) for character in value)


def _shown(character: str) -> str:
    if character in "\n\t" or unicodedata.category(character) not in _UNSEEN:
        return character
    return character.encode("unicode_escape").decode("ascii")


def number(value: Cell) -> str:
    """Write a table's cell: floats with four significant digits and a true minus.

    What is missing is a dash. The page keeps the plain number beside it, for copies and files.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float):
        return f"{value:.{_SIGNIFICANT}g}".replace("-", "−")
    return str(value)


def grouped(value: Cell) -> str:
    """Write a number as prose does: 42,432, and 0.814 with three significant digits."""
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.3g}".replace("-", "−")
    return f"{value:,}" if isinstance(value, int) else number(value)


def anchor(*parts: str) -> str:
    """Return an id that is safe in a link: lower-case letters, digits and single hyphens."""
    plain = re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower())
    return plain.strip("-")
