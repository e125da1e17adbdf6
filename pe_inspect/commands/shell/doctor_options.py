"""What a checkpoint should fit, as it is typed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer

from pe_inspect.commands.shell.parsing import pair, whole

__all__ = ["Expectation"]

_PANEL: Final = "What it should fit"


def _option(name: str, metavar: str, help: str, **more: Any) -> Any:
    return typer.Option(
        name, metavar=metavar, help=help, rich_help_panel=_PANEL, show_default=False, **more
    )


@dataclass(frozen=True)
class Expectation:
    """What the doctor compares a checkpoint with."""

    expect: Annotated[
        int | None,
        _option(
            "--expect",
            "ROWS",
            "The rows that your model expects: 197.",
            parser=whole("--expect", least=1),
        ),
    ] = None
    expect_res: Annotated[
        str | None,
        _option(
            "--expect-res",
            "R|HxW",
            "The image size that your model is built for, in pixels: 384.",
        ),
    ] = None
    against: Annotated[
        str | None,
        _option("--against", "OTHER", "A checkpoint whose model it should fit."),
    ] = None
    allow: Annotated[
        list[str] | None,
        _option(
            "--allow",
            "CODE",
            "A finding that is known and accepted. Can be given several times.",
        ),
    ] = None
    ask_timm: Annotated[
        bool,
        _option(
            "--ask-timm",
            "",
            "Also have the installed timm resample a table (imports it: seconds).",
        ),
    ] = False

    def __post_init__(self) -> None:
        self.pixels()

    def pixels(self) -> tuple[int, int] | None:
        """Return (H, W) of --expect-res."""
        return None if self.expect_res is None else pair("--expect-res", self.expect_res, one=True)
