"""What is changed about positions to see what follows, and how alike the states stay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import torch

from pe_inspect.live.capture import Captured
from pe_inspect.live.change import Change
from pe_inspect.traces import Edit

__all__ = ["NULL", "EditAccumulator", "edits_of"]

NULL: Final = Change(mean=True)
"""The null run: every patch receives the mean of all positions."""


def edits_of(grid_size: tuple[int, int], seed: int) -> dict[str, Change]:
    """Return the changes of positions whose consequences are measured, by name.

    Transposing is missing where the grid is not square.
    """
    rows, columns = grid_size
    places = torch.arange(rows * columns).reshape(rows, columns)
    moved = {"roll_1": places.roll(1, dims=1), "flipped": places.flip(1)}
    if rows == columns:
        moved["transposed"] = places.T
    permuted = {name: Change(permutation=tuple(order.flatten().tolist()))
                for name, order in moved.items()}  # fmt: skip
    found = {"zero": Change(0.0), "mean_row": NULL, "shuffled": Change(seed=seed), **permuted,
             "half": Change(0.5), "double": Change(2.0)}  # fmt: skip
    order = ("zero", "mean_row", "shuffled", "roll_1", "transposed", "flipped", "half", "double")
    return {name: found[name] for name in order if name in found}


class EditAccumulator:
    """Cosines of each token with itself under an edit, summed over images.

    Args:
        prefix: tokens ahead of the patches.
        has_cls: whether the first of them is a CLS token.
    """

    def __init__(self, prefix: int, *, has_cls: bool) -> None:
        self.prefix, self.has_cls = prefix, has_cls
        self.cosines: dict[str, list[torch.Tensor]] = {}

    def add(self, name: str, base: Captured, edited: Captured) -> None:
        """Add a batch that ran as it is and under one edit."""
        alike = [torch.cosine_similarity(own.double(), other.double(), dim=-1).sum(dim=0)
                 for own, other in zip(base.states, edited.states)]  # fmt: skip
        held = self.cosines.get(name)
        self.cosines[name] = alike if held is None else [a + b for a, b in zip(held, alike)]

    def edits(self, count: int) -> Iterator[Edit]:
        """Yield what a trace holds of each edit, as means over `count` images."""
        for name, alike in self.cosines.items():
            cosines = [(each / count).cpu().numpy() for each in alike]
            patches = torch.tensor([float(each[self.prefix :].mean()) for each in cosines])
            cls = torch.tensor([float(each[0]) for each in cosines])
            yield Edit(
                name, cls.double().numpy() if self.has_cls else None, patches.double().numpy()
            )
