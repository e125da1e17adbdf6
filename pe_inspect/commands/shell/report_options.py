"""Which checkpoints a page is about, and how it looks, as they are typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from pe_inspect.commands.shell.live_options import ImagesOfRun
from pe_inspect.commands.shell.options import Reading, Resize, Selection
from pe_inspect.commands.shell.parsing import megabytes, whole
from pe_inspect.commands.shell.typed_option import option
from pe_inspect.errors import UsageError

if TYPE_CHECKING:
    from pe_inspect.front.live import LiveRun

__all__ = ["Checkpoints", "LiveAsked", "PageLook", "options_of_questions"]

Checkpoints: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CHECKPOINT",
        help="One or several, or a folder of many, which get an index; left out: the newest under "
        "./checkpoints/, else the default recipe.",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class LiveAsked(ImagesOfRun):
    """Whether live models are asked too, and on which images they run."""

    live: Annotated[
        bool,
        option(
            "--live",
            panel="What to run it on",
            help="Run the model too, however long it takes (default: where all is done in two "
            "minutes; in a folder of checkpoints, not at all).",
        ),
    ] = False
    no_live: Annotated[
        bool, option("--no-live", panel="What to run it on", help="Ask the weights alone.")
    ] = False

    def __post_init__(self) -> None:
        if self.live and self.no_live:
            raise UsageError("--live and --no-live contradict each other. Pass one of them.")

    def run(self, token: tuple[int, int] | None, progress: Any, *, is_folder: bool) -> LiveRun:
        """Return what the page is told.

        Args:
            token: the patch that is asked about.
            progress: is told what runs, and the share that is done.
            is_folder: whether it is one of many pages, whose models run only where that is said.
        """
        from pe_inspect.front.live import LiveRun

        is_asked = True if self.live else False if self.no_live or is_folder else None
        return LiveRun(is_asked, {**self.arguments(), "token": token}, progress)


@dataclass(frozen=True)
class PageLook:
    """How the page looks."""

    title: Annotated[
        str | None, typer.Option("--title", metavar="TEXT", help="The heading of the page.")
    ] = None
    max_mb: Annotated[
        float,
        typer.Option(
            "--max-mb",
            metavar="X",
            help="How large the page may be (default: 10). A larger one is thinned, and says so.",
            parser=megabytes,
            show_default=False,
            rich_help_panel="Files",
        ),
    ] = 10.0
    dpi: Annotated[
        int | None,
        typer.Option(
            "--dpi",
            metavar="N",
            help="Dots an inch of the pictures (default: as many as each needs).",
            parser=whole("--dpi", least=10, most=1200),
            show_default=False,
            rich_help_panel="Files",
        ),
    ] = None


def options_of_questions(
    selection: Selection, resize: Resize, reading: Reading, max_memory: int | None
) -> Mapping[str, Mapping[str, Any]]:
    """Return what the questions on the page are asked with, where the user said so."""
    norms = _given(ln_eps=reading.ln_eps)
    token = _given(token=selection.query())
    shown = _given(layer=selection.where(), head=selection.head)
    size = {**resize.arguments(), **_given(patch_size=reading.patch())}
    memory = _given(max_memory=max_memory)
    return {
        "interpolate": {**size, **token},
        "similarity": {**norms, **shown, **token, **memory},
        "structure": {**norms, **memory},
        "layernorm": norms,
    }


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}
