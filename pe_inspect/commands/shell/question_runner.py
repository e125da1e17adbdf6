"""What every question's command does: open, plan, ask, draw, write, print."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, Final, TypeAlias

import typer

from pe_inspect.checkpoint_files import REPORTS
from pe_inspect.commands.shell.describe import (
    aligned,
    as_json,
    command_line,
    number,
    versions,
)
from pe_inspect.commands.shell.explaining import defined_by, explained
from pe_inspect.commands.shell.opening import NamedCheckpoint, open_subject
from pe_inspect.commands.shell.options import Asked, Drawing, Output, Terminal
from pe_inspect.commands.shell.tables import FORMATS, layer_lines, records
from pe_inspect.commands.shell.tables import write_csv as write_table
from pe_inspect.commands.shell.terminal import complain, note, working, write_json, write_lines
from pe_inspect.errors import AmbiguousCheckpoint, OutputError, PEInspectError, UsageError
from pe_inspect.files import OutputFolder

__all__ = [
    "CommandRun",
    "Question",
    "Target",
    "answer",
    "carry_out",
    "nothing",
    "output_folder",
    "parameters_and_summary",
    "summary_lines",
    "write_arrays",
    "write_table",
]

Writer: TypeAlias = Callable[[Any, IO[bytes]], Any]
TABLE: Final = ".csv"  # what --table-format writes otherwise


def summary_lines(result: Any) -> list[str]:
    """Return the numbers of a result, one a line; those of layers, where a terminal is wide."""
    found: dict[str, float] = result.summary()
    words = {name: "undefined" if math.isnan(x) else number(x) for name, x in found.items()}
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    return [*aligned(words), *layer_lines(result, width)]


def parameters_and_summary(result: Any) -> dict[str, Any]:
    """Return what the JSON object holds of every result."""
    return {
        "parameters": result.parameters,
        "summary": result.summary(),
        "definitions": defined_by(result),
    }


def notes_of(result: Any) -> Iterable[str]:
    """Return the notes that a result carries."""
    notes: Iterable[str] = result.notes
    return notes


def nothing(_: Any) -> tuple[()]:
    """Return no lines, of any result."""
    return ()


def done(_: Any) -> int:
    """Return the exit code 0, of any result."""
    return 0


@dataclass(frozen=True)
class Question:
    """One question: how it is asked and drawn, what it writes, prints and ends with.

    Attributes:
        name: the word that names it everywhere; every figure of it begins with this word.
        ask: the library call: of what a target holds.
        data: what `--save-data` writes: file extension → writer of (result, file).
        draw: options of its figures.
        figures: how the names of its figures go on after that word; `*` stands for any letters;
            none where it has no figures.
        pages: what is written of every result: file name → writer of (result, file).
        first: what the first line adds to that of the target, where only the answer tells it.
        lines: what is printed of a result.
        quiet_lines: what a quiet run prints of it.
        notes: what was assumed, corrected or left out, in words.
        told: what the JSON object holds of a result.
        whole: what the whole JSON object holds beside the entries.
        made: files that were made besides those of the question's folder.
        last: what is printed before the files.
        code: the exit code, by the result.
        is_of_checkpoint: whether it is asked once, of the whole checkpoint, which may hold no
            embedding; else of each embedding.
        is_told: whether asking tells by itself how far it is; else the seconds are counted.
    """

    name: str
    ask: Callable[[Any], Any]
    data: dict[str, Writer] = field(default_factory=dict)
    draw: dict[str, Any] = field(default_factory=dict)
    figures: tuple[str, ...] = ("", "_*")
    pages: dict[str, Writer] = field(default_factory=dict)
    first: Callable[[Any], str] | None = None
    lines: Callable[[Any], Iterable[str]] = summary_lines
    quiet_lines: Callable[[Any], Iterable[str]] = nothing
    notes: Callable[[Any], Iterable[str]] = notes_of
    told: Callable[[Any], dict[str, Any]] = parameters_and_summary
    whole: dict[str, Any] = field(default_factory=dict)
    made: tuple[Path, ...] = ()
    last: tuple[str, ...] = ()
    code: Callable[[Any], int] = done
    is_of_checkpoint: bool = False
    is_told: bool = False


@dataclass(frozen=True)
class Target:
    """What a question is asked of, once.

    Attributes:
        asked: an embedding, a checkpoint, several of them, or a folder.
        headlines: what is printed first: what was found there.
        notes: guesses and corrections made while it was read.
        described: what the JSON object says of it, beside the answer.
        suffix: what is added to the names of its files.
        name: what tells it from other targets of the same run.
    """

    asked: Any
    headlines: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    described: dict[str, Any] = field(default_factory=dict)
    suffix: str = ""
    name: str = ""


@dataclass(frozen=True)
class CommandRun:
    """One question, asked of its targets, and where its files go.

    Attributes:
        question: what is asked.
        asked: what was typed.
        folder: where files go.
        targets: what it is asked of.
        content: what the JSON object is made of: the entries of all targets → the object.
    """

    question: Question
    asked: Asked
    folder: OutputFolder
    targets: tuple[Target, ...]
    content: Callable[[Sequence[dict[str, Any]]], dict[str, Any]]


def write_arrays(result: Any, file: IO[bytes], **more: Any) -> None:
    """Write the columns of the result's data frame as arrays of their names, and more arrays."""
    import numpy as np

    for name, column in result.to_frame().items():
        more[name] = np.array(column.tolist())
    np.savez(file, **more)


