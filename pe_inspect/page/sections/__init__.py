"""One function a section: a subject in, what the page says of one question out.

A new section is one module here that registers its function under the question's word:

    @sections.register("similarity")
    def similarity(subject: Subject) -> Section: …

It asks the subject for the result (`subject.ask("similarity")`) and words it. A `UsageError`
that the question raises ("no LayerNorm in this checkpoint") becomes the page's line that says
why there is no such section.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pe_inspect.page.content import Section
from pe_inspect.page.subjects import Subject
from pe_inspect.registry import Registry

__all__ = ["in_reading_order", "sections"]

sections: Registry[Callable[[Subject], Section]] = Registry(
    "report section", "pe_inspect.page.sections"
)

_FIRST: Final = ("similarity", "structure", "layernorm", "interpolate")
_LAST: Final = ("evolution", "evaluate", "doctor")


def in_reading_order() -> list[str]:
    """Return the registered words: the embedding itself first, the run and the file last."""
    between = sorted(set(sections) - {*_FIRST, *_LAST})
    return [word for word in (*_FIRST, *between, *_LAST) if word in sections]
