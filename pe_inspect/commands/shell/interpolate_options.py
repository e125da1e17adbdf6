"""How an embedding is brought to another grid, as it is typed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from pe_inspect.errors import UsageError

__all__ = ["ResamplingOptions"]

_SHOW: Final = "What to show"
_FILES: Final = "Files"


def _option(name: str, panel: str, metavar: str, help: str) -> Any:
    return typer.Option(name, metavar=metavar, help=help, show_default=False, rich_help_panel=panel)


@dataclass(frozen=True)
class ResamplingOptions:
    """By which method, and what is written of it."""

    method: Annotated[
        str,
        _option(
            "--method",
            _SHOW,
            "NAME",
            "One, several with commas, or all; `list` prints what each does (default: native).",
        ),
    ] = "native"
    matrix: Annotated[
        bool,
        _option(
            "--matrix",
            _FILES,
            "",
            "Write the matrices of rows and columns, W_h and W_w, of every separable method.",
        ),
    ] = False
    write: Annotated[
        Path | None,
        _option(
            "--write",
            _FILES,
            "FILE",
            "Write the checkpoint itself at this resolution: its own format and names, tables, "
            "index buffers and config.json resampled, all else byte by byte. Of a folder, a "
            "folder.",
        ),
    ] = None
    renormalise: Annotated[
        bool,
        _option(
            "--renormalise",
            _FILES,
            "",
            "With --write: give new rows the lengths that the old ones have, by rank.",
        ),
    ] = False

    def check(self, size: object) -> None:
        """Stop where a size is missing, or the file that an option is about.

        Raises:
            UsageError: with what to pass.
        """
        if not size:
            raise UsageError("To which size? Pass --res 384 (pixels) or --grid 24x24 (patches).")
        if self.renormalise and self.write is None:
            raise UsageError(
                "--renormalise is about the file that --write makes. Pass --write FILE."
            )
