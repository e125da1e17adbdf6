"""Live models of timm: the architecture as named, the rest as the tensors show it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import timm
import torch
from torch import nn

from pe_inspect.errors import PEInspectError
from pe_inspect.families import _arch, extract
from pe_inspect.families._hints import is_flag
from pe_inspect.loading.checkpoint import Checkpoint
from pe_inspect.models._weights import load_all, state_dict_of

__all__ = ["has_architecture", "timm_model"]

State = Mapping[str, torch.Tensor]


def has_architecture(checkpoint: Checkpoint) -> bool:
    """Whether a flag names an architecture, or the file one that timm has."""
    arch = checkpoint.hints.arch
    if arch is None:
        return False
    return is_flag(checkpoint, "arch") or timm.is_model(arch.removeprefix("timm:"))


def timm_model(checkpoint: Checkpoint) -> nn.Module:
    """Build timm's model with the classes, channels and image size of the tensors, and load it.

    Raises:
        CannotRebuild: the tensors are not those of that architecture.
        UsageError: timm has no such architecture.
    """
    name = _arch.timm_name(checkpoint)
    usual = _arch.build(name)  # on the meta device; it also refuses unknown names
    state = state_dict_of(checkpoint)
    model = _built(name, checkpoint, usual, state)
    return load_all(model, _converted(model, state), checkpoint.source, f"timm:{name}")


def _built(name: str, checkpoint: Checkpoint, usual: nn.Module, state: State) -> nn.Module:
    said = _model_args(checkpoint)
    found = {**_classes(usual, state), **_channels(usual, state), **said}
    if "img_size" not in found and (size := _image_size(checkpoint, usual, state)) is not None:
        found["img_size"] = size
    model: nn.Module = timm.create_model(name, pretrained=False, **found)
    return model


def _model_args(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return what timm writes into a config.json: the arguments of the model."""
    config: Any = checkpoint.metadata.get("config")
    saved = config.get("model_args") if isinstance(config, Mapping) else None
    return dict(saved) if isinstance(saved, Mapping) else {}


def _classes(usual: Any, state: State) -> dict[str, int]:
    """Return the number of classes, which is 0 where the file has no classifier."""
    named = usual.pretrained_cfg.get("classifier") or ()
    heads = [f"{head}.weight" for head in ([named] if isinstance(named, str) else named)]
    rows = [state[head].shape[0] for head in heads if head in state]
    own = [tensor.shape[0] for key, tensor in usual.state_dict().items() if key in heads]
    if rows[:1] == own[:1]:
        return {}
    return {"num_classes": rows[0] if rows else 0}


def _channels(usual: nn.Module, state: State) -> dict[str, int]:
    """Return the colour channels of the patch kernel, where they are not the usual three."""
    key = "patch_embed.proj.weight"
    own, given = usual.state_dict().get(key), state.get(key)
    if own is None or given is None or own.ndim != 4 or given.ndim != 4:
        return {}
    return {"in_chans": given.shape[1]} if own.shape[1] != given.shape[1] else {}


def _image_size(checkpoint: Checkpoint, usual: Any, state: State) -> tuple[int, int] | None:
    """Return the image size as said, else as the grid of the table shows it; `None` if usual."""
    own, given = usual.state_dict().get("pos_embed"), state.get("pos_embed")
    differs = own is not None and given is not None and own.shape != given.shape
    patch = getattr(getattr(usual, "patch_embed", None), "patch_size", None)
    if not differs or patch is None:
        return None
    try:
        rows, columns = extract(checkpoint, with_sha256=False)[0].grid_size
    except PEInspectError:
        return checkpoint.hints.img_size
    return rows * patch[0], columns * patch[1]


def _converted(model: nn.Module, state: State) -> State:
    """Return the tensors under timm's names: as they are, or as timm's own filter has them."""
    if state.keys() == model.state_dict().keys():
        return state
    for module in _modules(model):
        convert = getattr(module, "checkpoint_filter_fn", None)
        if convert is not None:
            converted: State = convert(dict(state), model)
            return converted
    return state


def _modules(model: nn.Module) -> Iterator[Any]:
    """Yield the modules that define the model's class and its bases."""
    for base in type(model).__mro__:
        if base.__module__.startswith("timm.models."):
            yield sys.modules[base.__module__]
