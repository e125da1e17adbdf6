"""Putting a checkpoint's tensors into a model, all of them or none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
import torch
from torch import nn

from pe_inspect.errors import UsageError
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["CannotRebuild", "load_all", "state_dict_of", "tensor_of"]

_MOST_NAMED: Final = 4


class CannotRebuild(UsageError):
    """What the checkpoint and the options say is not enough for a live model."""


def tensor_of(checkpoint: Checkpoint, key: str) -> torch.Tensor:
    """Read one tensor; narrow float types come widened to float32."""
    return torch.from_numpy(np.array(checkpoint.tensor(key)))


def state_dict_of(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """Read every tensor under the checkpoint's names."""
    return {key: tensor_of(checkpoint, key) for key in checkpoint}


def load_all(
    model: nn.Module, state: Mapping[str, torch.Tensor], source: str, what: str
) -> nn.Module:
    """Load a state dict that must fit in every name and shape.

    Args:
        model: the model.
        state: its tensors.
        source: the checkpoint, for the message.
        what: the model, for the message.

    Raises:
        CannotRebuild: it does not fit; the message says what is missing, left over or misshapen.
    """
    own = model.state_dict()
    shapes = [
        f"{key} is {_x(state[key])}, not {_x(own[key])}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    missing = _listed("missing", (key for key in own if key not in state))
    extra = _listed("has no place for", (key for key in state if key not in own))
    wrong = "; ".join(filter(None, (missing, extra, _listed("of another shape", shapes))))
    if wrong:
        raise CannotRebuild(f"{source} cannot be rebuilt as {what}: {wrong}.")
    model.load_state_dict(dict(state))
    return model


def _x(tensor: torch.Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a scalar"


def _listed(what: str, keys: Iterable[str]) -> str:
    named = list(keys)
    more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    return f"{what} {', '.join(named[:_MOST_NAMED])}{more}" if named else ""
