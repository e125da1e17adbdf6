"""Whatever holds a position embedding → the container that an analysis is handed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pe_inspect.errors import UsageError
from pe_inspect.front import OpenedCheckpoint
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.loading.checkpoint import Checkpoint, Hints
from pe_inspect.traces import Trace

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "Subject",
    "checkpoint_of",
    "each_of",
    "embedding_of",
    "embeddings_of",
    "is_one",
    "model_of",
    "opened",
    "trace_of",
]

Subject: TypeAlias = (
    "PositionEmbedding | Checkpoint | OpenedCheckpoint | str | os.PathLike[str] | nn.Module "
    "| Mapping[str, Any]"
)

_OPTIMISER: Final = {"state", "param_groups"}
"""What `state_dict()` of every optimiser of torch holds."""


def is_one(subject: Any) -> bool:
    """Whether this is one subject, and not several; a state dict or a module is one."""
    whole = (PositionEmbedding, Checkpoint, OpenedCheckpoint, str, bytes, os.PathLike, Mapping)
    return isinstance(subject, whole) or _is_module(subject)


def each_of(subjects: Any) -> Iterator[Any]:
    """Yield the subjects that were given: one alone, or those of an iterable."""
    if isinstance(subjects, Iterable) and not is_one(subjects):
        yield from subjects
    else:
        yield subjects


def opened(subject: Subject, family: str | None = None) -> OpenedCheckpoint:
    """Return a checkpoint with its embeddings.

    Args:
        subject: what `checkpoint_of` takes.
        family: look for this scheme only.

    Raises:
        UsageError: it is nothing that could hold one.
        NoPositionEmbedding: it holds none.
    """
    from pe_inspect.families import extract

    if isinstance(subject, OpenedCheckpoint):
        return subject
    checkpoint = checkpoint_of(subject, family)
    return OpenedCheckpoint(checkpoint=checkpoint, tables=extract(checkpoint))


def embedding_of(subject: Subject, family: str | None = None) -> PositionEmbedding:
    """Return the one position embedding that a subject holds.

    Args:
        subject: an embedding, or what `checkpoint_of` takes.
        family: which scheme, where there are several.

    Raises:
        UsageError: it holds several, or is nothing that could hold one.
        NoPositionEmbedding: it holds none.
    """
    if isinstance(subject, PositionEmbedding):
        return subject
    found = embeddings_of(subject, family)
    if len(found) == 1:
        return found[0]
    named = "\n".join(f"  {pe.headline}" for pe in found)
    families = {pe.family for pe in found}
    chosen = f"Pass family={found[0].family!r}, or one of" if len(families) > 1 else "Pass one of"
    raise UsageError(
        f"{_called(subject)} holds {len(found)} position embeddings:\n{named}\n"
        f"{chosen} pe_inspect.extract(…)."
    )


def embeddings_of(subject: Subject, family: str | None = None) -> tuple[PositionEmbedding, ...]:
    """Return every position embedding that a subject holds.

    Args:
        subject: an embedding, or what `checkpoint_of` takes.
        family: look for this scheme only.

    Raises:
        UsageError: it is nothing that could hold one.
        NoPositionEmbedding: it holds none.
    """
    return (subject,) if isinstance(subject, PositionEmbedding) else opened(subject, family).tables


def checkpoint_of(subject: Subject, family: str | None = None) -> Checkpoint:
    """Return the checkpoint that a subject is, or that it names.

    Args:
        subject: a checkpoint; a path or a name, as `pe_inspect.load` takes it; a `torch.nn.Module`;
            or a state dict, of numpy arrays or torch tensors.
        family: look for this scheme only.

    Raises:
        UsageError: it is none of these.
    """
    checkpoint = _opened(subject)
    if family is None:
        return checkpoint
    said = Hints(family=family, origins={"family": "family="})
    return replace(checkpoint, hints=said.over(checkpoint.hints))


def _opened(subject: Any) -> Checkpoint:
    if isinstance(subject, Checkpoint):
        return subject
    if isinstance(subject, OpenedCheckpoint):
        return subject.checkpoint
    if isinstance(subject, (str, os.PathLike)):
        from pe_inspect.loading import load

        return load(subject)
    if _is_module(subject):
        return Checkpoint.from_state_dict(subject.state_dict(), source=type(subject).__name__)
    if isinstance(subject, Mapping) and subject and all(map(_is_array, subject.values())):
        return Checkpoint.from_state_dict(subject)
    raise UsageError(_refusal(subject))


def model_of(subject: Any, family: str | None = None) -> Any:
    """Return a live model as it is, and of all else the checkpoint, as `checkpoint_of` does.

    Raises:
        UsageError: it is no module, and nothing that `checkpoint_of` takes.
    """
    return subject if _is_module(subject) else checkpoint_of(subject, family)


def trace_of(subject: Any, family: str | None = None) -> Trace:
    """Return a trace as it is.

    Raises:
        UsageError: it is something else, or a scheme is chosen of it.
    """
    if isinstance(subject, Trace) and family is None:
        return subject
    wrong = "family=" if isinstance(subject, Trace) else f"a {type(subject).__name__}"
    raise UsageError(
        f"This is asked of a Trace alone, and was given {wrong}. pe_inspect.trace(model, images) "
        "makes one, of a checkpoint, its path, or a live module."
    )


def _is_module(subject: Any) -> bool:
    return not isinstance(subject, type) and callable(getattr(subject, "state_dict", None))


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


def _refusal(subject: Any) -> str:
    """Say which call is the right one for what was given."""
    name = type(subject).__name__
    if isinstance(subject, PositionEmbedding):
        return (
            "This needs a whole checkpoint, and was given one position embedding of it. Pass "
            "pe_inspect.load(…), or the path."
        )
    if isinstance(subject, (list, tuple)):
        return (
            f"This is asked of one subject, and was given a {name} of {len(subject)}. Pass one of "
            "them, as pe_inspect.extract(…)[0]."
        )
    if hasattr(subject, "question") and hasattr(subject, "summary"):
        return f"A {name} is an answer already. pe_inspect.figure draws it."
    if isinstance(subject, type):
        return f"This needs an object, and was given the class {subject.__name__}. Make one of it."
    if isinstance(subject, Mapping) and set(subject) == _OPTIMISER:
        return (
            "This is the state of an optimiser, which holds no weights. Pass the model's: "
            "model.state_dict()."
        )
    if isinstance(subject, Mapping):
        return (
            f"A {name} that does not hold arrays by name is no state dict. Pass its inner one, as "
            "subject['model'], or save it and pass the path: pe_inspect.load looks inside."
        )
    return (
        f"Expected a PositionEmbedding, a Checkpoint, a path, a module or a state dict, not "
        f"{name}. pe_inspect.load(path) opens a checkpoint, pe_inspect.extract(…) lists what it "
        "holds."
    )


def _called(subject: Any) -> str:
    if isinstance(subject, OpenedCheckpoint):
        return subject.checkpoint.source
    if isinstance(subject, (Checkpoint, str, os.PathLike)):
        return str(getattr(subject, "source", subject))
    return "This state dict" if isinstance(subject, Mapping) else f"This {type(subject).__name__}"
