"""A Report's content → the text of one HTML file that loads nothing and runs nothing."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Callable
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from pe_inspect._version import __version__
from pe_inspect.report._content import Report
from pe_inspect.report._text import anchor, grouped, number, visible

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["framed", "policy", "render"]

_PACKAGE: Final = "pe_inspect.report"
_TEMPLATE: Final = "page.html.jinja"
_STYLE: Final = "report.css"


def render(report: Report) -> str:
    """Return the page. The same report gives the same text."""
    style = _text_of(_STYLE)
    template = _environment().get_template(_TEMPLATE)
    return str(
        template.render(report=report, style=style, policy=policy(style), version=__version__)
    )


def policy(style: str) -> str:
    """Return the Content-Security-Policy: this one style sheet, images in the file, no network."""
    digest = base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )


def framed(report: Report) -> str:
    """Return the page for a notebook: in a frame that can run nothing and styles nothing else."""
    page, title = html.escape(report.html), html.escape(str(visible(report.title)))
    return (
        f'<iframe sandbox title="{title}" srcdoc="{page}" loading="lazy" '
        'style="width: 100%; height: 46rem; border: 1px solid #8886; border-radius: 4px">'
        "</iframe>"
    )


def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        loader=FunctionLoader(_text_of),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters: dict[str, Callable[..., str]] = {
        "anchor": lambda parts: anchor(*parts),
        "grouped": grouped,
        "number": number,
    }
    environment.filters.update(filters)
    return environment


def _text_of(name: str) -> str:
    return (files(_PACKAGE) / name).read_text(encoding="utf-8")
