"""Folders without a weight file that opens: whose they are, and what makes one that does."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Final

from pe_inspect.errors import printable
from pe_inspect.loading.byte_source import Folder, LocalFolder

__all__ = ["is_of_known_layout", "what_folder_it_is"]

MOST_FOLDERS: Final = 64
MOST_NAMES: Final = 256
"""Names of one folder that are looked at."""
SHOWN: Final = 4
WEIGHTS: Final = (
    *(".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".npz", ".onnx", ".gguf", ".pt2", ".h5"),
    *(".msgpack", ".keras", ".metadata"),
)
EXPECTED: Final = (
    "Expected model.safetensors, pytorch_model.bin or their index.json, or one weight file of any "
    "name"
)


@dataclass(frozen=True)
class _Layout:
    """One kind of folder: the names that show it, what it is, what to do."""

    shows: Callable[[frozenset[str]], bool]
    what: str
    remedy: str


def _any(*patterns: str) -> Callable[[frozenset[str]], bool]:
    expression = re.compile("|".join(patterns))
    return lambda names: any(map(expression.fullmatch, names))


_LAYOUTS: Final = (
    _Layout(
        _any(r"(\w+/)?(_CHECKPOINT_METADATA|_METADATA|manifest\.ocdbt)"),
        "is an Orbax checkpoint of JAX",
        "restore it with orbax.checkpoint.StandardCheckpointer().restore(DIR), and save the tree "
        "of arrays: flax.serialization.msgpack_serialize makes a .msgpack that opens",
    ),
    _Layout(
        _any(r"saved_model\.pb", r"variables/variables\.index"),
        "is a TensorFlow SavedModel",
        "load it with tensorflow.saved_model.load(DIR), and numpy.savez its variables under their "
        "names",
    ),
    _Layout(
        _any(r"Data/com\.apple\.CoreML", r"metadata\.json/coremldata\.bin", r"coremldata\.bin"),
        "is a Core ML package, made for Apple's devices",
        "give the checkpoint that it was converted from",
    ),
    _Layout(
        _any(r"openvino_\w+\.xml", r"(\w+/)?openvino_model\.xml"),
        "is an OpenVINO model, whose numbers have no names",
        "give the ONNX file or the PyTorch checkpoint that it was converted from",
    ),
    _Layout(
        _any(
            r"(global_step\d+/)?(bf16_|fp16_)?zero_pp_rank_\d+_mp_rank_\d+_\w+_states\.pt",
            r"global_step\d+/mp_rank_\d+_model_states\.pt",
            r"zero_to_fp32\.py",
        ),
        "is a DeepSpeed checkpoint, whose weights are cut into the ranks' partitions",
        "run `python zero_to_fp32.py . OUT` in it, which joins them, and give OUT",
    ),
    _Layout(
        _any(r"latest_checkpointed_iteration\.txt"),
        "is a Megatron checkpoint",
        "convert it with its own tools/checkpoint/convert.py, and give what that makes",
    ),
    _Layout(
        _any(r"checkpoint", r"[^/]+\.data-\d{5}-of-\d{5}", r"[^/]+\.index"),
        "is a TensorFlow checkpoint",
        "read it with tensorflow.train.load_checkpoint(DIR), and numpy.savez its variables under "
        "their names",
    ),
    _Layout(
        _any(r"\.z(group|array|attrs|metadata)", r"zarr\.json"),
        "is a Zarr store",
        "read it with zarr.open(DIR), and numpy.savez its arrays under their names",
    ),
    _Layout(
        _any(r"[^/]+\.distcp"),
        "is a PyTorch distributed checkpoint without its .metadata, which says what lies where",
        "copy the whole folder of the run again",
    ),
    _Layout(
        _any(r"[^/]+\.pdiparams", r"[^/]+\.pdmodel"),
        "is a Paddle inference model, whose numbers have no names here",
        "give the .pdparams that it was made from",
    ),
)


def what_folder_it_is(folder: Folder) -> str:
    """Return one line: what the folder is, what was expected, and what to do."""
    names = _names_below(folder)
    layout = _layout_of(names)
    if layout is not None:
        return f"{folder} {layout.what}. {EXPECTED}: {layout.remedy}."
    below = [name for name in names if "/" in name and name.endswith(WEIGHTS)]
    if below:
        return f"{folder} is a folder without weights of its own. {EXPECTED}; {_offered(below)}"
    return (
        f"{folder} is a folder without weights. {EXPECTED}: give a weight file or a folder that "
        "holds one."
    )


def is_of_known_layout(folder: Folder) -> bool:
    """Whether the folder's files show whose it is, although some look like weight files."""
    return _layout_of(_names_below(folder)) is not None


def _layout_of(names: list[str]) -> _Layout | None:
    return next((each for each in _LAYOUTS if each.shows(frozenset(names))), None)


def _offered(below: list[str]) -> str:
    shown = ", ".join(printable(name.removesuffix("/.metadata")) for name in below[:SHOWN])
    more = f" and {len(below) - SHOWN} more" if len(below) > SHOWN else ""
    return f"its own folders hold {shown}{more}: give one of these."


def _names_below(folder: Folder) -> list[str]:
    """Return the names of a folder's files, and of those in its folders, with a slash."""
    if not isinstance(folder, LocalFolder):
        return folder.names()
    with os.scandir(folder.path) as entries:
        found = sorted(islice(entries, MOST_NAMES), key=lambda entry: entry.name)
    own = [entry.name for entry in found if not entry.is_dir()]
    inner = [entry.name for entry in found if entry.is_dir()][:MOST_FOLDERS]
    for name in inner:
        with os.scandir(folder.path / name) as entries:
            own += sorted(f"{name}/{entry.name}" for entry in islice(entries, MOST_NAMES))
    return own
