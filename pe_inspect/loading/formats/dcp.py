"""PyTorch's distributed checkpoints: a folder of `.metadata` and one `.distcp` file a rank.

`.metadata` is a pickle that says of which chunks a tensor is made, and in which file and at which
bytes each lies: an archive of `torch.save` around one tensor. Read by the inert unpickler; of a
chunk only its own bytes are looked at, and only when its tensor is asked for.
Source: `torch.distributed.checkpoint.metadata` and `.filesystem`, whose records these are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Final

import numpy as np

from pe_inspect.arrays import Shaped
from pe_inspect.bounded import is_file_name
from pe_inspect.errors import UnreadableCheckpoint, printable
from pe_inspect.loading.byte_source import ByteSource, Folder, suffix_of
from pe_inspect.loading.checkpoint import StoredTensor
from pe_inspect.loading.dtypes import is_known, itemsize
from pe_inspect.loading.formats import Contents, SourceFile, damaged, reads
from pe_inspect.loading.inert import Record
from pe_inspect.loading.tensor_bytes import unreadable_tensor
from pe_inspect.loading.wire.stretch import Stretch

__all__ = ["read_dcp_folder"]

METADATA: Final = ".metadata"
LARGEST_METADATA: Final = 256 << 20
MARK: Final = b"torch.distributed.checkpoint.metadata"
MOST_NAMED: Final = 8
MOST_AXES: Final = 32


@dataclass(frozen=True)
class _Place:
    """Where a chunk lies: a file of the folder, and a stretch of it."""

    file: str
    offset: int
    length: int
    packed_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Chunk:
    """A box of a tensor: its first element and its sides, and where it lies."""

    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    place: _Place

    @property
    def box(self) -> tuple[slice, ...]:
        return tuple(slice(a, a + side) for a, side in zip(self.offsets, self.sizes))


def is_dcp(file: SourceFile) -> bool:
    """A part of such a folder, given alone: the pickle, or a rank's file."""
    if file.is_folder:
        return False
    is_pickle = file.head.startswith(b"\x80") and MARK in file.head[:96]
    return is_pickle or (file.is_zip and suffix_of(file.source.name) == ".distcp")


@reads(
    "dcp",
    name="dcp",
    suffixes=(".distcp",),
    when=is_dcp,
    way="join it with `python -m torch.distributed.checkpoint.format_utils dcp_to_torch DIR "
    "FILE.pth`, and write from that file",
)
def read_dcp(file: SourceFile) -> Contents:
    """Read the folder of a `.metadata`; of a rank's file, say that it is only a part.

    Raises:
        UnreadableCheckpoint: it is a rank's file, or the folder is damaged.
    """
    if file.is_zip:
        raise UnreadableCheckpoint(
            f"{file} is one rank's part of a distributed checkpoint of PyTorch. Its tensors are "
            f"named in {METADATA} beside it: give the folder, {file.source.folder}."
        )
    return _read(file.source, file.source.folder)


def read_dcp_folder(folder: Folder) -> Contents:
    """Read a folder's `.metadata`; no chunk is read before its tensor is asked for.

    Raises:
        UnreadableCheckpoint: the folder is incomplete or damaged.
        UnsafeCheckpoint: its pickle names globals that could run code.
    """
    metadata = folder.find(METADATA)
    if metadata is None:
        raise UnreadableCheckpoint(f"{folder} holds no {METADATA}.")
    return _read(metadata, folder)


def _read(metadata: ByteSource, folder: Folder) -> Contents:
    said = _unpickled(metadata)
    try:
        tensors, places, paths = said["state_dict_metadata"], said["storage_data"], _paths(said)
        where = {_index(key): _place(info) for key, info in places.items()}
        tree, files = dict[str, Any](), _Files(folder)
        for name, record in tensors.items():
            if record.of == "TensorStorageMetadata":
                chunks = _chunks(name, record.values, where)
                tensor = _tensor(str(name), record.values, chunks, files)
                _put(tree, paths.get(name, (name,)), tensor)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged(metadata, f"is no {METADATA} of torch.distributed ({error})") from error
    files.check(where.values())
    count = len({place.file for place in where.values()})
    notes = (
        f"a distributed checkpoint of {count} file{'s' * (count != 1)} was read",
        f"sha256 is that of {METADATA}",
    )
    return Contents(tree, metadata, notes=notes, format="dcp")


