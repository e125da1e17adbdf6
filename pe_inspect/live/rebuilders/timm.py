"""Live models of timm: the architecture as named, the rest as the tensors show it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import timm
import torch
from torch import nn

from pe_inspect.errors import PEInspectError
from pe_inspect.families import extract
from pe_inspect.families.reading import arch as _arch
from pe_inspect.live.weights import CannotRebuild, load_all, state_dict_of
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["has_architecture", "has_classifier", "timm_model"]

State = Mapping[str, torch.Tensor]


def has_architecture(checkpoint: Checkpoint) -> bool:
    """Whether a flag names an architecture, or the file one that timm has."""
    arch = checkpoint.hints.arch
    if arch is None:
        return False
    return checkpoint.hints.is_flag("arch") or timm.is_model(arch.removeprefix("timm:"))


def has_classifier(checkpoint: Checkpoint) -> bool:
    """Whether the file has timm's classifier; no tensor is read.

    Under other names than timm's, which timm converts, it counts as one that has.

    Raises:
        UsageError: timm has no such architecture.
    """
    usual: Any = _arch.build(_arch.timm_name(checkpoint.hints))
    named = usual.pretrained_cfg.get("classifier") or ()
    heads = tuple(f"{name}." for name in ([named] if isinstance(named, str) else named))
    missing = set(usual.state_dict()) - set(checkpoint)
    return not missing or not all(key.startswith(heads) for key in missing)


def timm_model(checkpoint: Checkpoint) -> nn.Module:
    """Build timm's model with the classes, channels and image size of the tensors, and load it.

    Raises:
        CannotRebuild: the tensors are not those of that architecture.
        UsageError: timm has no such architecture.
    """
    name = _arch.timm_name(checkpoint.hints)
    usual = _arch.build(name)  # on the meta device; it also refuses unknown names
    state = state_dict_of(checkpoint)
    model = _built(name, checkpoint, usual, state)
    return load_all(model, _converted(model, state), checkpoint.source, f"timm:{name}")


def _built(name: str, checkpoint: Checkpoint, usual: nn.Module, state: State) -> nn.Module:
    found = {**_classes(usual, state), **_channels(usual, state), **_model_args(checkpoint)}
    if "img_size" not in found and (size := _image_size(checkpoint, usual, state)) is not None:
        found["img_size"] = size
    try:
        model: nn.Module = timm.create_model(name, pretrained=False, **found)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        said = ", ".join(f"{key}={value}" for key, value in found.items())
        raise CannotRebuild(
            f"{checkpoint.source} cannot be rebuilt: timm does not build {name} with {said} "
            f"({error})."
        ) from error
    return model


def _model_args(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return what timm writes into a config.json: the arguments of the model."""
    config: Any = checkpoint.metadata.get("config")
    saved = config.get("model_args") if isinstance(config, Mapping) else None
    return dict(saved) if isinstance(saved, Mapping) else {}


def _classes(usual: Any, state: State) -> dict[str, int]:
    """Return the number of classes, which is 0 where the file has no classifier."""
    own, given = _first_shapes(usual, state, "classifier")
    if own[:1] == given[:1]:
        return {}
    return {"num_classes": given[0] if given else 0}


def _channels(usual: Any, state: State) -> dict[str, int]:
    """Return the colour channels of the first kernel, where they are not the usual three."""
    own, given = _first_shapes(usual, state, "first_conv")
    if len(own) != 4 or len(given) != 4 or own[1] == given[1]:
        return {}
    return {"in_chans": given[1]}


def _first_shapes(usual: Any, state: State, role: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes of the weight that timm lists under a role: usually, and in the file."""
    named = usual.pretrained_cfg.get(role) or ()
    keys = [f"{name}.weight" for name in ([named] if isinstance(named, str) else named)]
    found = [
        [held[key].shape for key in keys if key in held] for held in (usual.state_dict(), state)
    ]
    own, given = (tuple(shapes[0]) if shapes else () for shapes in found)
    return own, given


def _image_size(checkpoint: Checkpoint, usual: Any, state: State) -> tuple[int, int] | None:
    """Return the image size where tensors are of another than the usual one; else `None`.

    A table of vectors shows its grid; for others it is what was said.
    """
    own = usual.state_dict()
    differing = {key for key in own if key in state and own[key].shape != state[key].shape}
    patch = getattr(getattr(usual, "patch_embed", None), "patch_size", None)
    if "pos_embed" in differing and patch is not None:
        try:
            rows, columns = extract(checkpoint, with_sha256=False)[0].grid_size
        except PEInspectError:
            return checkpoint.hints.img_size
        return rows * patch[0], columns * patch[1]
    is_of_positions = any(key.endswith(("_table", "attention_biases")) for key in differing)
    return checkpoint.hints.img_size if is_of_positions else None


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
