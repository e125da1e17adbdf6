"""One file per question: a result in, matplotlib figures out. No maths, no pyplot, no files.

A new figure is one module here that registers its function under the question's word:

    @drawings.register("similarity")
    def draw(result: SimilarityResult, …) -> dict[str, Figure]: …

and, where every map can also have a file of its own, `@drawings_each.register("similarity")` on a
function that yields (file stem, figure) pairs. A yielded figure is valid until the next one is
asked for: it may be the same object, redrawn. `@drawings_on.register("similarity")` is for a
function that draws a question's single map on axes that somebody else laid out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from pe_inspect.errors import UsageError
from pe_inspect.figures.layout.look import Look, Style, is_paper, looking
from pe_inspect.registry import Registry

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["drawings", "drawings_each", "drawings_on", "drawn", "drawn_each", "figure"]

HELPERS: Final = ("layout", "saving", "thumbnail")

drawings: Registry[Callable[..., dict[str, Figure]]] = Registry(
    "figure", "pe_inspect.figures", helpers=HELPERS
)
drawings_each: Registry[Callable[..., Iterator[tuple[str, Figure]]]] = Registry(
    "figure of every map", "pe_inspect.figures", helpers=HELPERS
)


drawings_on: Registry[Callable[..., None]] = Registry(
    "figure on axes", "pe_inspect.figures", helpers=HELPERS
)


def drawn(question: str, result: Any, chosen: Look, **options: Any) -> Iterator[tuple[str, Figure]]:
    """Yield every figure of a result, in some look: file stem → figure.

    Args:
        question: whose figures.
        result: its answer.
        chosen: the look.
        options: passed to the question's own `draw`.
    """
    with looking(chosen):
        figures = {**drawings[question](result, **options)}
        yield from ((stem, _finished(each)) for stem, each in figures.items())


def drawn_each(
    question: str, result: Any, chosen: Look, **options: Any
) -> Iterator[tuple[str, Figure]]:
    """Yield a figure for every map of a result, in some look; each is valid until the next one."""
    with looking(chosen):
        for stem, each in drawings_each[question](result, **options):
            yield stem, _finished(each)


def _finished(one: Figure) -> Figure:
    if not is_paper():
        return one
    from pe_inspect.figures.layout.paper import for_print

    return for_print(one)


def figure(
    result: Any,
    *,
    style: Style = "screen",
    width: float | None = None,
    cmap: str | None = None,
    title: bool = False,
    caption: bool = False,
    ax: Axes | None = None,
    **options: Any,
) -> Figure:
    """Return the main figure of a result: the one that bears the question's name.

    It is a `matplotlib.figure.Figure` that shows itself in a notebook. `drawings[question]`
    gives all figures of a result.

    Args:
        result: what a question answered with.
        style: `screen`, or `paper`: 8-point letters, no title and no caption, heat maps as exact
            cells, fonts as TrueType, SVG text as text.
        width: inches; by default 7 on a screen and 6.75 on paper. A column has about 3.25.
        cmap: a colour map of matplotlib for heat maps.
        title: keep the title on paper.
        caption: keep the caption on paper.
        ax: draw the question's single map on these axes of yours instead; their figure is returned.
        options: passed to the question's own `draw`.

    Raises:
        UsageError: it is no question's answer, or that question has no such figure.
    """
    question = getattr(result, "question", None)
    if not isinstance(question, str):
        raise UsageError(
            f"figure draws what a question answered with, not {type(result).__name__}: "
            "pass a result, as pe_inspect.similarity(table) gives it."
        )
    chosen = Look(style, width, cmap, title, caption)
    if ax is not None:
        return _on_axes(question, result, ax, chosen, **options)
    figures = dict(drawn(question, result, chosen, **options))
    return figures.get(question) or next(iter(figures.values()))


def _on_axes(question: str, result: Any, ax: Axes, chosen: Look, **options: Any) -> Figure:
    if question not in drawings_on:
        raise UsageError(
            f"{question} has no single map to draw on axes; {', '.join(drawings_on)} have. "
            "pe_inspect.figure(result) returns a figure of its own."
        )
    with looking(chosen):
        drawings_on[question](result, ax, **options)
    found: Any = ax.figure
    whole: Figure = found
    return whole
