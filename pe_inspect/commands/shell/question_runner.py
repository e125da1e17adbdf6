"""What every question's command does: open, plan, ask, draw, write, print."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pe_inspect.commands.shell.describe import (
    aligned,
    as_json,
    command_line,
    number,
    versions,
)
from pe_inspect.commands.shell.opening import NamedCheckpoint, open_subject
from pe_inspect.commands.shell.options import Asked, Drawing, Output, Terminal
from pe_inspect.commands.shell.terminal import complain, working, write_json, write_line
from pe_inspect.errors import OutputError, UsageError
from pe_inspect.files import OutputFolder
from pe_inspect.front.checkpoint_files import REPORTS

if TYPE_CHECKING:
    from pe_inspect.files import OutputFolder
    from pe_inspect.kinds.position_embedding import PositionEmbedding

__all__ = [
    "Question",
    "answer",
    "output_folder",
    "parameters_and_summary",
    "summary_lines",
    "write_arrays",
    "write_table",
]


def summary_lines(result: Any) -> list[str]:
    """Return the numbers of a result, one a line."""
    return aligned({name: number(value) for name, value in result.summary().items()})


def parameters_and_summary(result: Any) -> dict[str, Any]:
    """Return what the JSON object holds of every result."""
    return {"parameters": result.parameters, "summary": result.summary()}


@dataclass(frozen=True)
class Question:
    """One question: how it is asked and drawn, and what data files it has.

    Attributes:
        name: the word that names it everywhere; every file of it begins with this word.
        ask: the library call: of an embedding, or of the checkpoint.
        draw: options of its figures.
        figures: how the names of its figures go on after that word; `*` stands for any letters.
        data: what `--save-data` writes: file extension → writer of (result, file).
        first: what the first line adds to that of the embedding, where only the answer tells it.
        lines: what is printed of a result.
        told: what the JSON object holds of a result.
        whole: what the whole JSON object holds beside the entries.
        made: files that were made besides those of the question's folder.
        last: what is printed before the files.
        is_of_checkpoint: whether it is asked once, of the whole checkpoint, which may hold no
            embedding, and tells on the terminal how far it is; else of each embedding.
    """

    name: str
    ask: Callable[[Any], Any]
    data: dict[str, Callable[[Any, IO[bytes]], Any]]
    draw: dict[str, Any] = field(default_factory=dict)
    figures: tuple[str, ...] = ("", "_*")
    first: Callable[[Any], str] | None = None
    lines: Callable[[Any], Sequence[str]] = summary_lines
    told: Callable[[Any], dict[str, Any]] = parameters_and_summary
    whole: dict[str, Any] = field(default_factory=dict)
    made: tuple[Path, ...] = ()
    last: tuple[str, ...] = ()
    is_of_checkpoint: bool = False


@dataclass(frozen=True)
class Target:
    """What a question is asked of, once.

    Attributes:
        asked: the embedding, or the checkpoint.
        tables: the embeddings that the answer is about.
        suffix: what is added to the names of its files.
    """

    asked: Any
    tables: tuple[PositionEmbedding, ...]
    suffix: str = ""


def write_table(result: Any, file: IO[bytes]) -> None:
    """Write the result's data frame as CSV: UTF-8, one header line, no index."""
    file.write(result.to_frame().to_csv(index=False, lineterminator="\n").encode())


def write_arrays(result: Any, file: IO[bytes], **more: Any) -> None:
    """Write the columns of the result's data frame as arrays of their names, and more arrays."""
    import numpy as np

    for name, column in result.to_frame().items():
        more[name] = np.array(column.tolist())
    np.savez(file, **more)


def output_folder(output: Output, name: str) -> OutputFolder:
    """Return the folder of --out, else reports/<checkpoint name>/."""
    from pe_inspect.files import OutputFolder

    return OutputFolder(output.out if output.out is not None else REPORTS / name, output.force)


def answer(question: Question, asked: Asked, subject: NamedCheckpoint | None = None) -> None:
    """Ask one question, write its files, and print the answers.

    Args:
        question: what is asked.
        asked: what was typed.
        subject: the checkpoint, where it is open already.
    """
    if subject is None:
        subject = open_subject(
            asked.source, asked.reading, asked.terminal,
            with_sha256=asked.terminal.json, may_lack=question.is_of_checkpoint,
        )  # fmt: skip
    folder = output_folder(asked.output, subject.name)
    if asked.data.save_data or not asked.drawing.no_figures:
        folder.claim_matching(_names(question, subject, asked))
    entries = _entries(question, subject, asked, folder)
    folder.written += question.made
    if asked.terminal.json:
        write_json({**_whole(question, subject, entries, folder), **question.whole})
    else:
        _write_lines([*question.last, *(f"Wrote {path}" for path in folder.written)])


def _entries(
    question: Question, subject: NamedCheckpoint, asked: Asked, folder: OutputFolder
) -> list[dict[str, Any]]:
    """Answer for every target; where the question does not apply to one, that is its entry.

    Raises:
        UsageError: it applies to none of them.
    """
    entries, refusals = [], []
    for target in _targets(question, subject):
        try:
            entries.append(_ask(question, target, asked, folder))
        except OutputError:
            raise
        except UsageError as error:  # the question does not apply to this embedding
            entries.append({**_described(target), "error": str(error)})
            refusals.append(error)
    if len(refusals) == len(entries):
        raise refusals[0]
    for refusal in refusals:
        complain(f"Note: {refusal}")
    return entries


