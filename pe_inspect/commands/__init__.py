"""The command line: one file per command, which parses, makes one library call, prints, writes.

The folder is discovered: a new command is one new file that registers a function.

    @command("similarity", panel=QUESTIONS)
    def similarity(source: Source, output: Output, terminal: Terminal) -> None:
        \"\"\"How alike are positions, in every layer.\"\"\"

What the options are called and mean is defined once, in `_options.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from pe_inspect.registry import Registry

__all__ = ["ANSWERS", "LOOK", "MAKE", "QUESTIONS", "Command", "command", "commands", "main"]

LOOK: Final = "Look"
QUESTIONS: Final = "Ask"
ANSWERS: Final = "Report"
MAKE: Final = "Train"


@dataclass(frozen=True)
class Command:
    """A function of the command line, and the panel of `--help` in which it is listed."""

    function: Callable[..., Any]
    panel: str


commands: Registry[Command] = Registry("command", "pe_inspect.commands", helpers=("shell",))


def command(name: str, panel: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that enters a function as `pe-inspect NAME`."""

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        commands.register(name)(Command(function, panel))
        return function

    return enter


def main() -> None:
    """Run `pe-inspect` on the process's arguments, and exit with its code."""
    try:
        from pe_inspect.commands.shell.program import program

        run = program()
    except KeyboardInterrupt:  # while the commands are imported: nobody else would catch it
        sys.exit(130)
    except ModuleNotFoundError as error:  # a checkout, and a Python that has only itself
        sys.exit(_without(error))
    run(prog_name="pe-inspect")


def _without(error: ModuleNotFoundError) -> int:
    """Say which package this Python lacks, and return the exit code."""
    sys.stderr.write(
        f"Error: pe-inspect needs the package {error.name}, which {sys.executable} does not have. "
        "`pip install .` in the checkout installs all that it needs.\n"
    )
    return 2
