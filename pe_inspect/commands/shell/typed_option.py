"""How an option is declared: by its panel of `--help`, without a default that typer would show."""

from __future__ import annotations

from typing import Any

import typer

from pe_inspect.commands.shell.parsing import whole

__all__ = ["device_option", "option", "seed_option"]


def option(*names: str, panel: str, help: str, metavar: str = "", **more: Any) -> Any:
    """Return a typer option; one without a metavar is a flag, which shows no type."""
    return typer.Option(
        *names, help=help, metavar=metavar, rich_help_panel=panel, show_default=False, **more
    )


def seed_option(panel: str) -> Any:
    """Return `--seed`, which is 0 unless given."""
    text = "Of what is random (default: 0)."
    return option("--seed", panel=panel, metavar="N", help=text, parser=whole("--seed"))


def device_option(panel: str) -> Any:
    """Return `--device`, which is `auto` unless given."""
    text = "Where to compute (default: auto)."
    return option("--device", panel=panel, metavar="auto|cpu|cuda[:i]", help=text)
