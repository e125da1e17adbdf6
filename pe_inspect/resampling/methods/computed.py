"""A bias that a small network computes from the offset, evaluated anew on another window.

Sources: arXiv:2111.09883 (Swin v2), section 3.3; timm's `RelPosMlp` and `swin_transformer_v2_cr`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from pe_inspect.errors import UsageError
from pe_inspect.kinds.offset_network import OffsetNetwork
from pe_inspect.resampling.registering import plain
from pe_inspect.resampling.resampler import Matrices, Resampler, Size, Table, Whole

__all__ = ["Recomputed", "cpb", "cpb_rescaled", "for_network"]

Change = Callable[[OffsetNetwork, Size, Size], OffsetNetwork]
"""(network, its window, the new window) → the network that is asked."""


@dataclass(frozen=True)
class Recomputed:
    """Asks each table's own network; only by `asking` one it is a resampler that works.

    Attributes:
        name: as typed after `--method`.
        change: what becomes of the network first.
    """

    name: str
    change: Change

    def asking(self, network: OffsetNetwork | None) -> Resampler:
        """Return what resamples the table that a network computes.

        Raises:
            UsageError: no network computes it.
        """
        if network is None:
            raise UsageError(f"--method {self.name} asks a network, and this table has none.")
        return Whole(self.name, partial(self._asked, network), partial(self._refuse, network))

    def _asked(self, network: OffsetNetwork, old: Table, size: Size) -> Table:
        source, target = _window((old.shape[0], old.shape[1])), _window(size)
        made: Table = self.change(network, source, target).on(target).astype(old.dtype)
        return made

    def _refuse(self, network: OffsetNetwork, old: Table, size: Size) -> None:
        self.change(network, _window((old.shape[0], old.shape[1])), _window(size))

    def __call__(self, table: Table, size: Size) -> Table:
        """Refuse: values alone do not tell their network."""
        del table, size
        raise UsageError(f"--method {self.name} asks a network, and was handed values alone.")

    def check(self, table: Table, size: Size) -> None:
        """Refuse: values alone do not tell their network."""
        self(table, size)

    def matrices(self, source: Size, size: Size, *, exact: bool = True) -> Matrices | None:
        """It has none."""
        del source, size, exact
        return None


def for_network(resampler: Resampler, network: OffsetNetwork | None) -> Resampler:
    """Return the resampler of one table: itself, but where each table has a network of its own."""
    return resampler.asking(network) if isinstance(resampler, Recomputed) else resampler


def _window(offsets: Size) -> Size:
    rows, columns = ((side + 1) // 2 for side in offsets)
    return rows, columns


def _as_trained(network: OffsetNetwork, _source: Size, _target: Size) -> OffsetNetwork:
    return network


def _by_new_window(network: OffsetNetwork, source: Size, target: Size) -> OffsetNetwork:
    """Divide offsets by more, as the window grows: its ends are the ends that were trained."""
    if network.trained is None:
        raise UsageError(
            "--method cpb-rescaled divides offsets by the window, as Swin v2 does, and this "
            "network takes them as they are. Use --method cpb."
        )
    steps = zip(network.trained, source, target)
    rows, columns = (
        (trained - 1) * (new - 1) / (old - 1) + 1 if old > 1 else trained
        for trained, old, new in steps
    )
    return replace(network, trained=(rows, columns))


cpb: Final = Recomputed("cpb", _as_trained)
cpb_rescaled: Final = Recomputed("cpb-rescaled", _by_new_window)
plain(
    cpb,
    call="the network is asked for the new offsets; Swin v2's stay divided by the window of "
    "pre-training (pretrained_window_sizes)",
    source="arXiv:2111.09883, section 3.3; timm's Swin v2, RelPosMlp",
    kinds=("function",),
)
plain(
    cpb_rescaled,
    call="offsets divided by more as the window grows: (w′ − 1)/(w − 1) times",
    source="timm's Swin v2 on another window_size without pretrained_window_sizes",
    kinds=("function",),
)
