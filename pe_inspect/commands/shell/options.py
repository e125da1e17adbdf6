"""Every option that several commands share, defined once. A command names the groups it takes.

A group checks itself when it is built, which is before any file is opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pe_inspect.commands.shell.parsing import epsilon, layers, pair, place, whole
from pe_inspect.errors import UsageError
from pe_inspect.kinds.joins import JOINS
from pe_inspect.registry import did_you_mean

if TYPE_CHECKING:
    from pe_inspect.loading import Hints

__all__ = [
    "Asked",
    "AskedEach",
    "Data",
    "Drawing",
    "DrawingEach",
    "Opening",
    "Output",
    "Query",
    "Reading",
    "Resize",
    "Selection",
    "Source",
    "Terminal",
]

FORMATS: Final = ("png", "svg", "pdf")

_CHECKPOINT = "Which checkpoint"
_SAYS = "What the file does not say"
_WHAT = "What to show"
_FILES = "Files"
_TERMINAL = "Terminal"


def _option(*names: str, panel: str, help: str, metavar: str = "", **more: Any) -> Any:
    """Return a typer option; one without a metavar is a flag, which shows no type."""
    return typer.Option(
        *names, help=help, metavar=metavar, rich_help_panel=panel, show_default=False, **more
    )


@dataclass(frozen=True)
class Opening:
    """How a checkpoint's file is opened."""

    state_dict_key: Annotated[
        str | None,
        _option(
            "--state-dict-key",
            panel=_CHECKPOINT,
            metavar="KEY",
            help="Which of several state dicts.",
        ),
    ] = None
    tower: Annotated[
        str | None,
        _option("--tower", panel=_CHECKPOINT, metavar="NAME", help="Which of several towers."),
    ] = None
    trust_pickle: Annotated[
        bool,
        _option(
            "--trust-pickle",
            panel=_CHECKPOINT,
            help="Let a pickle run any code it names. Only for files that you trust.",
        ),
    ] = False
    no_train: Annotated[
        bool,
        _option("--no-train", panel=_CHECKPOINT, help="Refuse to train a recipe that is missing."),
    ] = False


@dataclass(frozen=True)
class Source(Opening):
    """Which checkpoint, and how its file is opened."""

    checkpoint: Annotated[
        str | None,
        typer.Argument(
            metavar="CHECKPOINT",
            help="A file, a folder, timm:NAME, hf-hub:ORG/NAME[@rev], a URL, or a recipe; "
            "left out: the newest under ./checkpoints/, else the default recipe.",
            show_default=False,
        ),
    ] = None


@dataclass(frozen=True)
class Reading:
    """What the user says of a checkpoint that its file does not."""

    grid_size: Annotated[
        str | None,
        _option("--grid-size", panel=_SAYS, metavar="HxW", help="Patch rows × columns: 14x14."),
    ] = None
    num_prefix_tokens: Annotated[
        int | None,
        _option(
            "--num-prefix-tokens",
            panel=_SAYS,
            metavar="N",
            help="Tokens ahead of the patches: CLS, registers.",
            parser=whole("--num-prefix-tokens"),
        ),
    ] = None
    patch_size: Annotated[
        str | None,
        _option("--patch-size", panel=_SAYS, metavar="P", help="Pixels a patch: 16, or 8x16."),
    ] = None
    num_heads: Annotated[
        int | None,
        _option(
            "--num-heads",
            panel=_SAYS,
            metavar="N",
            help="Attention heads a block.",
            parser=whole("--num-heads", least=1),
        ),
    ] = None
    family: Annotated[
        str | None,
        _option(
            "--family",
            panel=_SAYS,
            metavar="NAME",
            help="Look for this scheme only (`pe-inspect families` lists them).",
        ),
    ] = None
    join: Annotated[
        str | None,
        _option(
            "--join",
            panel=_SAYS,
            metavar="NAME",
            help="How it is added: input, or share (no key tells them apart), …",
        ),
    ] = None
    ln_eps: Annotated[
        float | None,
        _option(
            "--ln-eps",
            panel=_SAYS,
            metavar="X",
            help="The ε of every norm (in no file).",
            parser=epsilon,
        ),
    ] = None
    arch: Annotated[
        str | None,
        _option(
            "--arch",
            panel=_SAYS,
            metavar="timm:NAME",
            help="The architecture, for schemes that files do not hold.",
        ),
    ] = None

    def __post_init__(self) -> None:
        self.grid()
        self.patch()
        if self.join is not None and self.join not in JOINS:
            raise UsageError(did_you_mean("--join", self.join, list(JOINS)))

    def grid(self) -> tuple[int, int] | None:
        """Return (H, W) of --grid-size."""
        return None if self.grid_size is None else pair("--grid-size", self.grid_size)

    def patch(self) -> tuple[int, int] | None:
        """Return (H, W) of --patch-size, in pixels."""
        return None if self.patch_size is None else pair("--patch-size", self.patch_size, one=True)

    def hints(self) -> Hints:
        """Return what was said, each with the option that said it."""
        from pe_inspect.loading import Hints

        said: dict[str, Any] = {
            "grid_size": self.grid(),
            "num_prefix_tokens": self.num_prefix_tokens,
            "patch_size": self.patch(),
            "num_heads": self.num_heads,
            "family": self.family,
            "join": self.join,
            "ln_eps": self.ln_eps,
            "arch": self.arch,
        }
        given = {name: value for name, value in said.items() if value is not None}
        origins = {name: f"--{name.replace('_', '-')}" for name in given}
        return Hints(**given, origins=origins)


