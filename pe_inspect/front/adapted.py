"""A function of the rooms behind, asked of any subject."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Final

from pe_inspect.extras import needed
from pe_inspect.front.subject import Subject, checkpoint_of, embedding_of

__all__ = ["asked_of_any_checkpoint", "asked_of_any_embedding"]

_FAMILY: Final = inspect.Parameter(
    "family", inspect.Parameter.KEYWORD_ONLY, default=None, annotation="str | None"
)
_SAID: Final = (
    "\n\nThe first argument may be {what}a `Checkpoint`, a path or a name, a module or a state "
    "dict.\n`family` chooses where it holds several schemes."
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
    @functools.wraps(function)
    def call(subject: Subject, *arguments: Any, family: str | None = None, **options: Any) -> Any:
        with needed():
            return function(adapt(subject, family), *arguments, **options)

    first, *others = inspect.signature(function).parameters.values()
    shown = [first.replace(name="subject", annotation="Subject"), *others, _FAMILY]
    call.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    call.__doc__ = (function.__doc__ or "").rstrip() + said
    return call
