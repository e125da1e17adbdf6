"""The program around the commands, which are discovered: the name of a file is its command's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from pe_inspect.registry import Registry

__all__ = ["ANSWERS", "LOOK", "MAKE", "QUESTIONS", "Command", "command", "commands"]

LOOK: Final = "Look"
QUESTIONS: Final = "Ask"
ANSWERS: Final = "Report"
MAKE: Final = "Train"


@dataclass(frozen=True)
class Command:
    """A function of the command line.

    Attributes:
        function: what is called.
        panel: of `--help`, in which it is listed.
        needs: the libraries of extras without which it cannot answer.
    """

    function: Callable[..., Any]
    panel: str
    needs: tuple[str, ...] = ()


commands: Registry[Command] = Registry("command", "pe_inspect.commands", helpers=("shell",))


def command(
    name: str, panel: str, needs: tuple[str, ...] = ()
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that enters a function as `pe-inspect NAME`.

    Args:
        name: of the command.
        panel: of `--help`.
        needs: libraries of extras; where one is missing, that is said before anything is done.
    """

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        commands.register(name)(Command(function, panel, needs))
        return function

    return enter