@dataclass(frozen=True)
class Query:
    """Which patch every other one is compared with."""

    token: Annotated[
        str | None,
        _option(
            "--token",
            panel=_WHAT,
            metavar="R,C",
            help="The query patch: its row and column, from 0. Left out: the middle one.",
        ),
    ] = None

    def __post_init__(self) -> None:
        self.query()

    def query(self) -> tuple[int, int] | None:
        """Return (row, column) of --token."""
        return None if self.token is None else place("--token", self.token)


@dataclass(frozen=True)
class Selection(Query):
    """Which layer, head and query patch to show."""

    layer: Annotated[
        str | None,
        _option(
            "--layer",
            panel=_WHAT,
            metavar="NAME[,NAME]",
            help="One layer or several: blocks.3, or 0,3,11. Left out: all of them.",
        ),
    ] = None
    head: Annotated[
        int | None,
        _option(
            "--head",
            panel=_WHAT,
            metavar="N",
            help="One head. Left out: the mean.",
            parser=whole("--head"),
        ),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.where()

    def where(self) -> int | str | tuple[int | str, ...] | None:
        """Return --layer: places, or names; one, or several."""
        return None if self.layer is None else layers("--layer", self.layer)


@dataclass(frozen=True)
class Resize:
    """The grid to resample to."""

    res: Annotated[
        str | None,
        _option(
            "--res",
            panel=_WHAT,
            metavar="R|HxW",
            help="The new image size, in pixels: 384, or 224x384.",
        ),
    ] = None
    grid: Annotated[
        str | None,
        _option("--grid", panel=_WHAT, metavar="N|HxW", help="The new grid in patches: 14x24."),
    ] = None

    def __post_init__(self) -> None:
        self.arguments()
        if self.res is not None and self.grid is not None:
            raise UsageError(
                f"--res {self.res} and --grid {self.grid} were both given: "
                "pass --res in pixels or --grid in patches."
            )

    @property
    def is_given(self) -> bool:
        """Whether the user named a target."""
        return self.res is not None or self.grid is not None

    def arguments(self) -> dict[str, tuple[int, int]]:
        """Return what `interpolate` is asked with: only what was given."""
        given = {"res": self.res, "grid": self.grid}
        return {k: pair(f"--{k}", text, one=True) for k, text in given.items() if text is not None}


@dataclass(frozen=True)
class Drawing:
    """What figure files to make."""

    format: Annotated[
        str,
        _option(
            "--format", panel=_FILES, metavar="png|svg|pdf", help="Figure files (default: png)."
        ),
    ] = "png"
    dpi: Annotated[
        int,
        _option(
            "--dpi",
            panel=_FILES,
            metavar="N",
            help="Dots an inch (default: 150).",
            parser=whole("--dpi", least=10, most=1200),
        ),
    ] = 150
    no_figures: Annotated[
        bool, _option("--no-figures", panel=_FILES, help="Write no figure files.")
    ] = False

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise UsageError(f"--format {self.format} is not one of {', '.join(FORMATS)}.")


@dataclass(frozen=True)
class DrawingEach(Drawing):
    """As `Drawing`, for the questions whose maps can each have a file of their own."""

    each: Annotated[
        bool, _option("--each", panel=_FILES, help="Every map also in a file of its own.")
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
        _option(
            "--out",
            panel=_FILES,
            metavar="DIR",
            help="Where files go (default: reports/<checkpoint name>/).",
        ),
    ] = None
    force: Annotated[
        bool,
        _option("--force", panel=_FILES, help="Overwrite files that pe-inspect did not make."),
    ] = False


@dataclass(frozen=True)
class Data:
    """Whether the numbers behind the figures are written."""

    save_data: Annotated[
        bool,
        _option("--save-data", panel=_FILES, help="Write the arrays (.npz) and tables (.csv) too."),
    ] = False


@dataclass(frozen=True)
class Terminal:
    """What is printed."""

    json: Annotated[
        bool,
        _option("--json", panel=_TERMINAL, help="One JSON object on stdout, nothing else there."),
    ] = False
    quiet: Annotated[
        bool, _option("--quiet", "-q", panel=_TERMINAL, help="No progress, notes or tables.")
    ] = False
    debug: Annotated[
        bool, _option("--debug", panel=_TERMINAL, help="Show the traceback of an error.")
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


@dataclass(frozen=True)
class AskedEach(Asked):
    """As `Asked`, with `--each`."""

    drawing: DrawingEach
