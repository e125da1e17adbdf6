"""A folder of many checkpoints → a report of each and an index; one is in memory at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pe_inspect.commands.shell.describe import command_line, versions
from pe_inspect.commands.shell.locate import checkpoint_name
from pe_inspect.commands.shell.options import Opening, Output, Source, Terminal
from pe_inspect.commands.shell.page_content import Wanted, check_wanted, now, page_of
from pe_inspect.commands.shell.progress import counted
from pe_inspect.commands.shell.question_runner import (
    OpenedCheckpoint,
    described,
    open_subject,
    output_folder,
)
from pe_inspect.commands.shell.snapshots import checkpoints_in
from pe_inspect.commands.shell.terminal import complain, write_json, write_line
from pe_inspect.errors import OutputError, PEInspectError
from pe_inspect.files import OutputFolder

if TYPE_CHECKING:
    from pe_inspect.kinds.position_embedding import PositionEmbedding
    from pe_inspect.page.content import Fact, Picture
    from pe_inspect.page.gallery import Exhibit, Refusal

__all__ = ["write_gallery"]

INDEX: Final = "index.html"
LONGEST: Final = 80  # letters of a file name


@dataclass
class _Done:
    """What has been made so far."""

    exhibits: list[Exhibit] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    errors: list[PEInspectError] = field(default_factory=list)
    described: list[dict[str, Any]] = field(default_factory=list)


def write_gallery(
    folder: Path, opening: Opening, wanted: Wanted, output: Output, terminal: Terminal
) -> None:
    """Write a page of every checkpoint in a folder, and the index that leads to them.

    A checkpoint that cannot be read is named on the index.

    Raises:
        PEInspectError: not one of them can be read; or nothing can be written.
    """
    paths = list(checkpoints_in(folder))
    names = _file_names(paths)
    target = output_folder(output, checkpoint_name(folder))
    target.claim([INDEX, *names])
    done = _Done()
    for path, name in zip(counted(paths, "checkpoint", quiet=terminal.quiet), names):
        _add(
            done,
            path,
            name,
            Source(**vars(opening), checkpoint=str(path)),
            wanted,
            target,
            terminal,
        )
    if not done.exhibits:
        raise done.errors[0]
    _write_index(done, folder, wanted, target)
    if terminal.json:
        write_json(_as_json(done, target))
    else:
        write_line(f"Wrote {target.path / INDEX}, the index of {len(done.described)} reports")


def _add(
    done: _Done,
    path: Path,
    name: str,
    source: Source,
    wanted: Wanted,
    target: OutputFolder,
    terminal: Terminal,
) -> None:
    from pe_inspect.page.gallery import Refusal

    silent = Terminal(json=terminal.json, quiet=True, debug=terminal.debug)
    try:
        subject = open_subject(source, wanted.reading, silent, with_sha256=True)
        check_wanted(subject.tables, wanted)
        done.exhibits += _exhibits(subject, name, wanted, target)
        done.described.append({**described(subject), "page": name})
    except OutputError:
        raise
    except PEInspectError as error:
        done.errors.append(error)
        done.refusals.append(Refusal(path.name, str(error)))
        if not terminal.quiet:
            complain(f"Note: {path.name} is left out: {error}")
        return
    if not (terminal.json or terminal.quiet):
        write_line(f"Wrote {target.path / name}")


def _exhibits(
    subject: OpenedCheckpoint, name: str, wanted: Wanted, target: OutputFolder
) -> Sequence[Exhibit]:
    from pe_inspect.page.gallery import exhibits_of

    page = page_of([subject], wanted, quiet=True)
    content = page.html.encode()
    target.write(name, lambda file: file.write(content))
    return exhibits_of(page, name, list(_thumbnails(subject.tables, wanted)), _measured(subject))


def _thumbnails(tables: Sequence[PositionEmbedding], wanted: Wanted) -> Iterator[Picture | None]:
    from pe_inspect.analysis.similarity import similarity
    from pe_inspect.page.gallery import thumbnail

    for pe in tables:
        result = similarity(pe, **wanted.options()["similarity"]) if pe.tables else None
        yield thumbnail(result, f"Maps of {pe.headline}")


def _measured(subject: OpenedCheckpoint) -> list[Fact]:
    """Return what the trainer wrote down beside the checkpoint."""
    from pe_inspect.page.content import Fact

    config = subject.checkpoint.metadata.get("config")
    metrics = config.get("metrics") if isinstance(config, dict) else None
    accuracy = metrics.get("test_accuracy") if isinstance(metrics, dict) else None
    if not isinstance(accuracy, (int, float)) or isinstance(accuracy, bool):
        return []
    return [Fact("Test accuracy", float(accuracy), "as config.json says")]


def _write_index(done: _Done, folder: Path, wanted: Wanted, target: OutputFolder) -> None:
    from pe_inspect.page.gallery import Gallery
    from pe_inspect.page.words import made_with

    title = wanted.title or f"Position embeddings in {folder.absolute().name or folder}"
    made = made_with(command_line(), now())
    content = Gallery(title, tuple(done.exhibits), tuple(done.refusals), made).html.encode()
    target.write(INDEX, lambda file: file.write(content))


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


def _as_json(done: _Done, target: OutputFolder) -> dict[str, Any]:
    return {
        "index": target.path / INDEX,
        "checkpoints": done.described,
        "left_out": [{"name": each.label, "why": each.reason} for each in done.refusals],
        "written": [str(path) for path in target.written],
        "versions": versions(),
        "command": command_line(),
    }
