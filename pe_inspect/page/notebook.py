"""A page inside a notebook: in a frame of its own, which can reach neither network nor notebook."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Final

from pe_inspect.page.text import visible

__all__ = ["framed"]

LARGEST: Final = 3_000_000  # bytes: a notebook keeps its outputs, and is sent around with them
_MAY: Final = "allow-scripts allow-downloads"
_LOOK: Final = "width: 100%; height: 46rem; border: 1px solid #8886; border-radius: 4px"


def framed(page: str, title: str, findings: Iterable[str]) -> str:
    """Return the page as HTML for a notebook.

    The frame has an origin of its own (no `allow-same-origin`), so that the page's script cannot
    see the notebook; it may save what is shown, and is drawn when it is scrolled to. A page that
    would make the notebook heavy is named instead, with what it says in one sentence a section.

    Args:
        page: its HTML.
        title: its heading.
        findings: a sentence a section.
    """
    heading = html.escape(str(visible(title)))
    if len(page.encode()) > LARGEST:
        return _summary(heading, findings, len(page.encode()))
    return (
        f'<iframe sandbox="{_MAY}" title="{heading}" srcdoc="{html.escape(page)}" '
        f'loading="lazy" style="{_LOOK}"></iframe>'
    )


def _summary(heading: str, findings: Iterable[str], size: int) -> str:
    told = "".join(f"<li>{html.escape(str(visible(finding)))}</li>" for finding in findings)
    how = f'The page takes {size / 1e6:.1f} MB: <code>.save("report.html")</code> writes it.'
    return f"<div><p><strong>{heading}</strong></p><ul>{told}</ul><p>{how}</p></div>"
