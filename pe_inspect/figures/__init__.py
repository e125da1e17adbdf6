"""One file per question: a result in, matplotlib figures out. No maths, no pyplot, no files.

A new figure is one module here that registers its function under the question's word:

    @drawings.register("similarity")
    def draw(result: SimilarityResult, …) -> dict[str, Figure]: …

and, where every map can also have a file of its own, `@drawings_each.register("similarity")` on a
function that yields (file stem, figure) pairs. A yielded figure is valid until the next one is
asked for: it may be the same object, redrawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from pe_inspect.errors import UsageError
from pe_inspect.registry import Registry

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["drawings", "drawings_each", "figure"]

HELPERS: Final = ("layout", "saving", "thumbnail")

drawings: Registry[Callable[..., dict[str, Figure]]] = Registry(
    "figure", "pe_inspect.figures", helpers=HELPERS
)
drawings_each: Registry[Callable[..., Iterator[tuple[str, Figure]]]] = Registry(
    "figure of every map", "pe_inspect.figures", helpers=HELPERS
)


def figure(result: Any, **options: Any) -> Figure:
    """Return the main figure of a result: the one that bears the question's name.

    It is a `matplotlib.figure.Figure` that shows itself in a notebook. `drawings[question]`
    gives all figures of a result.

    Args:
        result: what a question answered with.
        options: passed to the question's own `draw`.

    Raises:
        UsageError: it is no question's answer, or that question has no figure.
    """
    question = getattr(result, "question", None)
    if not isinstance(question, str):
        raise UsageError(
            f"figure draws what a question answered with, not {type(result).__name__}: "
            "pass a result, as pe_inspect.similarity(table) gives it."
        )
    figures = drawings[question](result, **options)
    return figures.get(question) or next(iter(figures.values()))
