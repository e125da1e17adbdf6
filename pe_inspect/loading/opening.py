"""`load`: the one door through which weight files are opened."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Unpack

from pe_inspect.errors import UnreadableCheckpoint, UsageError
from pe_inspect.loading.byte_source import ByteSource, ChangedMeanwhile, Folder, at, is_remote
from pe_inspect.loading.checkpoint import Checkpoint, Hints, StoredTensor, is_scalar
from pe_inspect.loading.containers import StateDict, find_state_dict
from pe_inspect.loading.formats import Contents, SourceFile, recognise, suffix_note
from pe_inspect.loading.hints import hints_from, outranked
from pe_inspect.loading.prefixes import find_trunk

if TYPE_CHECKING:
    from pe_inspect.loading.keywords import Known
    from pe_inspect.loading.transfer import Progress

__all__ = ["load", "path_text"]

STATED: Final = "stated"
"""What a format itself says of the model, under the names of a config.json."""
ARGUMENTS: Final = ("args", "hyper_parameters", "hparams", "config", "cfg", "opt")
# Where none of these is in a name, no tool has put integers in the place of weights.
_QUANTISED: Final = re.compile(
    r"\.(?:SCB|weight_format|absmax|quant_|g_idx|qweight|qzeros|W_q|_data|_scale|weight_(?:p|s)|scales)"
)
_BESIDE_LAST: Final = ("best.safetensors", "resume.safetensors")  # of our trainer's folders


def load(
    source: str | os.PathLike[str],
    *,
    hints: Hints | None = None,
    state_dict_key: str | None = None,
    tower: str | None = None,
    trust_pickle: bool = False,
    progress: Progress | None = None,
    **known: Unpack[Known],
) -> Checkpoint:
    """Open a checkpoint: read its headers, choose its state dict, and leave the numbers alone.

    Args:
        source: a weight file (PyTorch, safetensors, npz, npy; recognised by content), a folder
            that holds one, `timm:NAME`, `hf-hub:ORG/NAME[@rev]`, or the URL of a weight file.
            Of a file that lies elsewhere only the bytes that are asked for are fetched.
        hints: what the caller knows; outranks a config.json, which outranks what the file says.
        state_dict_key: which of several state dicts: a dotted path, or a common prefix of names.
        tower: `"vision"` or `"text"`, where there are both.
        trust_pickle: let a pickle run code.
        progress: is told of every transfer, also of those that reading a tensor begins later.
        known: single hints by the names of their options, over `hints`: `grid_size` (`(14, 14)`
            or `"14x14"`), `num_prefix_tokens`, `patch_size`, `num_heads`, `family`, `join`,
            `ln_eps`, `arch`.

    Raises:
        UnreadableCheckpoint: the file is missing, damaged, or of another kind, or cannot be
            reached.
        UnsafeCheckpoint: its pickle names globals that could run code. Nothing was run.
        UsageError: timm knows no such name, the chosen state dict or tower is not there, or a
            hint that there is not.
        AmbiguousCheckpoint: the folder holds several weight files.
    """
    open_once = partial(
        _open,
        path_text(source),
        _hinted(hints, known),
        state_dict_key,
        tower,
        trust_pickle,
        progress,
    )
    try:
        return open_once()
    except ChangedMeanwhile:
        return open_once()


def path_text(given: Any, wants: str = "a weight file or a folder with one") -> str:
    """Return a path or a name as text.

    Args:
        given: what somebody passed for it.
        wants: what it should lead to, in words.

    Raises:
        UsageError: it is neither text nor a path.
        UnreadableCheckpoint: it is empty.
    """
    if isinstance(given, (str, os.PathLike)):
        if not os.fspath(given):
            raise UnreadableCheckpoint(f"The path is empty. Give {wants}.")
        return str(os.fspath(given))
    raise UsageError(
        f"Expected the path of {wants}, not {type(given).__name__}. What is in memory already, a "
        "module or a state dict, is handed to the question itself: pe_inspect.extract(…)."
    )


def _open(
    given: str,
    hints: Hints,
    state_dict_key: str | None,
    tower: str | None,
    trust_pickle: bool,
    progress: Progress | None,
) -> Checkpoint:
    source, place, hints, told = _placed(given, hints, progress)
    file = SourceFile(place, trust_pickle)
    found_format = recognise(file)
    contents = _read_contents(file, found_format.read)
    word = contents.format or found_format.name
    unhashed = contents.weights.unhashed
    notes = (
        *told,
        *suffix_note(file, found_format),
        *contents.notes,
        *((unhashed,) if unhashed else ()),
    )
    if word == "pe":
        return _saved_extraction(source, contents, hints, notes)
    if isinstance(contents.tree, dict) and "ds_version" in contents.tree:
        from pe_inspect.loading.foreign.parts import refuse_part

        refuse_part(contents.tree, source)
    state = find_state_dict(contents.tree, source, state_dict_key)
    trunk, trunk_notes = find_trunk(state.tensors, tower)
    tensors, stack_notes = _unstacked(trunk)
    metadata, config_note = _metadata(file, contents, state)
    kept_as = _quantised_note(state.tensors, metadata.get("config"))
    known, rank_notes = _all_hints(hints, metadata, tower)
    return Checkpoint(
        source=source,
        path=contents.weights.path,
        format=word,
        tensors=tensors,
        hints=known,
        notes=(
            *(*notes, *config_note, *state.notes, *trunk_notes),
            *(*stack_notes, *kept_as, *rank_notes),
        ),
        metadata=metadata,
        digest=contents.weights.sha256,
    )


def _hinted(hints: Hints | None, known: Mapping[str, Any]) -> Hints:
    if not known:
        return hints or Hints()
    from pe_inspect.loading.keywords import hinted

    return hinted(hints, known)


def _unstacked(
    tensors: dict[str, StoredTensor],
) -> tuple[dict[str, StoredTensor], tuple[str, ...]]:
    if not any("encoderblock/" in name for name in tensors):
        return tensors, ()
    from pe_inspect.loading.stacked import unstacked

    return unstacked(tensors)


def _quantised_note(names: Iterable[str], config: Any) -> tuple[str, ...]:
    is_said = isinstance(config, Mapping) and "quantization_config" in config
    if not is_said and not any(map(_QUANTISED.search, names)):
        return ()
    from pe_inspect.loading.quantised import quantised_note

    return quantised_note(names, config)


def _placed(
    given: str, hints: Hints, progress: Progress | None
) -> tuple[str, ByteSource | Folder, Hints, list[str]]:
    """Return what the source is called, where it lies, and what its name says of it.

    The list at the end gains a note whenever reading it makes a transfer that is worth one.

    Raises:
        UnreadableCheckpoint: there is nothing, or it cannot be reached.
        UsageError: a name that timm does not know, or is no name.
    """
    if not is_remote(given):
        return given, at(_existing(given)), hints, []
    from pe_inspect.loading.remote import open_named
    from pe_inspect.loading.transfer import Reporter

    reporter = Reporter(progress)
    named = open_named(given, reporter)
    return named.shown, named.place, hints.over(named.hints), reporter.notes


def _existing(source: str) -> Path:
    """Return the path of a file or folder that is there.

    Raises:
        UnreadableCheckpoint: there is nothing, or a device or pipe.
    """
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


def _read_contents(file: SourceFile, read: Any) -> Contents:
    """Call a format's reader; what the operating system says becomes one line."""
    try:
        contents: Contents = read(file)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UnreadableCheckpoint(f"{file} cannot be read: {reason}.") from error
    return contents


