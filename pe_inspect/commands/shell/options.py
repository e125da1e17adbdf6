"""Every option that several commands share, defined once. A command names the groups it takes.

A group checks itself when it is built, which is before any file is opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from pe_inspect.commands.shell.parsing import grid_sides, layers, pair, place, whole
from pe_inspect.commands.shell.source_options import Opening, Reading, Source
from pe_inspect.commands.shell.typed_option import option
from pe_inspect.errors import UsageError

__all__ = [
    "Asked",
    "AskedEach",
    "Data",
    "Drawing",
    "DrawingEach",
    "LayerShown",
    "Opening",
    "Output",
    "PlacesShown",
    "Query",
    "Reading",
    "Resize",
    "Selection",
    "Source",
    "Terminal",
]

FORMATS: Final = ("png", "svg", "pdf")

_WHAT = "What to show"
_FILES = "Files"
_TERMINAL = "Terminal"


@dataclass(frozen=True)
class Query:
    """Which patch every other one is compared with."""

    token: Annotated[
        str | None,
        option(
            "--token",
            panel=_WHAT,
            metavar="R,C",
            help="The query patch: its row and column, from 0 (T,R,C: in frame T). Left out: the "
            "middle one.",
        ),
    ] = None

    def __post_init__(self) -> None:
        self.query()

    def query(self) -> Any:
        """Return (row, column) of --token, or (frame, row, column), which similarity takes."""
        return None if self.token is None else place("--token", self.token)


@dataclass(frozen=True)
class LayerShown:
    """Which layers to show."""

    layer: Annotated[
        str | None,
        option(
            "--layer",
            panel=_WHAT,
            metavar="NAME[,NAME]",
            help="One layer or several: blocks.3, or 0,3,11. Left out: all of them.",
        ),
    ] = None

    def __post_init__(self) -> None:
        self.where()

    def where(self) -> int | str | tuple[int | str, ...] | None:
        """Return --layer: places, or names; one, or several."""
        return None if self.layer is None else layers("--layer", self.layer)


@dataclass(frozen=True)
class PlacesShown(LayerShown, Query):
    """Which layers and which query patch to show."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.query()


@dataclass(frozen=True)
class Selection(PlacesShown):
    """Which layer, head and query patch to show."""

    head: Annotated[
        int | None,
        option(
            "--head",
            panel=_WHAT,
            metavar="N",
            help="One head. Left out: the mean.",
            parser=whole("--head"),
        ),
    ] = None


@dataclass(frozen=True)
class Resize:
    """The grid to resample to."""

    res: Annotated[
        str | None,
        option(
            "--res",
            panel=_WHAT,
            metavar="R|HxW",
            help="The new image size, in pixels: 384, or 224x384.",
        ),
    ] = None
    grid: Annotated[
        str | None,
        option(
            "--grid", panel=_WHAT, metavar="N|HxW|TxHxW", help="The new grid in patches: 14x24."
        ),
    ] = None

    def __post_init__(self) -> None:
        self.arguments()
        if self.res is not None and self.grid is not None:
            raise UsageError(
                f"--res {self.res} and --grid {self.grid} were both given: "
                "pass --res in pixels or --grid in patches."
            )

    def arguments(self) -> dict[str, Any]:
        """Return what `interpolate` is asked with: only what was given."""
        found: dict[str, Any] = {}
        if self.res is not None:
            found["res"] = pair("--res", self.res, one=True)
        if self.grid is not None:
            found["grid"] = grid_sides("--grid", self.grid, one=True)
        return found


@dataclass(frozen=True)
class Drawing:
    """What figure files to make."""

    format: Annotated[
        str,
        option(
            "--format", panel=_FILES, metavar="png|svg|pdf", help="Figure files (default: png)."
        ),
    ] = "png"
    dpi: Annotated[
        int,
        option(
            "--dpi",
            panel=_FILES,
            metavar="N",
            help="Dots an inch (default: 150).",
            parser=whole("--dpi", least=10, most=1200),
        ),
    ] = 150
    no_figures: Annotated[
        bool, option("--no-figures", panel=_FILES, help="Write no figure files.")
    ] = False

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise UsageError(f"--format {self.format} is not one of {', '.join(FORMATS)}.")


@dataclass(frozen=True)
class DrawingEach(Drawing):
    """As `Drawing`, for the questions whose maps can each have a file of their own."""

    each: Annotated[
        bool, option("--each", panel=_FILES, help="Every map also in a file of its own.")
    ] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.each and self.no_figures:
            raise UsageError("--each and --no-figures contradict each other. Pass one of them.")


@dataclass(frozen=True)
class Output:
    """Where files go."""

    out: Annotated[
        Path | None,
        option(
            "--out",
            panel=_FILES,
            metavar="DIR",
            help="Where files go (default: reports/<checkpoint name>/).",
        ),
    ] = None
    force: Annotated[
        bool,
        option("--force", panel=_FILES, help="Overwrite files that pe-inspect did not make."),
    ] = False


@dataclass(frozen=True)
class Data:
    """Whether the numbers behind the figures are written."""

    save_data: Annotated[
        bool,
        option("--save-data", panel=_FILES, help="Write the arrays (.npz) and tables (.csv) too."),
    ] = False


@dataclass(frozen=True)
class Terminal:
    """What is printed."""

    json: Annotated[
        bool,
        option("--json", panel=_TERMINAL, help="One JSON object on stdout, nothing else there."),
    ] = False
    quiet: Annotated[
        bool, option("--quiet", "-q", panel=_TERMINAL, help="No progress, notes or tables.")
    ] = False
    debug: Annotated[
        bool, option("--debug", panel=_TERMINAL, help="Show the traceback of an error.")
    ] = False


@dataclass(frozen=True)
class Asked:
    """The groups that every question's command takes."""

    source: Source
    reading: Reading
    drawing: Drawing
    data: Data
    output: Output
    terminal: Terminal

    @classmethod
    def without_files(
        cls, source: Source, reading: Reading, terminal: Terminal, output: Output | None = None
    ) -> Asked:
        """Return the groups of a command that makes no figure files and saves no data."""
        place = Output() if output is None else output
        return cls(source, reading, Drawing(no_figures=True), Data(), place, terminal)


@dataclass(frozen=True)
class AskedEach(Asked):
    """As `Asked`, with `--each`."""

    drawing: DrawingEach
