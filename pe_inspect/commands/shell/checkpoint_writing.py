"""`--write`: the checkpoint itself at another resolution, and what is told of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pe_inspect.commands.shell.describe import as_json, command_line, versions
from pe_inspect.commands.shell.question_runner import output_folder
from pe_inspect.commands.shell.terminal import complain, working, write_json, write_line
from pe_inspect.errors import UsageError

if TYPE_CHECKING:
    from pe_inspect.baking.bake import Baked
    from pe_inspect.commands.shell.opening import NamedCheckpoint
    from pe_inspect.commands.shell.options import Asked, Drawing, Terminal

__all__ = ["check_files", "tell_baked", "tell_idle", "write_checkpoint"]

_OWN_FILES: Final = "interpolate[._]*"  # figures, data, and those of further embeddings


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


def check_files(
    subject: NamedCheckpoint,
    ask: Callable[[Any], Any],
    data: Collection[str],
    asked: Asked,
    write: Path | None,
) -> None:
    """Stop before a file is written where it cannot lie, or where no embedding has an answer.

    Args:
        subject: the checkpoint.
        ask: the question, of one embedding.
        data: the extensions of the data files that will be written.
        asked: what was typed.
        write: where the checkpoint itself is to be written, if at all.

    Raises:
        OutputError: a file that is not ours would be overwritten.
        UsageError: the checkpoint would take the place of a figure, or nothing has an answer.
    """
    from pe_inspect.front.refusals import refusals_of

    if data or not asked.drawing.no_figures:
        folder = output_folder(asked.output, subject.name)
        folder.claim_matching(_own_names(data, asked.drawing))
        _check_apart(write, folder.path, subject.checkpoint.source)
    if write is not None:
        refusals_of(ask, subject.tables)


def _own_names(data: Iterable[str], drawing: Drawing) -> list[str]:
    """Return patterns of the names that figures and data of this run can have."""
    formats = [] if drawing.no_figures else [f".{drawing.format}"]
    return [f"interpolate*{ending}" for ending in (*formats, *data)]


def write_checkpoint(
    subject: NamedCheckpoint, path: Path | None, *, quiet: bool, **options: Any
) -> Baked | None:
    """Write the checkpoint, if that was asked for.

    Raises:
        UsageError: no file was made, and the one that was asked for would be missed.
    """
    from pe_inspect.baking.bake import bake, refuse_if_missed

    if path is None:
        return None
    with working(f"writing {path}", quiet=quiet):
        baked = bake(subject.checkpoint, path, **options)
    refuse_if_missed(baked, subject.checkpoint, path, subject.tables)
    return baked


def tell_baked(baked: Baked | None, *, quiet: bool) -> None:
    """Tell the notes; also a quiet run says that there is no file."""
    if baked is None:
        return
    notes = baked.notes[-1:] if quiet and baked.path is None else () if quiet else baked.notes
    for note in notes:
        complain(f"Note: {note}")


def tell_idle(
    subject: NamedCheckpoint, baked: Baked | None, why: list[str], terminal: Terminal
) -> None:
    """Say what becomes of a checkpoint in which nothing is resampled."""
    notes = why if baked is None else list(baked.notes)
    written = [] if baked is None or baked.path is None else [str(baked.path)]
    tell_baked(baked, quiet=terminal.quiet)
    for note in () if terminal.quiet or baked is not None else why:
        complain(f"Note: {note}")
    if terminal.json:
        write_json({
            "question": "interpolate",
            "source": subject.checkpoint.source,
            "embeddings": [as_json(pe) for pe in subject.tables],
            **({} if baked is None else {"baked": baked.as_dict()}),
            "notes": notes,
            "written": written,
            "versions": versions(),
            "command": command_line(),
        })  # fmt: skip
        return
    for line in (*(pe.headline for pe in subject.tables), *(f"Wrote {path}" for path in written)):
        write_line(line)
