"""`pe-inspect recipes`: what can be trained, and named without a file."""

from __future__ import annotations

from typing import Annotated

import typer

from pe_inspect.commands.shell import MAKE, command
from pe_inspect.commands.shell.explaining import OF_RECIPES, explained
from pe_inspect.commands.shell.options import Terminal
from pe_inspect.commands.shell.recipes_text import recipe_lines
from pe_inspect.commands.shell.terminal import write_json, write_lines

_Name = Annotated[
    str | None,
    typer.Argument(metavar="[NAME]", help="Only those: schh, 'zoo-*-lape', …", show_default=False),
]
_Data = Annotated[
    str | None,
    typer.Option("--data", metavar="NAME", help="Only those on that dataset.", show_default=False),
]
_Scheme = Annotated[
    str | None,
    typer.Option("--scheme", metavar="NAME", help="Only those of that scheme.", show_default=False),
]
_Join = Annotated[
    str | None,
    typer.Option("--join", metavar="NAME", help="Only those of that join.", show_default=False),
]


@command("recipes", panel=MAKE)
def recipes(
    terminal: Terminal,
    name: _Name = None,
    data: _Data = None,
    scheme: _Scheme = None,
    join: _Join = None,
) -> None:
    """What can be trained, and named in the place of a file."""
    from pe_inspect.training.listing import listed

    described = listed(name, data=data, scheme=scheme, join=join)
    if terminal.json:
        write_json({"recipes": described})
        return
    if terminal.quiet:
        lines = [each["name"] for each in described]
    else:
        lines = recipe_lines(described, overview=not any((name, data, scheme, join)))
    write_lines(explained(lines, OF_RECIPES) if terminal.explain else lines)
