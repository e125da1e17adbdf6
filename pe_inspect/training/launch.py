"""Which of several processes this is, as `torchrun` tells each one. Needs no torch."""

from __future__ import annotations

import os
from dataclasses import dataclass

from pe_inspect.errors import UsageError

__all__ = ["ProcessPlace", "launched"]


@dataclass(frozen=True)
class ProcessPlace:
    """This process among those of a run.

    Attributes:
        rank: its number, from 0; number 0 writes and speaks.
        size: how many there are.
        local_rank: its number on this machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0


def launched() -> ProcessPlace:
    """Return the place that `torchrun` gave this process; alone where it started none.

    Raises:
        UsageError: the environment speaks of processes and is no launcher's.
    """
    if "WORLD_SIZE" not in os.environ or "RANK" not in os.environ:
        return ProcessPlace()
    words = {name: os.environ.get(name, "0") for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    if not all(word.isdecimal() for word in words.values()):
        said = ", ".join(f"{name}={word}" for name, word in words.items())
        raise UsageError(f"The environment says {said}; expected what torchrun sets: numbers.")
    return ProcessPlace(*(int(word) for word in words.values()))
