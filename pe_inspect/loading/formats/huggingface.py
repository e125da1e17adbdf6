"""A folder: weights under one of the usual names, sharded or not, and a config.json beside them.

Hugging Face's layout, open_clip's, and that of our own trainer are the same thing here.
"""

from __future__ import annotations

from typing import Any, Final

from pe_inspect.bounded import LARGEST_JSON, is_file_name, parsed_json
from pe_inspect.errors import AmbiguousCheckpoint, UnreadableCheckpoint, printable, reason
from pe_inspect.loading.byte_source import ByteSource, Folder, suffix_of
from pe_inspect.loading.checkpoint import StoredTensor
from pe_inspect.loading.formats import Contents, SourceFile, damaged, reads

__all__ = ["WEIGHT_NAMES", "read_config", "read_object", "weight_map"]

WEIGHT_NAMES: Final = (
    "model.safetensors",
    "pytorch_model.bin",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.bin",
    "adapter_model.safetensors",
    "adapter_model.bin",
)
INDEX_NAMES: Final = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
CONFIG_NAMES: Final = ("config.json", "open_clip_config.json", "adapter_config.json")
LAST_NAMES: Final = (
    *("flax_model.msgpack", "tf_model.h5", "model.weights.h5", "model.keras"),
    *("onnx/model.onnx", "model.onnx"),
)
"""What is taken where none of the others is there."""
_SUFFIXES: Final = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".npz", ".npy")
_OTHER_SUFFIXES: Final = (".pt2", ".onnx", ".gguf", ".msgpack", ".h5", ".keras", ".pdparams")
DISTRIBUTED: Final = ".metadata"
"""The file of a folder that torch.distributed.checkpoint wrote."""
MOST_NAMED: Final = 8


def is_folder(file: SourceFile) -> bool:
    """Any folder."""
    return file.is_folder


@reads("huggingface", name="huggingface", suffixes=(), when=is_folder)
def read_folder(file: SourceFile) -> Contents:
    """Read the folder's weights, and its config.json where there is one.

    Raises:
        UnreadableCheckpoint: the folder holds no weights, or a shard is missing.
        AmbiguousCheckpoint: it holds several weight files, none under a usual name.
    """
    single, index = _first(file.folder, WEIGHT_NAMES), None
    if single is None:
        index = _first(file.folder, INDEX_NAMES)
    if single is None and index is None and file.folder.find(DISTRIBUTED) is not None:
        from pe_inspect.loading.formats.dcp import read_dcp_folder

        return read_dcp_folder(file.folder)
    weights = single or index or _only_weight_file(file.folder)
    found = _read_shards(index, file) if index is not None else _read_one(weights, file)
    config = read_config(file.folder)
    metadata = {**found.metadata, **({"config": config} if config else {})}
    return Contents(found.tree, weights, metadata, found.notes)


def read_config(folder: Folder) -> dict[str, Any]:
    """Return the folder's config.json; empty where it has none.

    Raises:
        UnreadableCheckpoint: it is there, and is no JSON object.
    """
    config = _first(folder, CONFIG_NAMES)
    return read_object(config) if config is not None else {}


def _first(folder: Folder, names: tuple[str, ...]) -> ByteSource | None:
    found = (folder.find(name) for name in names)
    return next((source for source in found if source is not None), None)


def _only_weight_file(folder: Folder) -> ByteSource:
    """Return the folder's one weight file, whatever it is called."""
    names = folder.names()
    files = [name for name in names if suffix_of(name) in _SUFFIXES]
    only = folder.find(files[0]) if len(files) == 1 else None
    if only is None and not files and (only := _first(folder, LAST_NAMES)) is None:
        files = [name for name in names if suffix_of(name) in _OTHER_SUFFIXES]
        only = folder.find(files[0]) if len(files) == 1 else None
    if only is not None:
        return only
    from pe_inspect.loading.foreign.folders import is_of_known_layout, what_folder_it_is

    if files and not is_of_known_layout(folder):
        raise AmbiguousCheckpoint(
            f"{folder} holds {len(files)} weight files ({', '.join(files[:6])}), "
            f"none of them called {WEIGHT_NAMES[0]}. Give the one that you mean."
        )
    raise UnreadableCheckpoint(what_folder_it_is(folder))


def _read_one(weights: ByteSource, folder: SourceFile) -> Contents:
    from pe_inspect.loading.formats import recognise

    file = SourceFile(weights, folder.trust_pickle)
    found = recognise(file).read(file)
    note = f"{weights.name} of the folder was read"
    return Contents(found.tree, weights, found.metadata, (*found.notes, note))


def _read_shards(index: ByteSource, folder: SourceFile) -> Contents:
    """Read every shard that the index names, and of each the tensors that it assigns to it."""
    assigned = weight_map(index)
    names = dict.fromkeys(assigned.values())
    found = {name: _beside(index, name) for name in names}
    present = {name: shard for name, shard in found.items() if shard is not None}
    if len(present) < len(names):
        raise UnreadableCheckpoint(_missing_shards(index, [n for n in names if n not in present]))
    shards = {name: _shard(shard, folder) for name, shard in present.items()}
    tree = {key: _assigned(index, shards[name], key, name) for key, name in assigned.items()}
    notes = (f"{len(shards)} shards were read", f"sha256 is that of {index.name}")
    return Contents(tree, index, notes=notes)


def weight_map(index: ByteSource) -> dict[str, str]:
    """Return tensor → file name of its shard, as an index says.

    Raises:
        UnreadableCheckpoint: it is no index, or names what is no file of its own folder.
    """
    said = read_object(index).get("weight_map")
    if not isinstance(said, dict) or not said:
        raise damaged(index, "is an index without a weight_map")
    wrong = next((name for name in said.values() if not isinstance(name, str)), None)
    if wrong is not None:
        raise damaged(index, f"assigns a tensor to {type(wrong).__name__}, no file name")
    return said


def _beside(index: ByteSource, name: str) -> ByteSource | None:
    """The shard in the index's own folder; a name that leads elsewhere is none."""
    return index.folder.find(name) if is_file_name(name) else None


def _missing_shards(index: ByteSource, names: list[str]) -> str:
    listed = ", ".join(map(repr, map(printable, names[:MOST_NAMED])))
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    one = len(names) == 1
    return (
        f"{index.name} names the shard{'' if one else 's'} {listed}{more}, which "
        f"{'is' if one else 'are'} not in {index.folder}. "
        f"Download the missing file{'' if one else 's'} into the same folder."
    )


def _shard(shard: ByteSource, folder: SourceFile) -> dict[str, Any]:
    tree = _read_one(shard, folder).tree
    return tree if isinstance(tree, dict) else {}


def _assigned(index: ByteSource, shard: dict[str, Any], key: str, name: str) -> StoredTensor:
    if not isinstance(shard.get(key), StoredTensor):
        raise damaged(index, f"says that {name} holds {key}; it does not")
    tensor: StoredTensor = shard[key]
    return tensor


def read_object(file: ByteSource) -> dict[str, Any]:
    """Return what a JSON file says.

    Raises:
        UnreadableCheckpoint: it is no JSON, or no object.
    """
    try:
        with file.open() as stream:
            content = parsed_json(stream.read(LARGEST_JSON + 1).decode("utf-8"))
    except (OSError, ValueError) as error:
        raise damaged(file, f"is no JSON ({reason(error)})") from error
    if not isinstance(content, dict):
        raise damaged(file, "is JSON, and no object")
    return content
