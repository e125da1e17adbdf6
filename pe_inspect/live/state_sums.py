"""Sums of the hidden states of a run, by layer, and of what every block's norm makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch

from pe_inspect.live.capture import Captured
from pe_inspect.live.change import NotApplicable
from pe_inspect.live.host import Host
from pe_inspect.live.mixing import ShareAccumulator
from pe_inspect.live.probe_replicates import ProbeReplicates
from pe_inspect.live.replicates import VarianceAccumulator
from pe_inspect.live.token_sums import FoldAccumulator, TokenAccumulator
from pe_inspect.ridge import FOLDS, position_folds
from pe_inspect.traces import FoldSums, TokenSums

__all__ = ["StateSums", "grid_of"]

_MOST_HALVINGS: Final = 6


def grid_of(host: Host, tokens: int) -> tuple[int, int]:
    """Return the grid of so many tokens: the input's, or one that was halved on the way.

    Raises:
        NotApplicable: no such grid has as many patches.
    """
    rows, columns = host.grid_size
    for stage in range(_MOST_HALVINGS):
        grid = (-(-rows // 2**stage), -(-columns // 2**stage))
        if grid[0] * grid[1] == tokens - host.num_prefix_tokens:
            return grid
    raise NotApplicable(
        f"{type(host.model).__name__} has {tokens} tokens in a block, which are no grid "
        f"of its {rows}×{columns} patches."
    )


class StateSums:
    """Sums over images of every hidden state of every run.

    Args:
        host: of the model.
        with_probe: also keep what a probe needs: products by folds of images and of positions.
        with_replicates: also keep what replicates over images of the base run's shares need.
        seed: of the replicates.
    """

    def __init__(
        self, host: Host, *, with_probe: bool, with_replicates: bool = False, seed: int = 0
    ) -> None:
        self.host, self.with_probe = host, with_probe
        self.with_replicates, self.seed = with_replicates, seed
        self.states: dict[str, list[TokenAccumulator]] = {}
        self.folds: dict[str, list[FoldAccumulator]] = {}
        self.normed: dict[int, TokenAccumulator] = {}
        self.shares: list[ShareAccumulator] = []

    def add(
        self, run: str, found: Captured, first: int, weights: torch.Tensor | None = None
    ) -> None:
        """Add a batch of a run, whose first image is number `first`.

        Args:
            run: its name.
            found: the tokens.
            first: number of the first image.
            weights: how often each image is drawn in each replicate.
        """
        if run not in self.states:
            self._begin(run, found)
        for sums, state in zip(self.states[run], found.states):
            sums.add(state, weights)
        if self.with_probe:
            for folds, state in zip(self.folds[run], found.states):
                folds.add(state[:, self.host.num_prefix_tokens :], first)

    def _begin(self, run: str, found: Captured) -> None:
        names = [*(f"h{i}" for i in range(len(found.states) - 1)), "final"]
        grids = [grid_of(self.host, state.shape[1]) for state in found.states]
        self.states[run] = [
            TokenAccumulator(n, g, self._variance(run)) for n, g in zip(names, grids)
        ]
        self.folds[run] = [
            FoldAccumulator(n, position_folds(g[0] * g[1])) for n, g in zip(names, grids)
        ]

    def _variance(self, run: str) -> VarianceAccumulator | None:
        return VarianceAccumulator(self.seed) if self.with_replicates and run == "base" else None

    def add_received(self, found: Captured) -> None:
        """Add what the attention of every block receives."""
        for i, part in enumerate(self.host.anatomy.blocks):
            received = found.received(i)
            if received is None:
                continue
            if i not in self.normed:
                grid = grid_of(self.host, received.shape[1])
                self.normed[i] = TokenAccumulator(part.name, grid)
            self.normed[i].add(received)

    def add_shares(self, found: Captured, omega: torch.Tensor) -> None:
        """Add how much of every block's input is the position embedding ω."""
        blocks = self.host.anatomy.blocks
        if not self.shares:
            self.shares = [ShareAccumulator(b.name, b.norm) for b in blocks if b.norm is not None]
        for sums, state in zip(self.shares, found.states):
            patches = state[:, self.host.num_prefix_tokens :]
            if patches.shape[1:] == omega.shape:
                sums.add(patches, omega)

    def position_map(self, block: int) -> torch.Tensor:
        """Return the mean of what a block begins with: (prefix + patches, channels)."""
        sums = self.states["base"][block].sums()
        weight = next(self.host.model.parameters())
        return torch.from_numpy(sums.mean.copy()).to(weight)

    def of_runs(self) -> dict[str, tuple[TokenSums, ...]]:
        """Return what a trace holds of the hidden states of every run."""
        return {run: tuple(s.sums() for s in each) for run, each in self.states.items()}

    def of_norms(self) -> tuple[TokenSums, ...]:
        """Return what a trace holds of what attention receives."""
        return tuple(self.normed[i].sums() for i in sorted(self.normed))

    def probe_replicates(self, count: int) -> list[ProbeReplicates]:
        """Return empty replicates of the base run's probes; none where images are too few."""
        if not self.with_probe or count < FOLDS:
            return []
        grids = (sums.grid_size for sums in self.states["base"])
        images = tuple(self.images_by_fold(count))
        return [ProbeReplicates(f.folded(), g, images) for f, g in zip(self.folds["base"], grids)]

    def of_folds(self) -> dict[str, tuple[FoldSums, ...]]:
        """Return what a trace holds for a probe; nothing where none is asked for."""
        runs = self.folds.items() if self.with_probe else ()
        return {run: tuple(f.folded() for f in each) for run, each in runs}

    def images_by_fold(self, count: int) -> Sequence[int]:
        """Return how many of `count` images each fold has."""
        return [len(range(fold, count, FOLDS)) for fold in range(FOLDS)] if self.with_probe else []
