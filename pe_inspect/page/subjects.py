"""What a report is about: embeddings and results, gathered into subjects with a name each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from pe_inspect.analysis.common.no_answer import NoAnswer
from pe_inspect.errors import UsageError
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.page.views import Frame

__all__ = ["UNNAMED", "NotAsked", "Subject", "gathered", "unique_labels"]

_SUFFIX: Final = re.compile(r"(\.pe)?\.(safetensors|pth|pt|bin|ckpt|npz|npy)$", re.IGNORECASE)
_IMPERSONAL: Final = {"model", "pytorch_model", "checkpoint", "best", "last", "weights"}
UNNAMED: Final = "position embedding"


@dataclass
class Subject:
    """One position embedding, or results of one, and the answers that a page needs of it.

    Attributes:
        label: a short name, unique on the page.
        embedding: the container; `None` where a result does not name its own.
        is_asked: whether the embedding itself was handed in: then every question is asked of it.
        results: question → result, filled as sections ask.
        options: question → the keyword arguments with which it is asked.
        encoded: what `frames` made.
        dpi: dots an inch of the pictures, where that was chosen.
    """

    label: str
    embedding: PositionEmbedding | None
    is_asked: bool = True
    results: dict[str, Any] = field(default_factory=dict)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    encoded: tuple[Frame, ...] | None = None
    dpi: int | None = None

    def ask(self, question: str, **defaults: Any) -> Any:
        """Return the result that was handed in, or ask the question now, once.

        Args:
            question: its word.
            defaults: arguments where `options` says nothing.

        Raises:
            NotAsked: only finished results were handed in, and not this one.
            UsageError: this embedding has no answer to that.
        """
        from pe_inspect.analysis import questions

        arguments = {**defaults, **self.options.get(question, {})}
        return self.answered(question, lambda pe: questions[question](pe, **arguments))

    def answered(self, question: str, answer: Callable[[PositionEmbedding], Any]) -> Any:
        """Return the result that was handed in, or what `answer` makes of the embedding, once.

        Raises:
            NotAsked: only finished results were handed in, and not this one.
            UsageError: this embedding has no answer to that.
        """
        if question not in self.results:
            self.results[question] = answer(self._asked(question))
        return self.results[question]

    def handed_in(self, question: str) -> Any:
        """Return a result that no single embedding can be asked for, e.g. of a whole run.

        Raises:
            NotAsked: there is none.
            UsageError: it could not be asked; the reason was handed in.
        """
        if question not in self.results:
            raise NotAsked(f"no result of {question!r} was handed in")
        found = self.results[question]
        if isinstance(found, NoAnswer):
            raise UsageError(found.reason)
        return found

    def frames(self) -> tuple[Frame, ...]:
        """Return the maps of every layer, encoded once for all views that show them.

        Raises:
            NotAsked: no result of `similarity` was handed in, nor an embedding to ask.
        """
        if self.encoded is None:
            from pe_inspect.page.frames import similarity_frames

            self.encoded = similarity_frames(self.ask("similarity"))
        return self.encoded

    def _asked(self, question: str) -> PositionEmbedding:
        if self.embedding is None or not self.is_asked:
            raise NotAsked(f"no result of {question!r} was handed in, nor an embedding to ask")
        if not self.embedding.tables:
            raise UsageError("this model has no position table to ask about")
        return self.embedding


class NotAsked(UsageError):
    """A page of finished results: this question is not among them."""


def gathered(
    items: Iterable[Any],
    labels: Sequence[str] | None,
    options: Mapping[str, Mapping[str, Any]],
    dpi: int | None = None,
) -> tuple[Subject, ...]:
    """Return one subject an embedding, in the order given; results follow the embedding they name.

    A result that names none belongs to the page's one embedding; where there are several, all such
    results are a subject of their own.

    Raises:
        UsageError: nothing was given, something is neither, or the labels do not fit.
    """
    found: list[Subject] = []
    for item in items:
        embedding = _embedding_of(item)
        subject = _file_and_folder(found, embedding)
        if item is embedding:
            subject.is_asked = True
        else:
            _enter(subject.results, item)
    return tuple(replace(subject, dpi=dpi) for subject in _labelled(found, labels, options))


def _labelled(
    found: Sequence[Subject],
    labels: Sequence[str] | None,
    options: Mapping[str, Mapping[str, Any]],
) -> tuple[Subject, ...]:
    if not found:
        raise UsageError("report() was given nothing; hand in a position embedding or a result.")
    found = _adopted(found)
    embeddings = [subject.embedding for subject in found]
    names = unique_labels(embeddings) if labels is None else _checked(labels, len(found))
    return tuple(
        replace(subject, label=name, options=options) for subject, name in zip(found, names)
    )


def _adopted(found: Sequence[Subject]) -> list[Subject]:
    """Give the results that name no embedding to the only one that there is."""
    named = [subject for subject in found if subject.embedding is not None]
    orphans = [subject for subject in found if subject.embedding is None]
    if len(named) != 1 or not orphans:
        return list(found)
    for result in orphans[0].results.values():
        _enter(named[0].results, result)
    return named


def _embedding_of(item: Any) -> PositionEmbedding | None:
    if isinstance(item, PositionEmbedding):
        return item
    if not (hasattr(item, "question") and hasattr(item, "summary")):
        raise UsageError(
            f"report() was given {type(item).__name__!r}; it takes position embeddings "
            "(pe_inspect.extract) and results (pe_inspect.similarity, …)."
        )
    owner = getattr(item, "pe", None)
    return owner if isinstance(owner, PositionEmbedding) else None


def _file_and_folder(found: list[Subject], embedding: PositionEmbedding | None) -> Subject:
    for subject in found:
        if subject.embedding is embedding:
            return subject
    found.append(Subject("", embedding, is_asked=False))
    return found[-1]


def _enter(results: dict[str, Any], result: Any) -> None:
    if result.question in results:
        raise UsageError(
            f"report() was given two results of {result.question!r} for one embedding; "
            "hand in one of them."
        )
    results[result.question] = result


def _checked(labels: Sequence[str], count: int) -> list[str]:
    if len(labels) != count or len(set(labels)) != count:
        raise UsageError(
            f"report() was given {len(labels)} labels ({len(set(labels))} different ones) for "
            f"{count} embeddings; give each its own."
        )
    return list(labels)


def unique_labels(embeddings: Sequence[PositionEmbedding | None]) -> list[str]:
    """Return the shortest names that tell all embeddings apart: file, family, folder, number."""
    for spelled in (_short, _with_family, _with_folder, _whole):
        names = [spelled(pe) if pe else UNNAMED for pe in embeddings]
        if len(set(names)) == len(names):
            return names
    return [f"{name} ({k})" for k, name in enumerate(names, start=1)]


def _short(pe: PositionEmbedding) -> str:
    *folders, file = _parts(pe.source) or [UNNAMED]
    stem = _SUFFIX.sub("", file) or file
    return folders[-1] if folders and stem.lower() in _IMPERSONAL else stem


def _with_family(pe: PositionEmbedding) -> str:
    return f"{_short(pe)} · {pe.family}"


def _with_folder(pe: PositionEmbedding) -> str:
    return "/".join(_parts(pe.source)[-2:]) or UNNAMED


def _whole(pe: PositionEmbedding) -> str:
    return f"{pe.source or UNNAMED} · {pe.family}"


def _parts(source: str) -> list[str]:
    return [part for part in re.split(r"[/\\]+", source) if part not in ("", ".")]
