"""`--write`: the checkpoint itself at another resolution, and what is told of it."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pe_inspect.commands.shell.describe import as_json, command_line, versions
from pe_inspect.commands.shell.terminal import complain, working, write_json, write_line
from pe_inspect.errors import UsageError

if TYPE_CHECKING:
    from pe_inspect.baking.bake import Baked
    from pe_inspect.commands.shell.opening import NamedCheckpoint
    from pe_inspect.commands.shell.options import Terminal

__all__ = ["check_apart", "tell_baked", "tell_idle", "write_checkpoint"]

_OWN_FILES: Final = "interpolate[._]*"  # figures, data, and those of further embeddings


def check_apart(write: Path | None, folder: Path, source: str) -> None:
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
