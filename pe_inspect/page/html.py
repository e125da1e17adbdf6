"""The content of a report → one HTML file: it loads nothing, and runs its own script."""

from __future__ import annotations

from functools import cache
from typing import Final

from pe_inspect.errors import UsageError
from pe_inspect.page.payload import payload
from pe_inspect.page.template import environment, policy, text_of
from pe_inspect.page.thinning import thinned, words_on
from pe_inspect.page.views import View
from pe_inspect.version import __version__

__all__ = ["SCRIPTS", "render"]

SCRIPTS: Final = (
    "core", "tokens", "dom", "film", "picture", "plane", "words", "files", "explorer", "heads",
    "controls",
)  # fmt: skip
_FRAMING: Final = 16_000  # bytes of colours, names and commas around the maps
_TEMPLATE: Final = "page.html.jinja"
_STYLE: Final = "report.css"


def render(report: object, views: tuple[View, ...], max_bytes: int) -> str:
    """Return the page. The same report gives the same text.

    Args:
        report: what the template shows.
        views: all that can be explored in it.
        max_bytes: how large the page may be.

    Raises:
        UsageError: its text and figures alone take more than may be.
    """
    text = _page(report, (), _without_views(views, max_bytes))
    static = len(text.encode())
    if static > max_bytes:
        raise UsageError(
            f"The page takes {static / 1e6:.2f} MB without any interactive view, more than "
            f"max_mb {max_bytes / 1e6:g}: pass at least {static / 1e6 + 0.01:.2f}."
        )
    shown = thinned(views, max_bytes - static - _FRAMING) if views else ()
    return _page(report, shown, list(words_on(shown, max_bytes))) if shown else text


def _without_views(views: tuple[View, ...], max_bytes: int) -> list[str]:
    """Say that the page has no view where it might have one."""
    said = f"No interactive view fits into {max_bytes / 1e6:g} MB; see the figures."
    return [said] if views else []


def _page(report: object, views: tuple[View, ...], thinning: list[str]) -> str:
    style, script = text_of(_STYLE), _script()
    template = environment().get_template(_TEMPLATE)
    return str(
        template.render(
            report=report,
            style=style,
            script=script,
            policy=policy(style, script),
            version=__version__,
            data=payload(views) if views else "",
            shown={view.id for view in views},
            thinning=thinning,
        )
    )


@cache
def _script() -> str:
    """The files of `script/` as one script that leaves no names behind."""
    parts = "\n".join(text_of(f"script/{name}.js") for name in SCRIPTS)
    return f'(() => {{\n"use strict";\n{parts}}})();\n'
