"""`pe-inspect interpolate`: the embedding at another resolution."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from pe_inspect.commands.shell import QUESTIONS, command
from pe_inspect.commands.shell.checkpoint_writing import (
    check_apart,
    tell_baked,
    tell_idle,
    write_checkpoint,
)
from pe_inspect.commands.shell.interpolate_options import ResamplingOptions
from pe_inspect.commands.shell.interpolate_text import by_method, method_lines, side_by_side
from pe_inspect.commands.shell.opening import NamedCheckpoint, open_subject
from pe_inspect.commands.shell.options import Asked, Data, Drawing, Query, Resize
from pe_inspect.commands.shell.question_runner import (
    Question,
    answer,
    output_folder,
    summary_lines,
    write_table,
)
from pe_inspect.commands.shell.terminal import write_json, write_line

if TYPE_CHECKING:
    from pe_inspect.analysis.interpolate import InterpolationResult
    from pe_inspect.baking.bake import Baked
    from pe_inspect.kinds.position_embedding import PositionEmbedding

Files: TypeAlias = dict[str, Callable[[Any, IO[bytes]], Any]]


@command("interpolate", panel=QUESTIONS)
def interpolate(resize: Resize, query: Query, asked: Asked, resampling: ResamplingOptions) -> None:
    """The embedding at another resolution, and what resampling does to it."""
    if resampling.method == "list":
        _list_methods(as_json=asked.terminal.json)
        return
    resampling.check(resize.arguments())
    from pe_inspect.analysis.interpolate import check_request
    from pe_inspect.resampling.refusals import needs_nothing

    subject, quiet = _opened(asked), asked.terminal.quiet
    size = {**resize.arguments(), "patch_size": asked.reading.patch()}
    options = {"method": resampling.method, **size}
    ask = partial(_ask, subject.tables, query, resampling, options)
    data = _data(save=asked.data.save_data, matrix=resampling.matrix)
    idle = [needs_nothing(pe) for pe in subject.tables]
    if all(idle):
        check_request(subject.tables, resampling.method, size.get("res"), size["patch_size"])
    else:
        _check_files(subject, ask, data, asked, resampling)
    whole = {"renormalise": resampling.renormalise, "force": asked.output.force}
    baked = write_checkpoint(subject, resampling.write, quiet=quiet, **options, **whole)
    if all(idle):
        tell_idle(subject, baked, list(dict.fromkeys(idle)), asked.terminal)
        return
    tell_baked(baked, quiet=quiet)
    asked = replace(asked, data=Data(save_data=bool(data)))
    answer(_question(ask, data, query, baked), asked, subject)


def _ask(
    model: Sequence[PositionEmbedding],
    query: Query,
    resampling: ResamplingOptions,
    options: dict[str, Any],
    pe: PositionEmbedding,
) -> InterpolationResult:
    from pe_inspect.analysis.interpolate import interpolate as ask

    result: InterpolationResult = ask(pe, token=query.query(), model=model, **options)
    if resampling.matrix:
        result.separable()  # what has none is refused before anything is drawn
    return result


def _question(
    ask: Callable[[Any], Any], data: Files, query: Query, baked: Baked | None
) -> Question:
    return Question(
        "interpolate",
        ask,
        data,
        {"token": query.query()},
        first=lambda result: result.change,
        lines=lambda result: [*summary_lines(result), *side_by_side(result)],
        told=by_method,
        whole={} if baked is None else {"baked": baked.as_dict()},
        made=() if baked is None or baked.path is None else (baked.path,),
        last=() if baked is None or baked.path is None else (f"{baked.path}: {baked.summary}",),
    )


def _check_files(
    subject: NamedCheckpoint,
    ask: Callable[[Any], Any],
    data: Files,
    asked: Asked,
    resampling: ResamplingOptions,
) -> None:
    """Stop before a file is written where it cannot lie, or where no embedding has an answer."""
    from pe_inspect.front.refusals import refusals_of

    if data or not asked.drawing.no_figures:
        folder = output_folder(asked.output, subject.name)
        folder.claim_matching(_own_names(data, asked.drawing))
        check_apart(resampling.write, folder.path, subject.checkpoint.source)
    if resampling.write is not None:
        refusals_of(ask, subject.tables)


def _own_names(data: Iterable[str], drawing: Drawing) -> list[str]:
    """Return patterns of the names that figures and data of this run can have."""
    formats = [] if drawing.no_figures else [f".{drawing.format}"]
    return [f"interpolate*{ending}" for ending in (*formats, *data)]


def _opened(asked: Asked) -> NamedCheckpoint:
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


def _data(*, save: bool, matrix: bool) -> Files:
    """Return the data files that were asked for: extension → writer."""
    files: Files = {}
    if save:
        files = {".npz": lambda result, file: result.save_npz(file), ".csv": write_table}
    if matrix:
        files["_matrices.npz"] = lambda result, file: result.save_matrices(file)
    return files


def _list_methods(*, as_json: bool) -> None:
    from pe_inspect.analysis.interpolate import METHODS

    if as_json:
        write_json({"methods": [{"name": name, "does": text} for name, text in METHODS.items()]})
        return
    for line in method_lines():
        write_line(line)
