"""A function of the rooms behind, asked of any subject."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Final, TypeVar

from pe_inspect.extras import needed
from pe_inspect.front.subject import Subject, checkpoint_of, embedding_of

__all__ = ["asked_of_any_checkpoint", "asked_of_any_embedding", "signed_as"]

F = TypeVar("F", bound=Callable[..., Any])
_FAMILY: Final = inspect.Parameter(
    "family", inspect.Parameter.KEYWORD_ONLY, default=None, annotation="str | None"
)
_SAID: Final = (
    "The first argument may be {what}a `Checkpoint`, a path or a name, a module or a state dict.\n"
    "`family` chooses where it holds several schemes."
)


@functools.cache
def asked_of_any_embedding(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a question of one embedding as one of whatever holds one."""
    return _adapted(function, embedding_of, _SAID.format(what="a `PositionEmbedding`, "))


@functools.cache
def asked_of_any_checkpoint(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of a checkpoint as one of whatever is, or names, a checkpoint."""
    return _adapted(function, checkpoint_of, _SAID.format(what=""))


def _adapted(
    function: Callable[..., Any], adapt: Callable[[Subject, str | None], Any], said: str
) -> Callable[..., Any]:
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
