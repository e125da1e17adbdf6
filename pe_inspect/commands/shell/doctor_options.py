"""What a checkpoint should fit, as it is typed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Final

from pe_inspect.commands.shell.parsing import pair, whole
from pe_inspect.commands.shell.typed_option import option

__all__ = ["Expectation"]

_option: Final = partial(option, panel="What it should fit")


@dataclass(frozen=True)
class Expectation:
    """What the doctor compares a checkpoint with."""

    expect: Annotated[
        int | None,
        _option(
            "--expect",
            metavar="ROWS",
            help="The rows that your model expects: 197.",
            parser=whole("--expect", least=1),
        ),
    ] = None
    expect_res: Annotated[
        str | None,
        _option(
            "--expect-res",
            metavar="R|HxW",
            help="The image size that your model is built for, in pixels: 384.",
        ),
    ] = None
    against: Annotated[
        str | None,
        _option("--against", metavar="OTHER", help="A checkpoint whose model it should fit."),
    ] = None
    allow: Annotated[
        list[str] | None,
        _option(
            "--allow",
            metavar="CODE",
            help="A finding that is known and accepted. Can be given several times.",
        ),
    ] = None
    ask_timm: Annotated[
        bool,
        _option(
            "--ask-timm",
            help="Also have the installed timm resample a table (imports it: seconds).",
        ),
    ] = False

    def __post_init__(self) -> None:
        self.pixels()
        if self.allow:
            from pe_inspect.diagnosis.doctor import checked_codes

            checked_codes(self.allow)

    def pixels(self) -> tuple[int, int] | None:
        """Return (H, W) of --expect-res."""
        return None if self.expect_res is None else pair("--expect-res", self.expect_res, one=True)

    def arguments(self) -> dict[str, Any]:
        """Return what `pe_inspect.doctor` is asked with, but for the other checkpoint."""
        return {
            "expect": self.expect,
            "expect_res": self.pixels(),
            "ask_timm": self.ask_timm,
            "allow": self.allow or (),
        }
