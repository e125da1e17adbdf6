"""Every option that several commands share, defined once. A command names the groups it takes.

A group checks itself when it is built, which is before any file is opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from pe_inspect.commands.shell.parsing import (
    grid_sides,
    inches,
    layers,
    memory,
    pair,
    place,
    whole,
)
from pe_inspect.commands.shell.source_options import Opening, Reading, Source
from pe_inspect.commands.shell.typed_option import option
from pe_inspect.errors import UsageError

if TYPE_CHECKING:
    from pe_inspect.figures.layout.look import Look

__all__ = [
    "Asked",
    "AskedEach",
    "Data",
    "Drawing",
    "DrawingEach",
    "LayerShown",
    "Memory",
    "Opening",
    "Output",
    "Pictured",
    "PlacesShown",
    "Query",
    "Reading",
    "Resize",
    "Selection",
    "Source",
    "Terminal",
]

FORMATS: Final = ("png", "svg", "pdf")
TABLES: Final = ("csv", "md", "tex")
STYLES: Final = ("screen", "paper")

_WHAT = "What to show"
_FILES = "Files"
_TERMINAL = "Terminal"


@dataclass(frozen=True)
class Query:
    """Which patch every other one is compared with."""

    token: Annotated[
        list[str] | None,
        option(
            "--token",
            panel=_WHAT,
            metavar="R,C",
            help="The query patch: its row and column, from 0 (T,R,C: in frame T). Left out: the "
            "middle one.",
        ),
    ] = None

    def __post_init__(self) -> None:
        self.queries()

    def queries(self) -> list[tuple[int, ...]]:
        """Return (row, column), or (frame, row, column), of every --token."""
        return [place("--token", each) for each in self.token or ()]

    def query(self) -> Any:
        """Return (row, column), or (frame, row, column), of the only --token.

        Raises:
            UsageError: several were given.
        """
        found = self.queries()
        if len(found) > 1:
            raise UsageError(
                f"--token was given {len(found)} times; it takes one value here. "
                "`pe-inspect similarity` takes several."
            )
        return found[0] if found else None


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
        self.queries()


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
class Pictured:
    """Which of the pictures of maps, and how many maps in one."""

    tiles: Annotated[
        str | None,
        option(
            "--tiles",
            panel=_WHAT,
            metavar="HxW",
            help="Tiles of ViT's Figure 7: 7x7. Left out: every patch, or as many as fit.",
        ),
    ] = None
    heads: Annotated[
        bool, option("--heads", panel=_WHAT, help="A row of maps for every head, not the mean.")
    ] = False

    def __post_init__(self) -> None:
        self.counts()

    def counts(self) -> tuple[int, int] | None:
        """Return (rows, columns) of --tiles."""
        return None if self.tiles is None else pair("--tiles", self.tiles, one=True)


@dataclass(frozen=True)
class Memory:
    """How much memory maps of pairs may take."""

    max_memory: Annotated[
        int | None,
        option(
            "--max-memory",
            panel=_WHAT,
            metavar="SIZE",
            help="What maps of pairs may take (default: 2GB). Larger grids are sampled, said so.",
            parser=memory,
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
    style: Annotated[
        str,
        option(
            "--style",
            panel=_FILES,
            metavar="screen|paper",
            help="How figures look (default: screen). paper: 8-pt text, no title, no caption, "
            "exact cells, fonts embedded.",
        ),
    ] = "screen"
    width: Annotated[
        str | None,
        option(
            "--width",
            panel=_FILES,
            metavar="X[in|cm|mm|pt]",
            help="How wide figures are: 3.25in, 8.3cm (default: 7in; 6.75in of paper).",
        ),
    ] = None
    cmap: Annotated[
        str | None,
        option("--cmap", panel=_FILES, metavar="NAME", help="Matplotlib's colours for heat maps."),
    ] = None
    title: Annotated[
        bool, option("--title", panel=_FILES, help="With the title, on paper too.")
    ] = False
    caption: Annotated[
        bool, option("--caption", panel=_FILES, help="With the caption, on paper too.")
    ] = False
    no_figures: Annotated[
        bool, option("--no-figures", panel=_FILES, help="Write no figure files.")
    ] = False

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise UsageError(f"--format {self.format} is not one of {', '.join(FORMATS)}.")
        if self.style not in STYLES:
            raise UsageError(f"--style {self.style} is not one of {', '.join(STYLES)}.")
        if self.width is not None or self.cmap is not None:
            self.look()

    def look(self) -> Look:
        """Return how figures look.

        Raises:
            UsageError: matplotlib has no such colour map, or the width is out of reach.
        """
        from pe_inspect.figures.layout.look import Look

        width = None if self.width is None else inches("--width", self.width)
        return Look(self.style, width, self.cmap, self.title, self.caption)  # type: ignore[arg-type]


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
    table_format: Annotated[
        str | None,
        option(
            "--table-format",
            panel=_FILES,
            metavar="csv|md|tex",
            help="Write the table too, so: Markdown, or LaTeX with booktabs.",
        ),
    ] = None

    def __post_init__(self) -> None:
        if self.table_format not in (None, *TABLES):
            raise UsageError(f"--table-format {self.table_format} is not one of csv, md, tex.")


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
    explain: Annotated[
        bool, option("--explain", panel=_TERMINAL, help="Say under every number what it is.")
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
