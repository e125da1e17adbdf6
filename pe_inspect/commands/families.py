"""`pe-inspect families`: which schemes are known, and what each looks for."""

from __future__ import annotations

import shutil
from textwrap import wrap
from typing import Final

from pe_inspect.commands.shell import LOOK, command
from pe_inspect.commands.shell.options import Terminal
from pe_inspect.commands.shell.terminal import write_json, write_line

INDENT: Final = " " * 4
NARROWEST: Final = 40
WIDEST: Final = 100


@command("families", panel=LOOK)
def families(terminal: Terminal) -> None:
    """Which schemes are known, and what each looks for."""
    from pe_inspect.families import families as known

    described = [
        {"name": name, "looks_for": family.looks_for, "example": family.example}
        for name, family in sorted(known.items())
    ]
    if terminal.json:
        write_json({"families": described})
        return
    for each in described:
        write_line(each["name"])
        if not terminal.quiet:
            _write_wrapped(each["looks_for"])
            _write_wrapped(f"e.g. {each['example']}")
    if not terminal.quiet:
        write_line(f"\n{len(described)} schemes; --family NAME looks for one of them only.")


def _write_wrapped(text: str) -> None:
    """Write a paragraph as wide as the terminal; a tensor's name is never broken."""
    width = max(min(shutil.get_terminal_size((WIDEST, 24)).columns, WIDEST), NARROWEST)
    for line in wrap(text, width - len(INDENT), break_long_words=False, break_on_hyphens=False):
        write_line(INDENT + line)