def _saved_extraction(
    source: str, contents: Contents, hints: Hints, notes: tuple[str, ...]
) -> Checkpoint:
    """A `.pe.safetensors`: its tensors are ours already, nothing is to be chosen."""
    weights = contents.weights
    return Checkpoint(
        source, weights.whole(), "pe", contents.tree, hints, notes, digest=weights.sha256
    )


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
    note = (f"config.json beside {file.source.name} was read",) if config else ()
    return {**found, **({"config": config} if config else {})}, note


def _is_settings(value: Any) -> bool:
    return isinstance(value, dict) and bool(value)


def _config_beside(file: SourceFile) -> dict[str, Any]:
    """The config.json of a file that lies in a folder of a usual layout, or of our trainer's."""
    from pe_inspect.loading.formats.huggingface import WEIGHT_NAMES, read_config

    if file.is_folder:
        return {}
    if file.source.name in WEIGHT_NAMES:
        return read_config(file.source.folder)
    config = read_config(file.source.folder) if file.source.name in _BESIDE_LAST else {}
    return config if {"recipe", "model"} <= config.keys() else {}


def _all_hints(
    passed: Hints, metadata: Mapping[str, Any], tower: str | None
) -> tuple[Hints, tuple[str, ...]]:
    """Flags over config.json over arguments in the file over scalars beside the state dict.

    Where two of them disagree, a note says which was believed.
    """
    config, arguments = metadata.get("config", {}), metadata.get("args", {})
    beside = {name: metadata[name] for name in ("arch", "architecture") if name in metadata}
    beside |= metadata.get(STATED, {})
    known, notes = replace(passed, tower=tower), list[str]()
    for settings, origin in (
        (config, "config.json"),
        (arguments, "args in the file"),
        (beside, "the file"),
    ):
        if isinstance(settings, Mapping):
            weaker = hints_from(settings, origin, tower)
            notes += outranked(known, weaker)
            known = known.over(weaker)
    return known, tuple(notes)
