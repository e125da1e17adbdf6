"""A function of the rooms behind, asked of any subject."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from pe_inspect.extras import needed
from pe_inspect.front.subject import Subject, checkpoint_of, embedding_of, model_of, trace_of

__all__ = ["SORTS", "asked_of_any", "signed_as"]

F = TypeVar("F", bound=Callable[..., Any])
_FAMILY: Final = inspect.Parameter(
    "family", inspect.Parameter.KEYWORD_ONLY, default=None, annotation="str | None"
)
_SAID: Final = (
    "The first argument may be {what}a `Checkpoint`, a path or a name, a module or a state dict.\n"
    "`family` chooses where it holds several schemes."
)
SORTS: Final[Mapping[str, tuple[Callable[[Any, str | None], Any], str]]] = {
    "embedding": (embedding_of, _SAID.format(what="a `PositionEmbedding`, ")),
    "checkpoint": (checkpoint_of, _SAID.format(what="")),
    "model": (model_of, _SAID.format(what="")),
    "trace": (trace_of, "The first argument is what `pe_inspect.trace` returned."),
}
"""What a function may be asked of: how a subject becomes it, and what `help` says of that."""


@functools.cache
def asked_of_any(function: Callable[..., Any], sort: str) -> Callable[..., Any]:
    """Return a function of the rooms behind as one of whatever holds what it is asked of.

    Args:
        function: its first argument is the container.
        sort: of which sort that is, a name of `SORTS`.
    """
    adapt, said = SORTS[sort]

    @signed_as(function, said, annotation="Subject")
    def call(subject: Subject, *arguments: Any, family: str | None = None, **options: Any) -> Any:
        with needed():
            return function(adapt(subject, family), *arguments, **options)

    return call


def signed_as(function: Callable[..., Any], said: str, *, annotation: str) -> Callable[[F], F]:
    """Return a decorator that gives a front door the name, options and words of what is behind.

    Args:
        function: what is behind; its first argument is what the front door makes of its subject.
        said: a paragraph about the subject, which goes below the words of `function`.
        annotation: of the subject.
    """
    first, *others = inspect.signature(function).parameters.values()
    shown = [first.replace(name="subject", annotation=annotation), *others, _FAMILY]

    def sign(call: F) -> F:
        signed: Any = functools.update_wrapper(call, function)
        signed.__signature__ = inspect.Signature(shown)
        words = (function.__doc__ or "").rstrip().replace(f" {first.name}: ", " subject: ", 1)
        signed.__doc__ = f"{words}\n\n{said}"
        return call

    return sign
