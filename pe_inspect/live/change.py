"""What an ablation does to positions, as the model receives them; prefix tokens are left alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from pe_inspect.arrays import Float, Int, Shaped

__all__ = ["Change", "replaced", "rotation_of"]


@dataclass(frozen=True)
class Change:
    """A factor on positions, and another place for every patch.

    Attributes:
        alpha: what is received of the position embedding is multiplied by this; 0 removes it.
        seed: of the permutation by which patches trade places, one for all layers and images;
            `None` leaves them where they are.
    """

    alpha: float = 1.0
    seed: int | None = None

    def order(self, patches: int) -> Int[torch.Tensor, " patches"] | slice:
        """Return, for each of so many patches, the place that it is told."""
        if self.seed is None:
            return slice(None)
        return torch.from_numpy(np.random.default_rng(self.seed).permutation(patches))

    def rows(
        self, table: Float[torch.Tensor, "*tables rows dim"], prefix: int
    ) -> Float[torch.Tensor, "*tables rows dim"]:
        """Change a table of one row a token, `prefix` of them ahead of the patches."""
        patches = table[..., prefix:, :]
        moved = patches[..., self.order(patches.shape[-2]), :]
        return torch.cat((table[..., :prefix, :], self.alpha * moved), dim=-2)

    def pairs(
        self, bias: Float[torch.Tensor, "*heads tokens tokens"], prefix: int
    ) -> Float[torch.Tensor, "*heads tokens tokens"]:
        """Change a bias on attention between patches."""
        changed = self.alpha * self.moved(bias, prefix)
        changed[..., :prefix, :] = bias[..., :prefix, :]
        changed[..., :prefix] = bias[..., :prefix]
        return changed

    def moved(
        self, pairs: Shaped[torch.Tensor, "*heads tokens tokens"], prefix: int
    ) -> Shaped[torch.Tensor, "*heads tokens tokens"]:
        """Give each pair of tokens what belongs to the pair of their new places."""
        places = self.places(pairs.shape[-1], prefix)
        return pairs[..., places, :][..., places]

    def places(self, tokens: int, prefix: int) -> Int[torch.Tensor, " tokens"]:
        """Return which token's place each of `tokens` takes; prefix tokens keep theirs."""
        places = torch.arange(tokens)
        return torch.cat((places[:prefix], places[prefix:][self.order(tokens - prefix)]))


def rotation_of(
    angles: Float[torch.Tensor, "*layers patches angles"], *, half: bool = False
) -> Float[torch.Tensor, "*layers patches channels"]:
    """Return sines, then cosines, one a channel: what timm's attention is handed.

    Args:
        angles: radians, one a pair of channels.
        half: whether the pairs are (i, i + n) instead of neighbours.
    """
    each = torch.cat((angles, angles), dim=-1) if half else angles.repeat_interleave(2, dim=-1)
    return torch.cat((each.sin(), each.cos()), dim=-1)


@contextmanager
def replaced(owner: nn.Module, name: str, value: Any) -> Iterator[None]:
    """Give a module another method, parameter or buffer for a while."""
    registered = (owner._parameters, owner._buffers, vars(owner))
    is_own = any(name in held for held in registered)
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if is_own:
            setattr(owner, name, before)
        else:
            delattr(owner, name)
