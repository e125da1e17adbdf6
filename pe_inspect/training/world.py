"""The processes of one run, and what they tell each other: sums, means, and when to stop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from pe_inspect.errors import UsageError
from pe_inspect.training.hardware import find_device
from pe_inspect.training.launch import ProcessPlace, launched

__all__ = ["World", "joined_world"]


class World:
    """The processes of a run; one process alone is the ordinary world.

    Args:
        place: this process among them.
        device: where this process computes.
    """

    def __init__(self, place: ProcessPlace, device: torch.device) -> None:
        self.rank, self.size = place.rank, place.size
        self.is_first = place.is_first
        self.device = device

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum over all processes, on each of them."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Return the mean over all processes, on each of them."""
        return self.total(values) / self.size if self.size > 1 else values

    def agree(self, asked: bool) -> bool:
        """Return whether any process asks, on each of them."""
        if self.size == 1:
            return asked
        return bool(self.total(torch.tensor(float(asked), device=self.device)))

    def share(self, module: nn.Module, *, may_leave_out: bool) -> nn.Module:
        """Return the module with gradients that are averaged over all processes.

        Args:
            module: the same on every process.
            may_leave_out: whether some parameter may have no gradient.
        """
        if self.size == 1:
            return module
        return DistributedDataParallel(
            module,
            device_ids=[self.device] if self.device.type == "cuda" else None,
            gradient_as_bucket_view=True,
            find_unused_parameters=may_leave_out,
        )

    def quiet(self, module: nn.Module) -> Any:
        """Return a context in which a shared module's gradients stay with their process."""
        return module.no_sync() if isinstance(module, DistributedDataParallel) else nullcontext()


@contextmanager
def joined_world(device: str) -> Iterator[World]:
    """Yield the world that this process belongs to: what `torchrun` started, or itself alone.

    Args:
        device: as for `find_device`; on GPUs each process of a machine takes one of its own.

    Raises:
        UsageError: there is no such device here, or there are more processes than GPUs.
    """
    place = launched()
    if place.size == 1:
        yield World(place, find_device(device))
        return
    own = _own_device(device, place)
    if own.type == "cuda":
        torch.cuda.set_device(own)
    joins = not distributed.is_initialized()
    if joins:
        distributed.init_process_group("nccl" if own.type == "cuda" else "gloo")
    try:
        yield World(place, own)
    finally:
        if joins:
            distributed.destroy_process_group()


def _own_device(name: str, place: ProcessPlace) -> torch.device:
    device = find_device(name)
    if device.type != "cuda":
        return device
    if name.startswith("cuda:"):
        raise UsageError(
            f"device {name!r} is one GPU, and torchrun started {place.size} processes: each takes "
            "its own. Pass --device cuda."
        )
    there = torch.cuda.device_count()
    if place.local_rank >= there:
        raise UsageError(
            f"torchrun started process {place.local_rank + 1} here, and there are {there} GPUs; "
            f"pass --nproc-per-node {there}."
        )
    return torch.device("cuda", place.local_rank)
