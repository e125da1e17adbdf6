"""From a plan to a file or folder: other copies of the model, the writing, and the second look."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

from pe_inspect.errors import OutputError, UsageError
from pe_inspect.files import write_atomically
from pe_inspect.loading.byte_source import LocalFile
from pe_inspect.loading.checkpoint import Checkpoint
from pe_inspect.loading.dtypes import itemsize
from pe_inspect.loading.formats import SourceFile
from pe_inspect.loading.formats.huggingface import INDEX_NAMES, read_object
from pe_inspect.loading.rewriting import TensorEdit, written_as
from pe_inspect.partial_files import moved_away, partial_beside, sweep

__all__ = [
    "check_target",
    "leads_away",
    "left_out",
    "refuse_existing",
    "write_file",
    "write_folder",
]

_WEIGHTS: Final = (
    ".safetensors",
    ".bin",
    ".pth",
    ".pt",
    ".ckpt",
    ".npz",
    ".npy",
    ".h5",
    ".msgpack",
)
LARGEST_BESIDE: Final = 64 << 20


def check_target(checkpoint: Checkpoint, source: Path, target: Path, *, force: bool) -> None:
    """Refuse a target before anything is computed.

    Raises:
        UsageError: it is the input, or its extension is another format's.
        OutputError: it exists.
    """
    if _is_same(source, target) or _is_inside(source, target):
        what = "is the input itself" if _is_same(source, target) else "lies in the input folder"
        raise UsageError(f"--write {target} {what}. Name another file; the input is never changed.")
    _check_extension(checkpoint, source, target)
    refuse_existing(target, force=force)


def refuse_existing(target: Path, *, force: bool) -> None:
    """Refuse to replace what nobody allowed to be replaced.

    Raises:
        OutputError: it exists.
    """
    if os.path.lexists(target) and not force:
        raise OutputError(f"{target} exists. Pass --force to replace it, or another --write.")


def _is_same(source: Path, target: Path) -> bool:
    """Whether both names lead to one file, also over folders that are still to be made."""
    if source.resolve() == target.resolve():
        return True
    return target.exists() and target.samefile(source)


def _is_inside(source: Path, target: Path) -> bool:
    """Whether the target is, or would be, a file or folder of a folder that is the input."""
    return source.is_dir() and source.resolve() in target.resolve().parents


def _check_extension(checkpoint: Checkpoint, source: Path, target: Path) -> None:
    if source.is_dir():
        if target.suffix.lower() in _WEIGHTS or target.is_file():
            raise UsageError(
                f"{source} is a folder, and so is what is made of it: --write {target} names a "
                f"file. Pass --write {target.with_suffix('')}, or give its weight file as input."
            )
        return
    suffixes = _suffixes(checkpoint, source)
    if target.is_dir():
        raise OutputError(f"{target} is a folder; --write takes a file ({', '.join(suffixes)}).")
    if target.suffix.lower() not in suffixes:
        raise UsageError(
            f"--write {target}: {source.name} is {checkpoint.format}, and what is made of it too: "
            f"its name ends in {', '.join(suffixes)}. Pass --write "
            f"{target.with_suffix(source.suffix if source.suffix in suffixes else suffixes[0])}."
        )


def _suffixes(checkpoint: Checkpoint, source: Path) -> tuple[str, ...]:
    if checkpoint.format == "pe":
        return (".safetensors",)
    return written_as(LocalFile(source))[0].suffixes


def write_file(
    source: Path,
    target: Path,
    edits: Sequence[TensorEdit],
    verify: Any,
) -> Path:
    """Write a copy of one file with edits, look at it again, and only then give it its name.

    Raises:
        OutputError: the disk is full, or cannot be written; what stood at `target` stays.
    """

    def write(out: IO[bytes]) -> None:
        _rewrite(source, edits, out)
        out.flush()
        verify(Path(out.name))

    with _refusing_by_name(target):
        return write_atomically(target, write)


@contextmanager
def _refusing_by_name(target: Path) -> Iterator[None]:
    """Speak of the name and the option that the user typed, where the disk is full.

    Raises:
        OutputError: for whatever the system refused.
    """
    try:
        yield
    except (OSError, OutputError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        reason = getattr(cause, "strerror", None) or str(error)
        raise OutputError(
            f"Cannot write {target}: {reason}. Nothing was left half-written; choose another "
            "--write."
        ) from error


def _rewrite(source: Path, edits: Sequence[TensorEdit], out: IO[bytes]) -> None:
    place = LocalFile(source)
    _, rewrite = written_as(place)
    rewrite(SourceFile(place), edits, out)


def write_folder(
    source: Path,
    target: Path,
    edits: Mapping[str, Sequence[TensorEdit]],
    configs: Mapping[str, bytes],
    verify: Any,
) -> Path:
    """Write a copy of a folder: weights, configurations, and what lies beside them.

    Args:
        source: the folder.
        target: where the new one is to stand.
        edits: weight file → its edits.
        configs: configuration file → its content.
        verify: is called with the new folder before it gets its name.

    Raises:
        OutputError: the disk is full, or cannot be written; what stood at `target` stays.
    """
    made = partial_beside(target)
    sweep(target)
    try:
        with _refusing_by_name(target):
            _fill(made, source, edits, configs)
            verify(made)
            _name(made, target)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return target


def _fill(
    made: Path,
    source: Path,
    edits: Mapping[str, Sequence[TensorEdit]],
    configs: Mapping[str, bytes],
) -> None:
    """Make a folder of what belongs into the new one."""
    made.mkdir(parents=True)
    for path, content in _files(source, edits, configs):
        if content is None:
            write_atomically(made / path.name, partial(_rewrite, path, edits[path.name]))
        elif isinstance(content, bytes):
            write_atomically(made / path.name, partial(_put, content))
        else:
            shutil.copyfile(path, made / path.name)


def _put(content: bytes, out: IO[bytes]) -> None:
    out.write(content)


def _name(made: Path, target: Path) -> None:
    """Move the new folder to its name; an old one is moved away first, and removed last."""
    old = moved_away(target) if target.exists() else None
    if old is not None:
        target.replace(old)
    try:
        made.replace(target)
    except OSError:
        if old is not None:
            old.replace(target)
        raise
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def _files(
    source: Path, edits: Mapping[str, Sequence[TensorEdit]], configs: Mapping[str, bytes]
) -> Iterator[tuple[Path, Any]]:
    """Yield each file with its new bytes, `None` (rewritten), or `...` (copied)."""
    for path in sorted(source.iterdir()):
        if not path.is_file() or path.name.startswith("."):
            continue
        if path.name in edits:
            yield path, None if edits[path.name] else ...
        elif leads_away(path):
            continue
        elif path.name in INDEX_NAMES:
            yield path, _index(path, edits)
        elif path.name in configs:
            yield path, configs[path.name]
        elif not _is_other_weight(path, edits) and path.stat().st_size <= LARGEST_BESIDE:
            yield path, ...


def leads_away(path: Path) -> bool:
    """Whether a name of a folder is a link to what is not of that folder.

    Of the hub's cache the content lies in `blobs`, and a snapshot's names are links into it.
    """
    folder, target = path.parent.resolve(), path.resolve()
    of_snapshot = folder.parent.name == "snapshots" and folder.parent.parent / "blobs"
    return folder not in target.parents and target.parent != of_snapshot


def left_out(source: Path, edits: Collection[str]) -> list[str]:
    """Return the names of a folder that its new copy leaves out, for they are links out of it."""
    return sorted(
        path.name for path in source.iterdir()
        if path.is_symlink() and path.name not in edits and leads_away(path)
    )  # fmt: skip


def _is_other_weight(path: Path, edits: Mapping[str, Sequence[TensorEdit]]) -> bool:
    """Weights that are not the ones that were read would contradict the new ones."""
    return path.suffix.lower() in _WEIGHTS and path.name not in edits


def _index(path: Path, edits: Mapping[str, Sequence[TensorEdit]]) -> bytes:
    """The index of the shards; the sizes that it states grow with the tensors."""
    index = read_object(LocalFile(path))
    stated = index.get("metadata")
    if not isinstance(stated, dict):
        return path.read_bytes()
    for edit in (edit for each in edits.values() for edit in each):
        more = edit.values.size - edit.tensor.size
        grown = {"total_size": more * itemsize(edit.tensor.dtype), "total_parameters": more}
        for word in (word for word in grown if type(stated.get(word)) is int):
            stated[word] += grown[word]
    return (json.dumps(index, indent=2, ensure_ascii=False) + "\n").encode()
