"""Which checkpoints a page is about, and how it looks, as they are typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

import typer

from pe_inspect.commands.shell.options import Memory, Reading, Resize, Selection
from pe_inspect.commands.shell.parsing import megabytes, whole

__all__ = ["Checkpoints", "PageLook", "options_of_questions"]

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
    selection: Selection, resize: Resize, reading: Reading, room: Memory
) -> Mapping[str, Mapping[str, Any]]:
    """Return what the questions on the page are asked with, where the user said so."""
    norms = _given(ln_eps=reading.ln_eps)
    token = _given(token=selection.query())
    shown = _given(layer=selection.where(), head=selection.head)
    size = {**resize.arguments(), **_given(patch_size=reading.patch())}
    memory = _given(max_memory=room.max_memory)
    return {
        "interpolate": {**size, **token},
        "similarity": {**norms, **shown, **token, **memory},
        "structure": memory,
        "layernorm": norms,
    }


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}