def _unpickled(metadata: ByteSource) -> Mapping[str, Any]:
    import io

    from pe_inspect.loading.unpickler import load_plain

    if metadata.size > LARGEST_METADATA:
        raise damaged(metadata, f"is larger than {LARGEST_METADATA >> 20} MiB; expected a few")
    with metadata.open() as stream:
        pickled = io.BytesIO(stream.read(metadata.size))
    value = load_plain(pickled, str(metadata), more=_record)
    if not isinstance(value, Record) or value.of != "Metadata":
        raise damaged(metadata, f"is a pickle, and no {METADATA} of torch.distributed")
    return value.values


def _record(module: str, name: str) -> Any:
    """The classes of torch.distributed become records; nothing of it is imported."""
    from pe_inspect.loading.inert import Replacement

    if module.partition("torch.distributed.")[:2] != ("", "torch.distributed."):
        return None
    return Replacement(name, lambda *_: Record(name))


def _paths(said: Mapping[str, Any]) -> Mapping[str, tuple[Any, ...]]:
    """The nested places that the flat names stand for, where the writer kept them."""
    planned = said.get("planner_data")
    if not isinstance(planned, dict):
        return {}
    return {name: path for name, path in planned.items() if isinstance(path, tuple) and path}


def _put(tree: dict[str, Any], path: tuple[Any, ...], tensor: StoredTensor) -> None:
    for step in path[:-1]:
        tree = tree.setdefault(str(step), {})
    tree[str(path[-1])] = tensor


def _index(key: Any) -> tuple[str, tuple[int, ...] | None]:
    said = key.values
    return str(said["fqn"]), _sides(said["offset"]) if said.get("offset") is not None else None


def _place(info: Any) -> _Place:
    said = info.values
    packed = said.get("transform_descriptors") or ()
    offset, length = int(said["offset"]), int(said["length"])
    if min(offset, length) < 0:
        raise ValueError("a chunk before the start of its file")
    return _Place(str(said["relative_path"]), offset, length, tuple(map(str, packed)))


def _sides(value: Any) -> tuple[int, ...]:
    sides = tuple(value)
    if any(type(side) is not int or side < 0 for side in sides) or len(sides) > MOST_AXES:
        raise ValueError("sides that are no natural numbers")
    return sides


def _chunks(name: str, said: Mapping[str, Any], where: Mapping[Any, _Place]) -> list[_Chunk]:
    """The chunks of a tensor.

    Raises:
        ValueError: they are not all of it.
    """
    size, found = _sides(said["size"]), list[_Chunk]()
    for record in said["chunks"]:
        offsets, sizes = _sides(record.values["offsets"]), _sides(record.values["sizes"])
        ends = [first + side for first, side in zip(offsets, sizes)]
        if not len(offsets) == len(sizes) == len(size) or any(map(int.__gt__, ends, size)):
            raise ValueError(f"a chunk of {name} that lies outside of it")
        place = where.get((name, offsets)) or where.get((name, None))
        if place is None:
            raise ValueError(f"a chunk of {name} that is in no file")
        found.append(_Chunk(offsets, sizes, place))
    if sum(math.prod(chunk.sizes) for chunk in found) != math.prod(size):
        raise ValueError(f"chunks of {name} that are not all of it, or overlap")
    return found


def _tensor(
    name: str, said: Mapping[str, Any], chunks: Sequence[_Chunk], files: _Files
) -> StoredTensor:
    shape, dtype = _sides(said["size"]), _dtype(said["properties"])
    if not is_known(dtype):
        return unreadable_tensor(shape, dtype, f"numbers of type {dtype}").named(name)
    stored = sum(place.length for place in {chunk.place for chunk in chunks})
    if math.prod(shape) * itemsize(dtype) > stored:
        raise ValueError(f"{name} of shape {shape}, which is more than its {stored} bytes hold")
    return StoredTensor(name, shape, dtype, partial(_joined, name, shape, dtype, chunks, files))


