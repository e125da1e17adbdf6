"""Cells of tables that other programs open: text of a stranger's file is text there, too."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["as_cell"]


def as_cell(value: Any) -> Any:
    """Return a cell; text that a spreadsheet would run as a formula gets an apostrophe ahead.

    Numbers stay as they are, written as text too: `-0.5` is no formula.

    Source: OWASP, "CSV Injection".
    """
    is_formula = isinstance(value, str) and re.match(r"[=+\-@\t\r]", value) is not None
    return f"'{value}" if is_formula and not _is_number(value) else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