def output_folder(output: Output, name: str) -> OutputFolder:
    """Return the folder of --out, else reports/<checkpoint name>/."""
    return OutputFolder(output.out if output.out is not None else REPORTS / name, output.force)


def answer(question: Question, asked: Asked, subject: NamedCheckpoint | None = None) -> None:
    """Ask one question of a checkpoint, write its files, and print the answers.

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
    targets = tuple(_targets(question, subject))
    carry_out(CommandRun(question, asked, folder, targets, partial(_whole, question, subject)))


def carry_out(run: CommandRun) -> None:
    """Claim the names of files, ask every target, write, print; end with the question's code.

    Raises:
        OutputError: a file that is not ours would be overwritten, or nothing can be written.
        UsageError: the question applies to none of the targets.
        typer.Exit: with another code than 0, where the question has one.
    """
    names = list(_names(run))
    if names:
        run.folder.claim_matching(names)
    entries, code = _entries(run)
    run.folder.written += run.question.made
    written = run.folder.written
    if run.asked.terminal.json:
        content = run.content(entries)
        write_json({**content, "written": content.get("written", written), "versions": versions(),
                    "command": command_line(), **run.question.whole})  # fmt: skip
    else:
        write_lines([*run.question.last, *(f"Wrote {path}" for path in written)])
    if code:
        raise typer.Exit(code)


def _entries(run: CommandRun) -> tuple[list[dict[str, Any]], int]:
    """Answer for every target; where the question does not apply to one, that is its entry.

    Returns:
        What the JSON object holds of each target, and the greatest exit code.

    Raises:
        UsageError: it applies to none of them.
    """
    entries, codes = [], [0]
    refusals = list[PEInspectError]()
    for target in run.targets:
        try:
            entry, code = _ask(run, target)
            entries.append(entry)
            codes.append(code)
        except OutputError:
            raise
        except (UsageError, AmbiguousCheckpoint) as error:  # this target has no answer
            entries.append({**target.described, "error": str(error)})
            refusals.append(error)
    if len(refusals) == len(entries):
        raise refusals[0]
    for refusal in refusals:
        complain(f"Note: {refusal}")
    return entries, max(codes)


def _targets(question: Question, subject: NamedCheckpoint) -> Iterator[Target]:
    """Yield the whole checkpoint, or each of its embeddings."""
    if question.is_of_checkpoint:
        headlines = tuple(pe.headline for pe in subject.tables)
        notes = tuple(note for pe in subject.tables for note in pe.notes)
        yield Target(subject.checkpoint, headlines, notes)
        return
    for pe, suffix in zip(subject.tables, subject.suffixes()):
        yield Target(pe, (pe.headline,), pe.notes, as_json(pe), suffix, pe.family)


def _names(run: CommandRun) -> Iterator[str]:
    """Yield the names of all files that this run can write, or patterns of them."""
    question, drawing = run.question, run.asked.drawing
    each = ("_*",) if getattr(drawing, "each", False) else ()
    figures = () if drawing.no_figures else (*question.figures, *each)
    for target in run.targets:
        for ending in figures:
            yield f"{question.name}{ending}{target.suffix}.{drawing.format}"
        for ending, _ in _data_files(run):
            yield f"{question.name}{target.suffix}{ending}"
    yield from question.pages


def _ask(run: CommandRun, target: Target) -> tuple[dict[str, Any], int]:
    """Answer for one target; return its entry in the JSON object, and the exit code."""
    question, terminal = run.question, run.asked.terminal
    headlines = () if terminal.json else target.headlines
    if question.first is None:
        write_lines(headlines)
    with _watched(question, target, quiet=terminal.quiet):
        result, told = _results(run, target)
    if question.first is not None:
        write_lines([f"{line} · {question.first(result)}" for line in headlines])
    notes = list(dict.fromkeys([*target.notes, *question.notes(result)]))
    _print(question, result, notes, terminal)
    rows = {"rows": records(result)} if terminal.json and hasattr(result, "to_frame") else {}
    return {**target.described, **told, **rows, "notes": notes}, question.code(result)


def _watched(question: Question, target: Target, *, quiet: bool) -> AbstractContextManager[None]:
    """Return a context that counts the seconds on a terminal, where asking tells nothing."""
    if question.is_told:
        return nullcontext()
    what = f"{question.name} of {target.name}" if target.name else question.name
    return working(what, quiet=quiet)


def _results(run: CommandRun, target: Target) -> tuple[Any, dict[str, Any]]:
    """Ask, draw and write; return the result, and its numbers for the JSON object.

    The numbers are computed here too, where somebody watches the time.
    """
    question, asked = run.question, run.asked
    result = question.ask(target.asked)
    told = question.told(result)
    if question.figures and not asked.drawing.no_figures:
        _draw(run, result, target.suffix)
    for ending, write in _data_files(run):
        run.folder.write(f"{question.name}{target.suffix}{ending}", partial(write, result))
    for name, write in question.pages.items():
        run.folder.write(name, partial(write, result))
    return result, told


def _data_files(run: CommandRun) -> Iterator[tuple[str, Writer]]:
    """Yield the ending and the writer of every file of numbers; tables in the format asked for."""
    data = run.asked.data
    for ending, write in run.question.data.items():
        if ending == TABLE and data.table_format not in (None, "csv"):
            yield FORMATS[data.table_format]
        elif data.save_data or (ending == TABLE and data.table_format is not None):
            yield ending, write


def _print(question: Question, result: Any, notes: Sequence[str], terminal: Terminal) -> None:
    lines = (question.quiet_lines if terminal.quiet else question.lines)(result)
    if terminal.explain:
        lines = explained(lines, defined_by(result))
    write_lines(() if terminal.json else lines)
    for each in notes:
        note(each, quiet=terminal.quiet)


def _draw(run: CommandRun, result: Any, suffix: str) -> None:
    from pe_inspect.figures.saving import save

    drawing = run.asked.drawing
    for stem, figure in _figures(run.question, result, drawing):
        write = partial(save, figure, format=drawing.format, dpi=drawing.dpi)
        run.folder.write(f"{stem}{suffix}.{drawing.format}", write)


def _figures(question: Question, result: Any, drawing: Drawing) -> Iterator[tuple[str, Any]]:
    from pe_inspect.figures import drawn, drawn_each

    chosen = drawing.look()
    yield from drawn(question.name, result, chosen, **question.draw)
    if getattr(drawing, "each", False):
        yield from drawn_each(question.name, result, chosen, **question.draw)


def _whole(
    question: Question, subject: NamedCheckpoint, entries: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Return the JSON object: the first answer on top, then every embedding, with its own answer.

    What was asked of the whole checkpoint is told once, on top.
    """
    first = next(entry for entry in entries if "error" not in entry)
    if question.is_of_checkpoint:
        top, keys = first, [key for pe in subject.tables[:1] for key in pe.keys]
        entries = [as_json(pe) for pe in subject.tables]
    else:
        names = ("parameters", "summary", "definitions", "rows", "notes")
        top = {name: first[name] for name in names if name in first}
        keys = list(first.get("keys", ()))
    return {
        "question": question.name,
        "source": subject.checkpoint.source,
        "sha256": subject.checkpoint.sha256,
        "format": subject.checkpoint.format,
        "keys": keys,
        **top,
        "embeddings": list(entries),
    }
