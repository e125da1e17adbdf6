"""The attention of every block of a model, summed as its images stream by."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import torch

from pe_inspect.live.attention_sums import AttentionAccumulator
from pe_inspect.live.host import Host
from pe_inspect.live.interception import Attended
from pe_inspect.live.logit_terms import LogitAccumulator
from pe_inspect.live.state_sums import grid_of
from pe_inspect.traces import AttentionSums

__all__ = ["BlockAttention"]

_BYTES: Final = 4


class BlockAttention:
    """Sums of each block's attention, and why some blocks have none.

    Args:
        host: of the model.
        memory: bytes that the sums may take; beyond it queries are sampled.
        with_maps: keep the mean map of every head.

    Attributes:
        notes: what was left out or sampled, in words.
    """

    def __init__(self, host: Host, memory: int, *, with_maps: bool = True) -> None:
        self.host, self.memory, self.with_maps = host, memory, with_maps
        self.notes: list[str] = []
        self.by_block: dict[int, AttentionAccumulator | None] = {}

    def listener(self, weights: torch.Tensor) -> Callable[[int, Attended], None]:
        """Return what is told of every block's attention while a batch of images runs.

        Args:
            weights: how often each image is drawn in each replicate, (replicates, images).
        """

        def hear(block: int, attended: Attended) -> None:
            if block not in self.by_block:
                self.by_block[block] = self._begun(block, attended, weights.shape[1])
            sums = self.by_block[block]
            if sums is not None:
                sums.add(attended, weights)

        return hear

    def _begun(self, block: int, attended: Attended, images: int) -> AttentionAccumulator | None:
        """Return empty sums for a block; `None` where its attention has no grid to speak of."""
        part = self.host.anatomy.blocks[block]
        batch, _, queries, keys = attended.shape
        if queries != keys:
            self.notes.append(f"{part.name}: {queries} queries meet {keys} pooled keys; offsets "
                              "have no meaning there, and it was left out")  # fmt: skip
            return None
        is_window = batch != images
        grid = (
            _window_of(part.attention, part.block, keys) if is_window else grid_of(self.host, keys)
        )
        if grid is None:
            self.notes.append(f"{part.name}: windows of {keys} tokens of no known grid; left out")
            return None
        return self._empty(block, attended, grid, is_window=is_window)

    def _empty(
        self, block: int, attended: Attended, grid: tuple[int, int], *, is_window: bool
    ) -> AttentionAccumulator:
        part, patches = self.host.anatomy.blocks[block], grid[0] * grid[1]
        _, heads, _, keys = attended.shape
        fitting = self._fitting(heads, patches)
        if fitting < patches:
            self.notes.append(f"{part.name}: {max(1, fitting)} of {patches} queries were sampled, "
                              "evenly spread, to stay within --max-memory")  # fmt: skip
        return AttentionAccumulator(
            part.name, grid, keys - patches, has_cls=self.host.has_cls, is_window=is_window,
            most_queries=max(1, min(fitting, patches)), with_maps=self.with_maps,
        )  # fmt: skip

    def _fitting(self, heads: int, patches: int) -> int:
        """Return how many queries' mean maps fit into memory, a block."""
        if not self.with_maps:
            return patches
        return self.memory // (_BYTES * heads * patches * len(self.host.anatomy.blocks))

    def logit_sums(self) -> dict[int, LogitAccumulator]:
        """Return empty sums of logits for the blocks whose attention spans the whole image."""
        return {
            i: LogitAccumulator(self.host.num_prefix_tokens)
            for i, each in self.by_block.items()
            if each is not None and not each.is_window
        }

    def keep_logits(self, sums: dict[int, LogitAccumulator]) -> None:
        """Keep the sums of logits, and note which blocks have none."""
        for i, each in sums.items():
            kept = self.by_block[i]
            if kept is not None:
                kept.logits = each.sums()
        missing = [each.layer for each in self.by_block.values()
                   if each is not None and each.logits is None]  # fmt: skip
        if missing:
            self.notes.append(
                f"the logits of {missing[0]}{f' and {len(missing) - 1} more' * (len(missing) > 1)} "
                "were not taken apart: windows, no norm ahead of attention, or q and k that are "
                "normalised themselves"
            )

    @property
    def has_windows(self) -> bool:
        """Whether some block attends within windows."""
        return any(each is not None and each.is_window for each in self.by_block.values())

    @property
    def taken_apart(self) -> list[int]:
        """The blocks whose logits were, by their number."""
        return [i for i, each in sorted(self.by_block.items())
                if each is not None and each.logits is not None]  # fmt: skip

    def sums(self) -> Iterator[AttentionSums]:
        """Yield what a trace holds of each block."""
        found = (self.by_block[i] for i in sorted(self.by_block))
        sums = (each.sums() for each in found if each is not None)
        yield from (each for each in sums if each is not None)


def _window_of(attention: Any, block: Any, tokens: int) -> tuple[int, int] | None:
    """Return the (rows, columns) of a window, as the modules say them."""
    for module in (attention, block):
        size = getattr(module, "window_size", None)
        if size is not None:
            rows, columns = (size, size) if isinstance(size, int) else map(int, size)
            if rows * columns == tokens:
                return rows, columns
    return None
