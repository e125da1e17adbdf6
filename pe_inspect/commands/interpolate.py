"""`pe-inspect interpolate`: the embedding at another resolution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from pe_inspect.commands.shell import QUESTIONS, command
from pe_inspect.commands.shell.checkpoint_writing import (
    check_files,
    tell_baked,
    tell_idle,
    write_checkpoint,
)
from pe_inspect.commands.shell.interpolate_options import ResamplingOptions
from pe_inspect.commands.shell.interpolate_text import by_method, side_by_side, tell_methods
from pe_inspect.commands.shell.opening import open_for_resizing
from pe_inspect.commands.shell.options import Asked, Data, Query, Resize
from pe_inspect.commands.shell.question_runner import (
    Question,
    answer,
    summary_lines,
    write_table,
)

if TYPE_CHECKING:
    from pe_inspect.analysis.interpolate import InterpolationResult
    from pe_inspect.baking.bake import Baked
    from pe_inspect.kinds.position_embedding import PositionEmbedding

Files: TypeAlias = dict[str, Callable[[Any, IO[bytes]], Any]]


@command("interpolate", panel=QUESTIONS)
def interpolate(resize: Resize, query: Query, asked: Asked, resampling: ResamplingOptions) -> None:
    """The embedding at another resolution, and what resampling does to it."""
    if resampling.method == "list":
        tell_methods(as_json=asked.terminal.json)
        return
    resampling.check(resize.arguments())
    from pe_inspect.analysis.interpolate import check_request
    from pe_inspect.resampling.refusals import needs_nothing

    subject, quiet = open_for_resizing(asked), asked.terminal.quiet
    size = {**resize.arguments(), "patch_size": asked.reading.patch()}
    options = {"method": resampling.method, **size}
    ask = partial(_ask, subject.tables, query, resampling, options)
    data = _data(save=asked.data.save_data, matrix=resampling.matrix)
    idle = [needs_nothing(pe) for pe in subject.tables]
    if all(idle):
        check_request(subject.tables, resampling.method, size.get("res"), size["patch_size"])
    else:
        check_files(subject, ask, data, asked, resampling.write)
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


def _data(*, save: bool, matrix: bool) -> Files:
    """Return the data files that were asked for: extension → writer."""
    files: Files = {}
    if save:
        files = {".npz": lambda result, file: result.save_npz(file), ".csv": write_table}
    if matrix:
        files["_matrices.npz"] = lambda result, file: result.save_matrices(file)
    return files
