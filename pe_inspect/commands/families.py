"""`pe-inspect families`: which schemes are known, and what each looks for."""

from __future__ import annotations

from pe_inspect.commands import LOOK, command
from pe_inspect.commands._options import Terminal
from pe_inspect.commands._terminal import write_json, write_line


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
            write_line(f"    {each['looks_for']}\n    e.g. {each['example']}")
