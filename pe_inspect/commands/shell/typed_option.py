"""How an option is declared: by its panel of `--help`, without a default that typer would show."""

from __future__ import annotations

from typing import Any

import typer

__all__ = ["option"]


def option(*names: str, panel: str, help: str, metavar: str = "", **more: Any) -> Any:
    """Return a typer option; one without a metavar is a flag, which shows no type."""
    return typer.Option(
        *names, help=help, metavar=metavar, rich_help_panel=panel, show_default=False, **more
    )
