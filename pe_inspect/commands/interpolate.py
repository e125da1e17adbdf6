"""`pe-inspect interpolate`: the embedding at another resolution."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from textwrap import wrap
from typing import IO, TYPE_CHECKING, Annotated, Any, Final

import typer

from pe_inspect.commands.shell import QUESTIONS, command
from pe_inspect.commands.shell.describe import as_json, command_line, number, table, versions
from pe_inspect.commands.shell.options import Asked, Data, Drawing, Query, Resize, Terminal
from pe_inspect.commands.shell.question_runner import (
    OpenedCheckpoint,
    Question,
    answer,
    open_subject,
    output_folder,
    parameters_and_summary,
    summary_lines,
    write_table,
)
from pe_inspect.commands.shell.terminal import complain, working, write_json, write_line
from pe_inspect.errors import UsageError

if TYPE_CHECKING:
    from pe_inspect.analysis.interpolate import InterpolationResult
    from pe_inspect.baking.bake import Baked
    from pe_inspect.kinds.position_embedding import PositionEmbedding

_Method = Annotated[
    str,
    typer.Option(
        "--method",
        metavar="NAME",
        help="One, several with commas, or all; `list` prints what each does (default: native).",
        show_default=False,
        rich_help_panel="What to show",
    ),
]
_Matrix = Annotated[
    bool,
    typer.Option(
        "--matrix",
        metavar="",
        help="Write the matrices of rows and columns, W_h and W_w, of every separable method.",
        show_default=False,
        rich_help_panel="Files",
    ),
]
_Write = Annotated[
    Path | None,
    typer.Option(
        "--write",
        metavar="FILE",
        help="Write the checkpoint itself at this resolution: its own format and names, tables, "
        "index buffers and config.json resampled, all else byte by byte. Of a folder, a folder.",
        show_default=False,
        rich_help_panel="Files",
    ),
]
_Renormalise = Annotated[
    bool,
    typer.Option(
        "--renormalise",
        metavar="",
        help="With --write: give new rows the lengths that the old ones have, by rank.",
        show_default=False,
        rich_help_panel="Files",
    ),
]
_INDENT: Final = "  "
_OWN_FILES: Final = "interpolate[._]*"  # figures, data, and those of further embeddings
_NARROWEST: Final = 40
_WIDEST: Final = 1000  # of what is no terminal
_COLUMNS: Final = (
    ("norm ratio", "norm_ratio"),
    ("structure", "structure_correlation"),
    ("round trip", "round_trip_error"),
    ("off native", "difference_to_native"),
)


@command("interpolate", panel=QUESTIONS)
def interpolate(
    resize: Resize,
    query: Query,
    asked: Asked,
    method: _Method = "native",
    matrix: _Matrix = False,
    write: _Write = None,
    renormalise: _Renormalise = False,
) -> None:
    """The embedding at another resolution, and what resampling does to it."""
    if method == "list":
        _list_methods(as_json=asked.terminal.json)
        return
    if not resize.is_given:
        raise UsageError("To which size? Pass --res 384 (pixels) or --grid 24x24 (patches).")
    if renormalise and write is None:
        raise UsageError("--renormalise is about the file that --write makes. Pass --write FILE.")
    from pe_inspect.resampling.refusals import needs_nothing

    subject = _opened(asked)
    ask = partial(
        _ask, subject.tables, resize=resize, query=query, asked=asked, method=method, matrix=matrix
    )
    idle = [needs_nothing(pe) for pe in subject.tables]
    data = _data(save=asked.data.save_data, matrix=matrix)
    if all(idle):
        _check_words(subject, resize, asked, method)
    elif data or not asked.drawing.no_figures:
        folder = output_folder(asked.output, subject.name)
        folder.claim_matching(_own_names(data, asked.drawing))
        _check_apart(write, folder.path, subject.checkpoint.source)
    if write is not None and not all(idle):
        _check_answer(subject, ask)
    baked = None if write is None else _bake(subject, write, resize, asked, method, renormalise)
    if all(idle):
        _say(subject, baked, list(dict.fromkeys(idle)), asked.terminal)
        return
    question = Question(
        "interpolate",
        ask,
        data,
        {"token": query.query()},
        lines=lambda result: [*summary_lines(result), *_side_by_side(result)],
        told=_by_method,
        whole={} if baked is None else {"baked": _as_json(baked)},
        made=() if baked is None or baked.path is None else (baked.path,),
    )
    if baked is not None:
        _complain(baked, quiet=asked.terminal.quiet)
    answer(question, replace(asked, data=Data(save_data=bool(data))), subject)


def _ask(
    model: Sequence[PositionEmbedding],
    pe: PositionEmbedding,
    *,
    resize: Resize,
    query: Query,
    asked: Asked,
    method: str,
    matrix: bool,
) -> InterpolationResult:
    from pe_inspect.analysis.interpolate import interpolate as ask

    size, patch = resize.arguments(), asked.reading.patch()
    result: InterpolationResult = ask(
        pe, **size, patch_size=patch, method=method, token=query.query(), model=model
    )
    if matrix:
        result.separable()  # what has none is refused before anything is drawn
    return result


def _own_names(data: Iterable[str], drawing: Drawing) -> list[str]:
    """Return patterns of the names that figures and data of this run can have."""
    formats = [] if drawing.no_figures else [f".{drawing.format}"]
    return [f"interpolate*{ending}" for ending in (*formats, *data)]


def _check_apart(write: Path | None, folder: Path, source: str) -> None:
    """Stop where the checkpoint would take the place of a figure, or of the folder of figures.

    Raises:
        UsageError: with both.
    """
    if write is None:
        return
    made, own = write.parent.resolve() / write.name, folder.resolve()
    is_own = made.parent == own and fnmatchcase(made.name, _OWN_FILES)
    if is_own or (made in (own, *own.parents) and not Path(source).is_dir()):
        raise UsageError(
            f"--write {write} is a place where figures and data of this question go: --out is "
            f"{folder}. Pass another --write, or another --out."
        )


def _check_answer(subject: OpenedCheckpoint, ask: Callable[[PositionEmbedding], Any]) -> None:
    """Stop before a file is written where no embedding has an answer.

    Raises:
        UsageError: that of the first.
    """
    refusals = []
    for pe in subject.tables:
        try:
            ask(pe)
        except UsageError as error:
            refusals.append(error)
    if len(refusals) == len(subject.tables):
        raise refusals[0]


def _check_words(subject: OpenedCheckpoint, resize: Resize, asked: Asked, method: str) -> None:
    """Stop at words that mean nothing, also where nothing is to be done.

    Raises:
        UsageError: an unknown method, or an image that no whole number of patches fills.
    """
    from pe_inspect.analysis.interpolate import named
    from pe_inspect.resampling.target_grid import check_divisible

    named(method)
    res = resize.arguments().get("res")
    for pe in subject.tables:
        patch = asked.reading.patch() or pe.patch_size
        if res is not None and patch is not None:
            check_divisible(res, patch)


def _opened(asked: Asked) -> OpenedCheckpoint:
    """Open the checkpoint; --patch-size is the new patch here, and no claim about the file's.

    Where the file has no kernel that shows its patch, it says that too.
    """
    reading, patch = asked.reading, asked.reading.patch()
    plain = replace(reading, patch_size=None)
    if patch is None:
        return open_subject(asked.source, reading, asked.terminal, with_sha256=asked.terminal.json)
    subject = open_subject(asked.source, plain, asked.terminal, with_sha256=asked.terminal.json)
    if all(pe.patch_size is None for pe in subject.tables):
        return open_subject(asked.source, reading, asked.terminal, with_sha256=asked.terminal.json)
    return subject


def _bake(
    subject: OpenedCheckpoint,
    path: Path,
    resize: Resize,
    asked: Asked,
    method: str,
    renormalise: bool,
) -> Baked:
    from pe_inspect.baking.bake import bake

    arguments = _bake_arguments(resize, asked, method, renormalise)
    with working(f"writing {path}", quiet=asked.terminal.quiet):
        baked = bake(subject.checkpoint, path, **arguments)
    if baked.path is None:
        _check_missing(subject, baked, path)
    return baked


def _bake_arguments(resize: Resize, asked: Asked, method: str, renormalise: bool) -> dict[str, Any]:
    return {
        **resize.arguments(),
        "patch_size": asked.reading.patch(),
        "method": method,
        "renormalise": renormalise,
        "force": asked.output.force,
    }


def _check_missing(subject: OpenedCheckpoint, baked: Baked, path: Path) -> None:
    """Stop where no file was made, and the one that was asked for would be missed.

    Raises:
        UsageError: the checkpoint is at that size already, or an older file stands in that place.
    """
    from pe_inspect.resampling.refusals import needs_nothing

    source, (rows, columns) = subject.checkpoint.source, baked.grid_size
    if baked.grid_size == baked.before and not all(map(needs_nothing, subject.tables)):
        raise UsageError(
            f"Nothing was written to {path}: {source} is at {rows}×{columns} patches already, and "
            "no tensor changes. Use it as it is, or pass another --res or --grid."
        )
    if path.exists():
        raise UsageError(
            f"Nothing was written to {path}, and what stands there stays: {source} serves "
            "this size as it is. Use that, or copy it."
        )


def _as_json(baked: Baked) -> dict[str, Any]:
    return {
        "written": None if baked.path is None else str(baked.path),
        "grid_size": list(baked.grid_size),
        "from_grid_size": list(baked.before),
        "tensors": {
            name: {"from": list(before), "to": list(after)}
            for name, (before, after) in baked.changed.items()
        },
        "notes": list(baked.notes),
    }


def _complain(baked: Baked, *, quiet: bool) -> None:
    """Tell the notes; also a quiet run says that there is no file."""
    notes = baked.notes[-1:] if quiet and baked.path is None else () if quiet else baked.notes
    for note in notes:
        complain(f"Note: {note}")


def _say(
    subject: OpenedCheckpoint, baked: Baked | None, why: list[str], terminal: Terminal
) -> None:
    """Say what becomes of a checkpoint in which nothing is resampled."""
    notes = why if baked is None else list(baked.notes)
    written = [] if baked is None or baked.path is None else [str(baked.path)]
    if baked is not None:
        _complain(baked, quiet=terminal.quiet)
    for note in () if terminal.quiet or baked is not None else why:
        complain(f"Note: {note}")
    if terminal.json:
        write_json({
            "question": "interpolate",
            "source": subject.checkpoint.source,
            "embeddings": [as_json(pe) for pe in subject.tables],
            **({} if baked is None else {"baked": _as_json(baked)}),
            "notes": notes,
            "written": written,
            "versions": versions(),
            "command": command_line(),
        })  # fmt: skip
        return
    for line in (*(pe.headline for pe in subject.tables), *(f"Wrote {path}" for path in written)):
        write_line(line)


def _data(*, save: bool, matrix: bool) -> dict[str, Callable[[Any, IO[bytes]], Any]]:
    """Return the data files that were asked for: extension → writer."""
    files: dict[str, Callable[[Any, IO[bytes]], Any]] = {}
    if save:
        files = {".npz": lambda result, file: result.save_npz(file), ".csv": write_table}
    if matrix:
        files["_matrices.npz"] = lambda result, file: result.save_matrices(file)
    return files


def _side_by_side(result: InterpolationResult) -> Iterator[str]:
    """Yield the lines that compare methods, one a plain method, where there are several."""
    if len(result.methods) < 2:
        return
    rows = [["method", *(head for head, _ in _COLUMNS), "also"], *_compared(result)]
    width = shutil.get_terminal_size((_WIDEST, 24)).columns - len(_INDENT)
    lines = table(rows)
    if max(map(len, lines)) > width:
        lines = list(_below_each_other(rows, width))
    yield ""
    yield from (f"{_INDENT}{line}" for line in lines)


def _compared(result: InterpolationResult) -> Iterator[list[str]]:
    """Yield a row a plain method: its measures, and the other names that it has here."""
    for plain in dict.fromkeys(result.rules.values()):
        names = [name for name in result.methods if result.rules[name] == plain]
        means = result.means(names[0])
        values = (means.get(measure, float("nan")) for _, measure in _COLUMNS)
        others = ", ".join(name for name in names if name != plain)
        yield [plain, *map(number, values), others]


def _below_each_other(rows: list[list[str]], width: int) -> Iterator[str]:
    """Yield each method's names on lines of their own, and its numbers below them."""
    numbers = table([["", *row[1:-1]] for row in rows])
    for (name, *_, others), line in zip(rows, numbers):
        names = f"{name} ({others})" if others else name
        yield from wrap(names, width, subsequent_indent=2 * _INDENT, break_on_hyphens=False)
        yield line


def _by_method(result: InterpolationResult) -> dict[str, Any]:
    methods = {name: {"rule": result.rules[name], **result.means(name)} for name in result.methods}
    return {**parameters_and_summary(result), "methods": methods}


def _list_methods(*, as_json: bool) -> None:
    from pe_inspect.analysis.interpolate import METHODS

    if as_json:
        write_json({"methods": [{"name": name, "does": text} for name, text in METHODS.items()]})
        return
    width = max(_NARROWEST, shutil.get_terminal_size((_WIDEST, 24)).columns)
    for name, text in METHODS.items():
        write_line(name)
        for line in wrap(text, width - 4, break_long_words=False, break_on_hyphens=False):
            write_line(f"{2 * _INDENT}{line}")
