"""A folder: weights under one of the usual names, sharded or not, and a config.json beside them.

Hugging Face's layout, open_clip's, and that of our own trainer are the same thing here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from pe_inspect.errors import AmbiguousCheckpoint, UnreadableCheckpoint
from pe_inspect.loading._wording import reason
from pe_inspect.loading.checkpoint import StoredTensor
from pe_inspect.loading.formats import Contents, SourceFile, damaged, reads

__all__ = ["WEIGHT_NAMES", "read_config"]

WEIGHT_NAMES: Final = (
    "model.safetensors",
    "pytorch_model.bin",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.bin",
)
INDEX_NAMES: Final = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
CONFIG_NAMES: Final = ("config.json", "open_clip_config.json")
_SUFFIXES: Final = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".npz", ".npy")
LARGEST_JSON: Final = 64 << 20


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
    index = _first(file.path, INDEX_NAMES)
    weights = _first(file.path, WEIGHT_NAMES) or index or _only_weight_file(file.path)
    found = _read_shards(weights, file) if weights == index else _read_one(weights, file)
    config = read_config(file.path)
    metadata = {**found.metadata, **({"config": config} if config else {})}
    return Contents(found.tree, weights, metadata, found.notes)


def read_config(folder: Path) -> dict[str, Any]:
    """Return the folder's config.json; empty where it has none.

    Raises:
        UnreadableCheckpoint: it is there, and is no JSON object.
    """
    path = _first(folder, CONFIG_NAMES)
    return _read_json(path) if path else {}


def _first(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _only_weight_file(folder: Path) -> Path:
    """Return the folder's one weight file, whatever it is called."""
    files = sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES and path.is_file())
    if len(files) == 1:
        return files[0]
    if files:
        raise AmbiguousCheckpoint(
            f"{folder} holds {len(files)} weight files ({', '.join(f.name for f in files[:6])}), "
            f"none of them called {WEIGHT_NAMES[0]}. Give the one that you mean."
        )
    raise UnreadableCheckpoint(_nothing(folder))


def _nothing(folder: Path) -> str:
    if (folder / ".metadata").is_file() or any(folder.glob("*.distcp")):
        return (
            f"{folder} is a distributed checkpoint of torch.distributed. Expected one file: "
            "make it with `python -m torch.distributed.checkpoint.format_utils dcp_to_torch "
            "DIR FILE.pth`."
        )
    return (
        f"{folder} is a folder without weights. Expected {WEIGHT_NAMES[0]}, {WEIGHT_NAMES[1]} or "
        "their index.json; give a weight file or a folder that holds one."
    )


def _read_one(path: Path, folder: SourceFile) -> Contents:
    from pe_inspect.loading._recognise import recognise

    file = SourceFile(path, folder.trust_pickle)
    found = recognise(file).read(file)
    note = f"{path.name} of the folder was read"
    return Contents(found.tree, path, found.metadata, (*found.notes, note))


def _read_shards(index: Path, folder: SourceFile) -> Contents:
    """Read every shard that the index names, and of each the tensors that it assigns to it."""
    weight_map = _read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise damaged(index, "is an index without a weight_map")
    names = dict.fromkeys(str(name) for name in weight_map.values())
    shards = {name: _shard(index, name, folder) for name in names}
    tree = {key: _assigned(index, shards[name], key, name) for key, name in weight_map.items()}
    notes = (f"{len(shards)} shards were read", f"sha256 is that of {index.name}")
    return Contents(tree, index, notes=notes)


def _shard(index: Path, name: str, folder: SourceFile) -> dict[str, Any]:
    path = index.parent / name
    if Path(name).name != name or not path.is_file():
        raise UnreadableCheckpoint(
            f"{index.name} names the shard {name!r}, which is not in {index.parent}. "
            "Download the missing file into the same folder."
        )
    tree = _read_one(path, folder).tree
    return tree if isinstance(tree, dict) else {}


def _assigned(index: Path, shard: dict[str, Any], key: str, name: str) -> StoredTensor:
    if not isinstance(shard.get(key), StoredTensor):
        raise damaged(index, f"says that {name} holds {key}; it does not")
    tensor: StoredTensor = shard[key]
    return tensor


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise ValueError("it is larger than any configuration")
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(path, f"is no JSON ({reason(error)})") from error
    if not isinstance(content, dict):
        raise damaged(path, "is JSON, and no object")
    return content
