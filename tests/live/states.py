"""Random weights, and the layers that restated forward passes are made of."""

from __future__ import annotations

import torch
from torch.nn.functional import layer_norm, linear

from pe_inspect.loading import Hints

State = dict[str, torch.Tensor]


def flags(**said: object) -> Hints:
    return Hints(**said, origins={name: f"--{name.replace('_', '-')}" for name in said})


def drawn(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> State:
    generator = torch.Generator().manual_seed(seed)
    return {k: torch.randn(*shape, generator=generator) * 0.3 for k, shape in shapes.items()}


def picture(*size: int) -> torch.Tensor:
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(9))


def dense(state: State, name: str, x: torch.Tensor) -> torch.Tensor:
    return linear(x, state[f"{name}.weight"], state[f"{name}.bias"])


def normed(state: State, name: str, x: torch.Tensor, eps: float) -> torch.Tensor:
    return layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], eps)