def _targets(question: Question, subject: NamedCheckpoint) -> list[Target]:
    if question.is_of_checkpoint:
        return [Target(subject.checkpoint, subject.tables)]
    return [Target(pe, (pe,), name) for pe, name in zip(subject.tables, subject.suffixes())]


def _described(target: Target) -> dict[str, Any]:
    """Return the one embedding that a target is, as JSON; nothing of a whole checkpoint."""
    is_one = target.tables and target.asked is target.tables[0]
    return as_json(target.asked) if is_one else {}


def _names(question: Question, subject: NamedCheckpoint, asked: Asked) -> Iterator[str]:
    """Yield the names of all files that this run can write, or patterns of them."""
    drawing = asked.drawing
    each = ("_*",) if getattr(drawing, "each", False) else ()
    figures = () if drawing.no_figures else (*question.figures, *each)
    for suffix in subject.suffixes():
        for ending in figures:
            yield f"{question.name}{ending}{suffix}.{drawing.format}"
        for extension in question.data if asked.data.save_data else ():
            yield f"{question.name}{suffix}{extension}"


def _write_lines(lines: Sequence[str]) -> None:
    for line in lines:
        write_line(line)


def _ask(question: Question, target: Target, asked: Asked, folder: OutputFolder) -> dict[str, Any]:
    """Answer for one target; return its entry in the JSON object."""
    heads = [] if asked.terminal.json else [pe.headline for pe in target.tables]
    if question.first is None:
        _write_lines(heads)
    with _watched(question, target, quiet=asked.terminal.quiet):
        result = _results(question, target, asked, folder)
    if question.first is not None:
        _write_lines([f"{line} · {question.first(result)}" for line in heads])
    notes = list(
        dict.fromkeys([*(note for pe in target.tables for note in pe.notes), *result.notes])
    )
    _print(question, result, notes, asked.terminal)
    return {**_described(target), **question.told(result), "notes": notes}


def _watched(question: Question, target: Target, *, quiet: bool) -> AbstractContextManager[None]:
    """Return a context that tells on a terminal how long it takes; some questions tell more."""
    if question.is_of_checkpoint:
        return nullcontext()
    return working(f"{question.name} of {target.tables[0].family}", quiet=quiet)


def _results(question: Question, target: Target, asked: Asked, folder: OutputFolder) -> Any:
    """Ask, draw and write; the numbers are computed here too, where somebody watches the time."""
    result = question.ask(target.asked)
    result.summary()
    if not asked.drawing.no_figures:
        _draw(question, result, target.suffix, asked.drawing, folder)
    if asked.data.save_data:
        _save(question, result, target.suffix, folder)
    return result


def _print(question: Question, result: Any, notes: Sequence[str], terminal: Terminal) -> None:
    if terminal.quiet:
        return
    for line in () if terminal.json else question.lines(result):
        write_line(line)
    for note in notes:
        complain(f"Note: {note}")


def _draw(
    question: Question, result: Any, suffix: str, drawing: Drawing, folder: OutputFolder
) -> None:
    from pe_inspect.figures.saving import save

    for stem, figure in _figures(question, result, drawing):
        write = partial(save, figure, format=drawing.format, dpi=drawing.dpi)
        folder.write(f"{stem}{suffix}.{drawing.format}", write)


def _figures(question: Question, result: Any, drawing: Drawing) -> Iterator[tuple[str, Any]]:
    from pe_inspect.figures import drawings, drawings_each

    yield from drawings[question.name](result, **question.draw).items()
    if getattr(drawing, "each", False):
        yield from drawings_each[question.name](result, **question.draw)


def _save(question: Question, result: Any, suffix: str, folder: OutputFolder) -> None:
    for extension, write in question.data.items():
        folder.write(f"{question.name}{suffix}{extension}", partial(write, result))


def _whole(
    question: Question,
    subject: NamedCheckpoint,
    entries: Sequence[dict[str, Any]],
    folder: OutputFolder,
) -> dict[str, Any]:
    """Return the JSON object: the first answer on top, then every embedding, with its own answer.

    What was asked of the whole checkpoint is told once, on top.
    """
    first = next(entry for entry in entries if "error" not in entry)
    top: dict[str, Any] = {name: first[name] for name in ("parameters", "summary", "notes")}
    keys: list[str] = list(first.get("keys", ()))
    if question.is_of_checkpoint:
        top, keys = first, [key for pe in subject.tables[:1] for key in pe.keys]
        entries = [as_json(pe) for pe in subject.tables]
    return {
        "question": question.name,
        "source": subject.checkpoint.source,
        "sha256": subject.checkpoint.sha256,
        "format": subject.checkpoint.format,
        "keys": keys,
        **top,
        "embeddings": list(entries),
        "written": [str(path) for path in folder.written],
        "versions": versions(),
        "command": command_line(),
    }
