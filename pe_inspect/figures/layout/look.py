"""How figures look while they are drawn: on a screen, or in print at a given width.

    with looking(Look("paper", width=3.25)):
        figures = drawings["similarity"](result)

Layouts ask `page_width()`, `has_title()` and `has_caption()` instead of a constant, so that a
figure is laid out for the width it is printed at, and its letters keep their size.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

from pe_inspect.errors import UsageError

__all__ = ["Look", "Style", "has_caption", "has_title", "is_paper", "look", "looking", "page_width"]

Style: TypeAlias = Literal["screen", "paper"]
SCREEN_WIDTH: Final = 7.0  # inches: the text width of a two-column paper, so that 8 pt stays 8 pt
PAPER_WIDTH: Final = 6.75
NARROWEST: Final = 2.0
WIDEST: Final = 20.0


@dataclass(frozen=True)
class Look:
    """How figures look.

    Attributes:
        style: `screen`, or `paper`: 8-point letters, no title and no caption, heat maps as exact
            cells, fonts embedded as TrueType, SVG text as text.
        width: inches of the figure; by default 7 on a screen and 6.75 on paper.
        cmap: a colour map of matplotlib for heat maps, instead of ours.
        title: keep the title on paper.
        caption: keep the caption on paper.

    Raises:
        UsageError: there is no such style or colour map, or the width is out of reach.
    """

    style: Style = "screen"
    width: float | None = None
    cmap: str | None = None
    title: bool = False
    caption: bool = False

    def __post_init__(self) -> None:
        if self.style not in get_args(Style):
            raise UsageError(f"style {self.style!r} is not one of {', '.join(get_args(Style))}.")
        if self.width is not None and not NARROWEST <= self.width <= WIDEST:
            raise UsageError(
                f"width {self.width:g} in is not within {NARROWEST:g} to {WIDEST:g} in; the column "
                "of a paper has about 3.25in, its page 6.75in."
            )
        if self.cmap is not None:
            _checked_map(self.cmap)


def _checked_map(name: str) -> None:
    from matplotlib import colormaps

    if name not in colormaps:
        near = difflib.get_close_matches(name, list(colormaps), n=3)
        meant = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise UsageError(f"matplotlib has no colour map {name!r}.{meant}")


_SCREEN: Final = Look()
_LOOK: ContextVar[Look] = ContextVar("pe_look", default=_SCREEN)


def look() -> Look:
    """Return how figures look that are drawn now."""
    return _LOOK.get()


@contextmanager
def looking(chosen: Look) -> Iterator[None]:
    """Draw so, within."""
    token = _LOOK.set(chosen)
    try:
        yield
    finally:
        _LOOK.reset(token)


def is_paper() -> bool:
    """Whether figures are drawn for print."""
    return look().style == "paper"


def page_width() -> float:
    """The inches that a figure may be wide."""
    return look().width or (PAPER_WIDTH if is_paper() else SCREEN_WIDTH)


def has_title() -> bool:
    """Whether figures have a title."""
    return look().title or not is_paper()


def has_caption() -> bool:
    """Whether figures have a caption."""
    return look().caption or not is_paper()
