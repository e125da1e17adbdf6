"""One file a dataset: each registers a function `(argument, root) -> Dataset` under its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pe_inspect.data.dataset import Dataset
from pe_inspect.errors import UsageError
from pe_inspect.registry import Registry

__all__ = ["Reader", "datasets", "refuse_argument"]

Reader = Callable[[str, Path], Dataset]

datasets: Registry[Reader] = Registry("dataset", "pe_inspect.data.datasets")


def refuse_argument(name: str, argument: str) -> None:
    """Stop where a dataset that needs no argument was given one.

    Raises:
        UsageError: `argument` is not empty.
    """
    if argument:
        raise UsageError(f"{name} takes nothing after a colon; {name!r} is all of it.")
