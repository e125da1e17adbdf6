"""One file per question: pure functions from containers to frozen results. No drawing, no files.

A new question is one module here that registers its function under the question's word:

    @questions.register("similarity")
    def similarity(pe: PositionEmbedding, …) -> SimilarityResult: …
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Protocol, runtime_checkable

from pe_inspect.registry import Registry

__all__ = ["Result", "questions"]


@runtime_checkable
class Result(Protocol):
    """What every question answers with, beside the arrays of its own.

    Attributes:
        question: the word that names the question everywhere.
        notes: every guess, correction and omission, in words.
    """

    question: ClassVar[str]

    @property
    def notes(self) -> tuple[str, ...]:
        """Every guess, correction and omission, in words."""
        ...

    @property
    def parameters(self) -> dict[str, Any]:
        """The choices that the result was computed with, by their command-line names."""
        ...

    @property
    def finding(self) -> str:
        """The answer in one sentence, with its numbers."""
        ...

    def summary(self) -> dict[str, float]:
        """The result as a few numbers."""
        ...

    def to_frame(self) -> Any:
        """The result as a pandas data frame."""
        ...


questions: Registry[Callable[..., Any]] = Registry(
    "question", "pe_inspect.analysis", helpers=("common", "doctor")
)
