"""open_clip's vision towers, as the open_clip_config.json beside the weights describes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from torch import nn

from pe_inspect.extras import needed
from pe_inspect.live.weights import CannotRebuild, load_all, state_dict_of
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["is_open_clip", "open_clip_tower"]

_TOWER: Final = "visual."


def is_open_clip(checkpoint: Checkpoint) -> bool:
    """Whether a configuration describes a model as open_clip does."""
    return isinstance(_model_of(checkpoint).get("vision_cfg"), Mapping)


def open_clip_tower(checkpoint: Checkpoint) -> nn.Module:
    """Build the vision tower of an open_clip_config.json, and load it; text is left out.

    Raises:
        MissingLibrary: open_clip is not installed.
        CannotRebuild: it describes no tower that open_clip builds, or the weights are of another.
    """
    with needed(f"{checkpoint.source}, a model of open_clip,"):
        from open_clip.model import _build_vision_tower
    said = _model_of(checkpoint)
    try:
        tower: nn.Module = _build_vision_tower(
            said["embed_dim"], dict(said["vision_cfg"]), bool(said.get("quick_gelu"))
        )
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CannotRebuild(
            f"{checkpoint.source} cannot be rebuilt: open_clip does not build the vision_cfg of "
            f"its configuration ({error})."
        ) from error
    own = {checkpoint.stored_key(key): value for key, value in state_dict_of(checkpoint).items()}
    state = {key.removeprefix(_TOWER): v for key, v in own.items() if key.startswith(_TOWER)}
    return load_all(tower, state or own, checkpoint.source, "open_clip's vision tower")


def _model_of(checkpoint: Checkpoint) -> Mapping[str, Any]:
    config: Any = checkpoint.metadata.get("config")
    said = config.get("model_cfg") if isinstance(config, Mapping) else None
    return said if isinstance(said, Mapping) else {}
