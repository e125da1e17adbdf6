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
from pe_inspect.errors import UsageError

__all__ = ["Change", "NotApplicable", "replaced", "rotation_of"]


class NotApplicable(UsageError):
    """A condition that has no meaning for this scheme, or that this model cannot be put under."""


@dataclass(frozen=True)
class Change:
    """A factor on positions, and another place for every patch.

    Attributes:
        alpha: what is received of the position embedding is multiplied by this; 0 removes it.
        seed: of the permutation by which patches trade places, one for all layers and images;
            `None` leaves them where they are.
        permutation: the place that each patch is told, instead of one drawn by `seed`.
        mean: every patch receives the mean of what all of them do; rotations become none.
    """

    alpha: float = 1.0
    seed: int | None = None
    permutation: tuple[int, ...] | None = None
    mean: bool = False

    def order(self, patches: int) -> Int[torch.Tensor, " patches"] | slice:
        """Return, for each of so many patches, the place that it is told.

        Raises:
            NotApplicable: the permutation is of another number of patches.
        """
        if self.permutation is not None:
            self._check_places(patches)
            return torch.tensor(self.permutation)
        if self.seed is None:
            return slice(None)
        return torch.from_numpy(np.random.default_rng(self.seed).permutation(patches))

    def _check_places(self, patches: int) -> None:
        if self.permutation is not None and len(self.permutation) != patches:
            raise NotApplicable(
                f"it moves {len(self.permutation)} patches, and positions here are of {patches}: "
                "a window, or another stage"
            )

    def rows(
        self, table: Float[torch.Tensor, "*tables rows dim"], prefix: int
    ) -> Float[torch.Tensor, "*tables rows dim"]:
        """Change a table of one row a token, `prefix` of them ahead of the patches."""
        patches = table[..., prefix:, :]
        moved = patches[..., self.order(patches.shape[-2]), :]
        if self.mean:
            moved = moved.mean(dim=-2, keepdim=True).expand_as(moved)
        return torch.cat((table[..., :prefix, :], self.alpha * moved), dim=-2)

    def pairs(
        self, bias: Float[torch.Tensor, "*heads tokens tokens"], prefix: int
    ) -> Float[torch.Tensor, "*heads tokens tokens"]:
        """Change a bias on attention between patches."""
        changed = self.alpha * self.moved(bias, prefix)
        if self.mean:
            between = changed[..., prefix:, prefix:].mean(dim=(-2, -1), keepdim=True)
            changed = between.expand_as(changed).clone()
        changed[..., :prefix, :] = bias[..., :prefix, :]
        changed[..., :prefix] = bias[..., :prefix]
        return changed

    def angles(
        self, angles: Float[torch.Tensor, "*layers patches channels"]
    ) -> Float[torch.Tensor, "*layers patches channels"]:
        """Change the angles that patches are turned by; their mean is no rotation."""
        return torch.zeros_like(angles) if self.mean else self.rows(angles, 0)

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
