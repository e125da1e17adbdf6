"""A folder of many checkpoints → a page of each and an index; one is in memory at a time."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pe_inspect.checkpoint_files import REPORTS, checkpoint_name
from pe_inspect.errors import OutputError, PEInspectError, UnreadableCheckpoint, refused_as
from pe_inspect.files import OutputFolder
from pe_inspect.front import OpenedCheckpoint
from pe_inspect.front.live import LiveRun
from pe_inspect.front.report import Options, report, unanswered
from pe_inspect.front.snapshots import checkpoints_in
from pe_inspect.front.subject import opened
from pe_inspect.loading import Hints, load
from pe_inspect.loading.opening import path_text
from pe_inspect.page.gallery import Exhibit, Gallery, Refusal, exhibits_of, thumbnail
from pe_inspect.page.words import made_with

if TYPE_CHECKING:
    from pe_inspect.kinds.position_embedding import PositionEmbedding
    from pe_inspect.page.content import Fact, Picture

__all__ = ["GalleryFiles", "gallery"]

INDEX: Final = "index.html"
LONGEST: Final = 80  # letters of a file name


@dataclass(frozen=True)
class GalleryFiles:
    """What `gallery` wrote.

    Attributes:
        index: the page that leads to the others.
        pages: one a checkpoint.
        left_out: the checkpoints that could not be read, each with the reason.
    """

    index: Path
    pages: tuple[Path, ...]
    left_out: tuple[Refusal, ...] = ()


@dataclass(frozen=True)
class _PageLook:
    """How every page of a gallery is asked for."""

    options: Options
    command: str
    now: datetime | str | None
    max_mb: float
    dpi: int | None
    hints: Hints | None
    live: bool | LiveRun | None
    opening: dict[str, Any]


@dataclass
class _Done:
    """What has been made so far."""

    exhibits: list[Exhibit] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    errors: list[PEInspectError] = field(default_factory=list)


def gallery(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    force: bool = False,
    family: str | None = None,
    title: str | None = None,
    command: str = "",
    now: datetime | str | None = None,
    options: Options | None = None,
    max_mb: float = 10,
    dpi: int | None = None,
    hints: Hints | None = None,
    live: bool | LiveRun | None = False,
    watch: Callable[[Sequence[Path]], Iterable[Path]] = iter,
    tell: Callable[[str, OpenedCheckpoint | Refusal], object] | None = None,
    **opening: Any,
) -> GalleryFiles:
    """Write a page of every checkpoint in a folder, and the index that leads to them.

    One checkpoint is in memory at a time. One that cannot be read is named on the index.

    Args:
        folder: it holds weight files, or folders of them.
        out: where the pages go; by default `reports/` and the folder's name.
        force: overwrite files that pe-inspect did not make.
        family: look for this scheme only.
        title: the heading of the index; by default it names the folder.
        command: the command line, for the provenance of every page.
        now: the date to print; none is printed without it.
        options: question → keyword arguments, as of `pe_inspect.report`.
        max_mb: the size of each page, at most, in units of 10⁶ bytes.
        dpi: dots an inch of the pictures; by default each has what it needs.
        hints: what the files do not say, as `pe_inspect.load` takes it.
        live: whether live models are asked too, as of `pe_inspect.report`.
        watch: goes through the paths, one after the other; progress is shown here.
        tell: is told the name of each page as it is written, and its checkpoint, or of a file,
            and why it has none.
        opening: `state_dict_key`, `tower` and `trust_pickle` of `pe_inspect.load`.

    Raises:
        UnreadableCheckpoint: there is no such folder, or not one checkpoint in it.
        PEInspectError: not one of them can be read: that of the first.
        UsageError: the folder is no path.
        OutputError: nothing can be written, or a file that is not ours would be overwritten.
    """
    place = Path(path_text(folder, "a folder of checkpoints"))
    paths = _paths(place)
    names = _file_names(paths)
    target = OutputFolder(REPORTS / checkpoint_name(place) if out is None else Path(out), force)
    target.claim([INDEX, *names])
    said = Hints() if family is None else Hints(family=family, origins={"family": "family="})
    known = said.over(hints or Hints())
    look = _PageLook(options or {}, command, now, max_mb, dpi, known, live, opening)
    done = _Done()
    for path, name in zip(watch(paths), names):
        _add(done, path, name, look, target, tell or _silent)
    if not done.exhibits:
        raise done.errors[0]
    pages = tuple(target.written)
    index = _write_index(done, title or _title(place), look, target)
    return GalleryFiles(index, pages, tuple(done.refusals))


def _silent(name: str, what: object) -> None:
    """Tell nobody."""


def _title(folder: Path) -> str:
    return f"Position embeddings in {folder.absolute().name or folder}"


@refused_as(UnreadableCheckpoint)
def _paths(folder: Path) -> list[Path]:
    found = list(checkpoints_in(folder)) if folder.is_dir() else []
    if not found:
        what = "holds no checkpoint" if folder.is_dir() else "is no folder"
        raise UnreadableCheckpoint(
            f"{folder} {what}; a gallery is made of a folder of weight files, or of folders that "
            "hold one. pe_inspect.report makes the page of one checkpoint."
        )
    return found


def _add(
    done: _Done,
    path: Path,
    name: str,
    look: _PageLook,
    target: OutputFolder,
    tell: Callable[[str, OpenedCheckpoint | Refusal], object],
) -> None:
    """Write one page, or note why there is none."""
    try:
        found = opened(load(str(path), hints=look.hints, **look.opening))
        unanswered(found.tables, look.options)
        done.exhibits += _exhibits(found, name, look, target)
    except OutputError:
        raise
    except PEInspectError as error:
        done.errors.append(error)
        done.refusals.append(Refusal(path.name, str(error)))
        tell(path.name, done.refusals[-1])
        return
    tell(name, found)


def _exhibits(
    found: OpenedCheckpoint, name: str, look: _PageLook, target: OutputFolder
) -> Sequence[Exhibit]:
    page = report(
        found,
        command=look.command,
        now=look.now,
        options=look.options,
        max_mb=look.max_mb,
        dpi=look.dpi,
        hints=look.hints,
        say=lambda _: None,
        live=look.live,
    )
    content = page.html.encode()
    target.write(name, lambda file: file.write(content))
    return exhibits_of(page, name, list(_thumbnails(found.tables, look.options)), _measured(found))


def _thumbnails(tables: Sequence[PositionEmbedding], options: Options) -> Iterator[Picture | None]:
    from pe_inspect.analysis.similarity import similarity

    for pe in tables:
        result = similarity(pe, **options.get("similarity", {})) if pe.tables else None
        yield thumbnail(result, f"Maps of {pe.headline}")


def _measured(found: OpenedCheckpoint) -> list[Fact]:
    """Return what the trainer wrote down beside the checkpoint."""
    from pe_inspect.page.content import Fact

    config = found.checkpoint.metadata.get("config")
    metrics = config.get("metrics") if isinstance(config, dict) else None
    accuracy = metrics.get("test_accuracy") if isinstance(metrics, dict) else None
    if not isinstance(accuracy, (int, float)) or isinstance(accuracy, bool):
        return []
    return [Fact("Test accuracy", float(accuracy), "as config.json says")]


def _write_index(done: _Done, title: str, look: _PageLook, target: OutputFolder) -> Path:
    made = made_with(look.command, look.now)
    content = Gallery(title, tuple(done.exhibits), tuple(done.refusals), made).html.encode()
    target.write(INDEX, lambda file: file.write(content))
    return target.path / INDEX


def _file_names(paths: Sequence[Path]) -> list[str]:
    """Return a file name for each page: plain letters, and no two alike on any file system."""
    taken = {INDEX}
    names = []
    for path in paths:
        stem = re.sub(r"[^\w.-]+", "_", checkpoint_name(path)).strip(".")[:LONGEST] or "checkpoint"
        count, name = 1, f"{stem}.html"
        while name.casefold() in taken:
            count += 1
            name = f"{stem}-{count}.html"
        taken.add(name.casefold())
        names.append(name)
    return names
