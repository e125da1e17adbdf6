"""`.pt2`: programs of torch.export. Their weights are read; the program is not looked at.

Two layouts: since PyTorch 2.8 every weight is a member of bytes, described by a JSON; before, a
file of `torch.save` lies within the archive. Source: torch/export/pt2_archive/constants.py and
torch/_export/serde/schema.py, whose numbers of types these are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from pe_inspect.bounded import LARGEST_JSON, parsed_json
from pe_inspect.errors import UnreadableCheckpoint, printable, reason
from pe_inspect.loading.checkpoint import StoredTensor
from pe_inspect.loading.formats import Contents, SourceFile, damaged, reads
from pe_inspect.loading.tensor_bytes import lazy_tensor, member_span, unreadable_tensor
from pe_inspect.loading.zip_archive import after_local_header, open_zip, read_small_member

if TYPE_CHECKING:
    from zipfile import ZipFile

OLD_PROGRAM: Final = "serialized_exported_program.json"
OLD_WEIGHTS: Final = ("serialized_state_dict.pt", "serialized_state_dict.json")
_TYPES: Final = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32",
    8: "float64", 10: "complex64", 11: "complex128", 12: "bool", 13: "bfloat16", 28: "uint16",
    29: "float8_e4m3fn", 30: "float8_e5m2", 31: "float8_e4m3fnuz", 32: "float8_e5m2fnuz",
    33: "float8_e8m0fnu", 34: "uint32", 35: "uint64",
}  # fmt: skip


def is_pt2(file: SourceFile) -> bool:
    """A zip archive that says so, or that holds an exported program."""
    return OLD_PROGRAM in file.members or any(
        name.split("/")[1:] == ["archive_format"] for name in file.members
    )


@reads(
    "pt2",
    name="pt2",
    suffixes=(".pt2",),
    when=is_pt2,
    way="its program holds sizes of its own. Write from a file of its weights, "
    "torch.save(torch.export.load(PATH).state_dict, 'weights.pth')",
)
def read_pt2(file: SourceFile) -> Contents:
    """Read what describes the weights; numbers stay in the archive.

    Raises:
        UnreadableCheckpoint: the archive is damaged, or holds a compiled program alone.
        UnsafeCheckpoint: a pickle in it names globals that could run code.
    """
    with open_zip(file.source) as archive:
        old = next((name for name in OLD_WEIGHTS if name in archive.NameToInfo), None)
        tree = _saved(archive, old, file) if old else _described(archive, file)
    if not tree:
        raise UnreadableCheckpoint(
            f"{file} is an exported program without weights of its own (compiled, or saved "
            "without them). Give the checkpoint that it was exported from."
        )
    note = "the weights of an exported program; it was not run"
    return Contents(tree, file.source, notes=(note,))


def _described(archive: ZipFile, file: SourceFile) -> dict[str, StoredTensor]:
    """The weights of today's layout, of all models in the archive; then its buffers."""
    found: dict[str, StoredTensor] = {}
    for kind in ("weights", "constants"):
        ending = f"_{kind}_config.json"
        for path in [name for name in archive.namelist() if name.endswith(ending)]:
            folder = path.rpartition("/")[0]
            for name, said in _config(archive, path, file).items():
                if kind == "weights" or not name.startswith("lifted_"):
                    found.setdefault(name, _weight(archive, folder, name, said, file).named(name))
    return found or _whole(archive, file)


def _config(archive: ZipFile, path: str, file: SourceFile) -> Mapping[str, Any]:
    try:
        said = parsed_json(read_small_member(archive, path, LARGEST_JSON))
        config = said["config"]
        if not all(isinstance(entry, dict) for entry in config.values()):
            raise TypeError("entries that are no objects")
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise damaged(
            file, f"has a {printable(path)} that makes no sense ({reason(error)})"
        ) from error
    described: Mapping[str, Any] = config
    return described


def _weight(
    archive: ZipFile, folder: str, name: str, said: Mapping[str, Any], file: SourceFile
) -> StoredTensor:
    """One tensor: a member of bytes, seen through sides, strides and a start."""
    try:
        path, meta = f"{folder}/{said['path_name']}", said["tensor_meta"]
        if meta is None:
            return unreadable_tensor((), "object", "an object of the program")
        shape, strides = (_numbers(meta[word]) for word in ("sizes", "strides"))
        (start,), code = _numbers([meta["storage_offset"]]), meta["dtype"]
        info = archive.NameToInfo.get(path)
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(file, f"describes {printable(name)} in no way that is known") from error
    if info is None:
        raise damaged(file, f"lacks {printable(path)}, which holds {printable(name)}")
    if said.get("use_pickle"):
        return _pickled(archive, path, shape, file)
    dtype = _TYPES.get(code, f"type {code}")
    try:
        return lazy_tensor(
            member_span(info, file.source), dtype, shape, strides=strides, start=start,
            big_endian=_is_big_endian(archive), storage=(str(file.source), path),
        )  # fmt: skip
    except UnreadableCheckpoint as error:
        raise damaged(file, f"describes {printable(name)} wrongly: {error}") from error


def _numbers(values: Any) -> tuple[int, ...]:
    """Sides as the schema keeps them: `{"as_int": 3}`."""
    numbers = tuple(value["as_int"] for value in values)
    if any(type(number) is not int or number < 0 for number in numbers) or not _fits(numbers):
        raise ValueError("sides that are no natural numbers")
    return numbers


def _fits(numbers: tuple[int, ...]) -> bool:
    return len(numbers) <= 32 and math.prod(number or 1 for number in numbers) < 1 << 62


def _is_big_endian(archive: ZipFile) -> bool:
    name = next((n for n in archive.namelist() if n.split("/")[1:] == ["byteorder"]), None)
    return name is not None and read_small_member(archive, name, limit=16) == b"big"


def _pickled(archive: ZipFile, path: str, shape: tuple[int, ...], file: SourceFile) -> StoredTensor:
    """A tensor that has a file of `torch.save` to itself, for its class is a special one."""
    found = _read_inner(_inner(archive, path, file))
    if not isinstance(found, StoredTensor) or found.shape != shape:
        raise damaged(file, f"keeps no tensor of shape {list(shape)} in {printable(path)}")
    return found


def _whole(archive: ZipFile, file: SourceFile) -> dict[str, Any]:
    """All weights in one file of `torch.save`, as releases between the layouts wrote them."""
    names = [n for n in archive.namelist() if "/data/weights/" in n and n.endswith(".pt")]
    return _saved(archive, names[0], file) if len(names) == 1 else {}


def _saved(archive: ZipFile, path: str, file: SourceFile) -> dict[str, Any]:
    tree = _read_inner(_inner(archive, path, file))
    return tree if isinstance(tree, dict) else {}


def _inner(archive: ZipFile, path: str, file: SourceFile) -> SourceFile:
    """A file within the archive, as one of its own."""
    from pe_inspect.loading.wire.stretch import Stretch

    info = archive.NameToInfo[path]
    if info.compress_type or info.flag_bits & 1:
        raise UnreadableCheckpoint(
            f"{file} holds {printable(path)} packed. Unpack it, and give that file."
        )
    with file.source.open() as stream:
        start = after_local_header(stream, info.header_offset)
    if start + info.file_size > file.size:
        raise damaged(file, "is truncated")
    return SourceFile(Stretch(file.source, start, info.file_size, path.rpartition("/")[2]))


def _read_inner(inner: SourceFile) -> Any:
    from pe_inspect.loading.formats import recognise

    found = recognise(inner)
    if found.name != "pytorch":
        raise damaged(inner, "is no file of torch.save")
    return found.read(inner).tree
