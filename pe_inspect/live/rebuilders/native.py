"""Live models from the folders that our own trainer writes: `config.json` says all of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from pe_inspect.live.hosts.common import Preprocessing
from pe_inspect.live.weights import CannotRebuild, load_all, state_dict_of
from pe_inspect.loading.checkpoint import Checkpoint
from pe_inspect.models.config import ViTConfig
from pe_inspect.models.vit import VisionTransformer

__all__ = ["is_native", "native"]


def is_native(checkpoint: Checkpoint) -> bool:
    """Whether a config.json describes one of our models: its scheme and its join."""
    return {"scheme", "join"} <= set(_shape(checkpoint))


def native(checkpoint: Checkpoint) -> nn.Module:
    """Build the model that config.json describes, and load it.

    Raises:
        CannotRebuild: the weights are not those of that model.
        UsageError: config.json describes no possible model.
    """
    try:
        config = ViTConfig.from_dict(_shape(checkpoint))
    except TypeError as error:
        raise CannotRebuild(
            f'{checkpoint.source}: the "model" of its config.json has values of another type '
            f"({error})."
        ) from error
    model = VisionTransformer(config)
    what = f"the model of its config.json (scheme={config.scheme}, join={config.join})"
    found = load_all(model, state_dict_of(checkpoint), checkpoint.source, what)
    object.__setattr__(found, "pe_inspect_preprocessing", _preprocessing(checkpoint))
    return found


def _preprocessing(checkpoint: Checkpoint) -> Preprocessing | None:
    """Return how the images of its training were normalised, where config.json says so."""
    config: Any = checkpoint.metadata.get("config")
    data = config.get("data")
    said = data if isinstance(data, Mapping) else {}
    mean, std = (said.get(name) for name in ("mean", "std"))
    if not isinstance(mean, list) or not isinstance(std, list) or len(mean) != len(std):
        return None
    return Preprocessing(tuple(map(float, mean)), tuple(map(float, std)), "config.json")


def _shape(checkpoint: Checkpoint) -> Mapping[str, Any]:
    config: Any = checkpoint.metadata.get("config")
    shape = config.get("model") if isinstance(config, Mapping) else None
    return shape if isinstance(shape, Mapping) else {}
