"""`load`: the one door through which weight files are opened."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pe_inspect.errors import UnreadableCheckpoint, UsageError
from pe_inspect.loading._containers import StateDict, find_state_dict
from pe_inspect.loading._hints import hints_from
from pe_inspect.loading._prefixes import find_trunk
from pe_inspect.loading._recognise import recognise, suffix_note
from pe_inspect.loading._tree import is_scalar
from pe_inspect.loading.checkpoint import Checkpoint, Hints
from pe_inspect.loading.formats import Contents, SourceFile

__all__ = ["load"]

REMOTE: Final = ("timm:", "hf-hub:", "hf_hub:", "http://", "https://")
ARGUMENTS: Final = ("args", "hyper_parameters", "hparams", "config", "cfg", "opt")


def load(
    source: str | os.PathLike[str],
    *,
    hints: Hints | None = None,
    state_dict_key: str | None = None,
    tower: str | None = None,
    trust_pickle: bool = False,
) -> Checkpoint:
    """Open a checkpoint: read its headers, choose its state dict, and leave the numbers alone.

    Args:
        source: a weight file (PyTorch, safetensors, npz, npy; recognised by content) or a folder
            that holds one.
        hints: what the caller knows; outranks a config.json, which outranks what the file says.
        state_dict_key: which of several state dicts: a dotted path, or a common prefix of names.
        tower: `"vision"` or `"text"`, where there are both.
        trust_pickle: let a pickle run code.

    Raises:
        UnreadableCheckpoint: the file is missing, damaged, or of another kind.
        UnsafeCheckpoint: its pickle names globals that could run code. Nothing was run.
        UsageError: `source` is no path, or the chosen state dict or tower is not there.
        AmbiguousCheckpoint: the folder holds several weight files.
    """
    file = SourceFile(_existing(os.fspath(source)), trust_pickle)
    found_format = recognise(file)
    contents = _read(file, found_format.read)
    word = contents.format or found_format.name
    notes = (*suffix_note(file.path, found_format), *contents.notes)
    if word == "pe":
        return _saved_extraction(str(source), contents, hints or Hints(), notes)
    state = find_state_dict(contents.tree, str(source), state_dict_key)
    tensors, trunk_notes = find_trunk(state.tensors, tower)
    metadata, config_note = _metadata(file, contents, state)
    return Checkpoint(
        source=str(source),
        path=contents.weights,
        format=word,
        tensors=tensors,
        hints=_all_hints(hints or Hints(), metadata, tower),
        notes=(*notes, *config_note, *state.notes, *trunk_notes),
        metadata=metadata,
    )


def _existing(source: str) -> Path:
    """Return the path of a file or folder that is there.

    Raises:
        UsageError: it is a name or a URL.
        UnreadableCheckpoint: there is nothing, or a device or pipe.
    """
    if source.startswith(REMOTE):
        raise UsageError(
            f"{source}: names and URLs cannot be read by this version. "
            "Download the weights, and give the file or folder."
        )
    if not source:
        raise UnreadableCheckpoint("The path is empty. Give a weight file or a folder with one.")
    try:
        path = Path(source).expanduser()
        is_there = path.is_file() or path.is_dir()
        exists = path.exists()
    except (OSError, ValueError, RuntimeError) as error:
        raise UnreadableCheckpoint(f"{source[:120]!r} is no path: {error}.") from error
    if exists and not is_there:
        raise UnreadableCheckpoint(f"{source} is neither a file nor a folder. Give a weight file.")
    if not is_there:
        raise UnreadableCheckpoint(f"No file or folder at {source}.{_near(path)}")
    return path


def _near(path: Path) -> str:
    """Offer names in the same folder that are nearly the same."""
    try:
        names = sorted(os.listdir(path.parent))[:2000]  # noqa: PTH208 (only the names)
    except OSError:
        return " Check the path."
    near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else " Check the path."


def _read(file: SourceFile, read: Any) -> Contents:
    """Call a format's reader; what the operating system says becomes one line."""
    try:
        contents: Contents = read(file)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UnreadableCheckpoint(f"{file.path} cannot be read: {reason}.") from error
    return contents


def _saved_extraction(
    source: str, contents: Contents, hints: Hints, notes: tuple[str, ...]
) -> Checkpoint:
    """A `.pe.safetensors`: its tensors are ours already, nothing is to be chosen."""
    tensors = contents.tree
    return Checkpoint(source, contents.weights, "pe", tensors, hints, notes)


def _metadata(
    file: SourceFile, contents: Contents, state: StateDict
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What the file says beside its tensors, and what a config.json beside the file says."""
    found: dict[str, Any] = {**contents.metadata}
    found |= {name: value for name, value in state.beside.items() if is_scalar(value)}
    arguments = next(
        (state.beside[n] for n in ARGUMENTS if _is_settings(state.beside.get(n))), None
    )
    if arguments is not None:
        found["args"] = arguments
    if "config" in found:
        return found, ()
    config = _config_beside(file)
    note = (f"config.json beside {file.path.name} was read",) if config else ()
    return {**found, **({"config": config} if config else {})}, note


def _is_settings(value: Any) -> bool:
    return isinstance(value, dict) and bool(value)


def _config_beside(file: SourceFile) -> dict[str, Any]:
    """The config.json of a file that lies in a folder of a usual layout."""
    from pe_inspect.loading.formats.huggingface import WEIGHT_NAMES, read_config

    return read_config(file.path.parent) if file.path.name in WEIGHT_NAMES else {}


def _all_hints(passed: Hints, metadata: Mapping[str, Any], tower: str | None) -> Hints:
    """Flags over config.json over arguments in the file over scalars beside the state dict."""
    config, arguments = metadata.get("config", {}), metadata.get("args", {})
    beside = {name: metadata[name] for name in ("arch", "architecture") if name in metadata}
    known = passed
    for settings, origin in (
        (config, "config.json"),
        (arguments, "args in the file"),
        (beside, "the file"),
    ):
        if isinstance(settings, Mapping):
            known = known.over(hints_from(settings, origin, tower))
    return known