def _dtype(properties: Any) -> str:
    """A tensor's type: its writer keeps it first in a tuple, or under its name."""
    said = properties.values
    kept = said["dtype"] if "dtype" in said else said["state"][0]
    return str(kept).removeprefix("torch.")


def _joined(
    name: str, shape: tuple[int, ...], dtype: str, chunks: Sequence[_Chunk], files: _Files
) -> Shaped[np.ndarray, "..."]:
    """Read the chunks into their places.

    Raises:
        UnreadableCheckpoint: a chunk is missing, damaged, or of another run.
    """
    if len(chunks) == 1 and chunks[0].sizes == shape:
        return files.read(chunks[0], name, dtype)
    parts = ((chunk, files.read(chunk, name, dtype)) for chunk in chunks if 0 not in chunk.sizes)
    whole: np.ndarray | None = None
    for chunk, values in parts:
        if whole is None:
            whole, is_filled = np.empty(shape, values.dtype), np.zeros(shape, bool)
        if is_filled[chunk.box].any():
            raise damaged(files.folder, f"holds chunks of {name} that overlap")
        whole[chunk.box], is_filled[chunk.box] = values, True
    return np.empty(shape, np.float32) if whole is None else whole


class _Files:
    """The ranks' files of a folder, each looked for when it is needed."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.find = cache(self._find)

    def _find(self, name: str) -> ByteSource | None:
        """The file in this folder; a name that leads elsewhere is none."""
        return self.folder.find(name) if is_file_name(name) else None

    def check(self, places: Any) -> None:
        """Refuse a folder that lacks files, or holds others than it was written with.

        A file that lies elsewhere is looked at when it is read: each look would be a request.

        Raises:
            UnreadableCheckpoint: files are missing, truncated, or of another run.
        """
        ends: dict[str, int] = {}
        for place in places:
            ends[place.file] = max(ends.get(place.file, 0), place.offset + place.length)
        names = set(self.folder.names())
        missing = sorted(name for name in ends if names and name not in names)
        if missing:
            raise UnreadableCheckpoint(_missing(self.folder, missing))
        for name, end in ends.items() if names else ():
            file = self.find(name)
            if file is None or (file.path is not None and file.size != end):
                raise UnreadableCheckpoint(
                    f"{self.folder}: {printable(name)} is {file.size if file else 0} bytes; "
                    f"{METADATA} expects {end}. It is truncated, or was written by another run: "
                    "copy the whole folder of one run again."
                )

    def read(self, chunk: _Chunk, name: str, dtype: str) -> Shaped[np.ndarray, "..."]:
        """Return one chunk's values.

        Raises:
            UnreadableCheckpoint: it is missing, packed, damaged, or another tensor's.
        """
        from pe_inspect.loading.formats.pytorch_zip import is_pytorch_zip, read_pytorch_zip

        file = self.find(chunk.place.file)
        if file is None:
            raise UnreadableCheckpoint(_missing(self.folder, [chunk.place.file]))
        if chunk.place.packed_by:
            packed = ", ".join(map(printable, chunk.place.packed_by))
            raise UnreadableCheckpoint(
                f"{name} was packed by {packed} in {file}. Load it with torch.distributed."
                "checkpoint and the same extension, and save it without."
            )
        stretch = Stretch(file, chunk.place.offset, chunk.place.length, name)
        inner = SourceFile(stretch)
        found = read_pytorch_zip(inner).tree if is_pytorch_zip(inner) else None
        said = (chunk.sizes, dtype)
        if not isinstance(found, StoredTensor) or (found.shape, found.dtype) != said:
            raise damaged(stretch, "is not the chunk that .metadata says; two runs were mixed")
        return found.read()


def _missing(folder: Folder, names: Sequence[str]) -> str:
    listed = ", ".join(map(repr, map(printable, names[:MOST_NAMED])))
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return (
        f"{folder} lacks {listed}{more}, which its {METADATA} names. A distributed checkpoint is "
        "read as a whole: copy the missing files into the same folder."
    )
