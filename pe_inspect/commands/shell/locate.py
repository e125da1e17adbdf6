"""From CHECKPOINT as the user wrote it to a file or folder: paths, recipes, or the newest one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import urlsplit

from pe_inspect.checkpoint_files import (
    EXTRACTION,
    NAMELESS,
    SUFFIXES,
    WEIGHTS,
    checkpoint_name,
    is_checkpoint_folder,
    unfinished,
)
from pe_inspect.commands.shell.terminal import complain
from pe_inspect.errors import UnreadableCheckpoint, UsageError, refused_as

__all__ = ["Located", "locate", "newest"]

CHECKPOINTS: Final = Path("checkpoints")
SHARD: Final = re.compile(r".*-\d+-of-\d+$")
# What a run of ours keeps beside the checkpoint that it is read by.
COMPANIONS: Final = ("best.safetensors", "resume.safetensors")
# A clone or an unpacked archive writes all its files within moments: none of them is newer.
SAME_MOMENT: Final = 10.0  # seconds


@dataclass(frozen=True)
class Located:
    """Where a checkpoint is.

    Attributes:
        source: what `load` is given: a path, or a remote name as the user wrote it.
        name: what its reports are filed under.
        how: what was chosen for the user, in words; empty where the user chose.
    """

    source: str
    name: str
    how: str = ""


def locate(given: str | None, *, no_train: bool = False, quiet: bool = False) -> Located:
    """Find the checkpoint; a recipe that has none yet is trained first, unless `no_train`.

    Raises:
        UsageError: the recipe would have to be trained.
        UnreadableCheckpoint: there is no such file, folder or recipe.
    """
    with refused_as(UnreadableCheckpoint):
        found = _without_a_name() if given is None else _where_named(given)
    return found if isinstance(found, Located) else _trained(found, no_train, quiet)


def _where_named(given: str) -> Located | str:
    """Find what was named; return a recipe's name where its checkpoint is still to be made."""
    from pe_inspect.loading.byte_source import is_remote  # numpy: not for --help

    if is_remote(given):
        return Located(given, _remote_name(given))
    if given and Path(given).exists():
        return Located(given, checkpoint_name(Path(given)), _told(Path(given)))
    if _is_recipe(given):
        return _of_recipe(given)
    raise UnreadableCheckpoint(_missing(given))


def _remote_name(given: str) -> str:
    """Return what its reports are filed under: a URL's file, a name's last part."""
    if given.partition(":")[0].lower() not in ("http", "https"):
        return re.sub(r"[^\w.-]+", "_", given.partition(":")[2].rpartition("/")[2]) or "checkpoint"
    plain = re.sub(r"/(resolve|blob|tree)/[^/]+(?=/|$)", "", urlsplit(given).path)
    path = PurePosixPath(re.sub(r"[^\w./-]+", "_", plain))
    return (path.parent.name if NAMELESS.match(path.stem) else "") or path.stem or "checkpoint"


def newest(folder: Path = CHECKPOINTS, *, prefer: str = "") -> Path | None:
    """Return the newest checkpoint in `folder` or in a folder of it: a weight file, or a folder.

    Of those that were written in the same moment, the one called `prefer` is taken, then the first
    by name.
    """
    ages: dict[Path, float] = {}
    for path in _weight_files(folder):
        whole = path.parent if _is_part(path, folder) else path
        ages[whole] = max(path.stat().st_mtime, ages.get(whole, 0.0))
    latest = max(ages.values(), default=0.0)
    recent = [path for path, written in ages.items() if latest - written <= SAME_MOMENT]
    return min(recent, key=lambda path: (path.name != prefer, str(path)), default=None)


def _weight_files(folder: Path) -> Iterator[Path]:
    for path in sorted([*folder.glob("*"), *folder.glob("*/*")]):
        visible = not path.name.startswith(".") and EXTRACTION not in path.name
        is_companion = path.name in COMPANIONS and (path.parent / "model.safetensors").is_file()
        if visible and not is_companion and path.suffix in SUFFIXES and path.is_file():
            yield path


def _is_part(path: Path, root: Path) -> bool:
    """Whether a weight file is read with its folder; in `root` only the shards of an index are."""
    return (path.parent != root or SHARD.match(path.stem) is not None) and is_checkpoint_folder(
        path.parent
    )


def _without_a_name() -> Located | str:
    from pe_inspect.training import DEFAULT_RECIPE

    path = newest(prefer=DEFAULT_RECIPE)
    if path is None:
        return _of_recipe(DEFAULT_RECIPE)
    how = f"no CHECKPOINT given: the newest, {path}"
    return Located(str(path), checkpoint_name(path), _told(path, how))


def _told(path: Path, how: str = "") -> str:
    """Return how these weights were chosen, and that the run that left them is not over."""
    return "\n".join(filter(None, (how, _standing(path))))


def _standing(path: Path) -> str:
    """Return a warning where these are the weights of a run that is not over."""
    if not (path if path.is_dir() else path.parent).joinpath("config.json").is_file():
        return ""
    status = unfinished(path)
    again = "`pe-inspect train RECIPE --resume` goes on with it"
    return f"The run of {path} is not finished ({status}); {again}." if status else ""


def _is_recipe(given: str) -> bool:
    from pe_inspect.training import recipes

    return given in recipes


def _of_recipe(name: str) -> Located | str:
    from pe_inspect.training import checkpoint_folder

    folder = checkpoint_folder(name)
    if (folder / WEIGHTS).is_file():
        return Located(str(folder), name, _told(folder, f"{name}: {folder}"))
    return name


def _trained(name: str, no_train: bool, quiet: bool) -> Located:
    from pe_inspect.commands.shell.training import expected_time, train_with_progress
    from pe_inspect.training import recipes

    takes = expected_time(recipes[name])
    if no_train:
        raise UsageError(
            f"The recipe {name} has no checkpoint yet, and --no-train refuses to train it "
            f"({takes}). `pe-inspect train {name}` makes it."
        )
    complain(f"The recipe {name} has no checkpoint yet. It is trained now: {takes}.")
    path = train_with_progress(recipes[name], quiet=quiet)
    return Located(str(path), name, f"{name}: trained just now, in {path}")


def _missing(given: str) -> str:
    from pe_inspect.training import recipes

    path = Path(given)
    if path.is_symlink():
        return f"{given} is a link that leads nowhere: to {path.readlink()}. Give the file itself."
    siblings = [str(p) for p in path.parent.glob("*")] if path.parent.is_dir() else []
    near = difflib.get_close_matches(given, [*siblings, *recipes], n=2, cutoff=0.6)
    meant = f"Did you mean {' or '.join(near)}? " if near else ""
    return (
        f"There is no file, folder or recipe {given!r}. {meant}"
        "`pe-inspect recipes` lists what can be named without a file."
    )
