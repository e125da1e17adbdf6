"""One file a dataset: each registers a function `(request) -> Dataset` under its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pe_inspect.data.dataset import Dataset
from pe_inspect.errors import UsageError
from pe_inspect.registry import Registry

__all__ = ["Reader", "Request", "datasets", "refuse_argument"]


@dataclass(frozen=True)
class Request:
    """What `load` was asked for; see there.

    Attributes:
        argument: what stood after the colon.
        root: where downloaded sets lie.
        img_size: (H, W) that images of several sizes become.
        stream: `"auto"`, `"on"` or `"off"`.
        strict: whether an image that cannot be read ends it.
    """

    argument: str
    root: Path
    img_size: tuple[int, int] | None = None
    stream: str = "auto"
    strict: bool = False


Reader = Callable[[Request], Dataset]

datasets: Registry[Reader] = Registry("dataset", "pe_inspect.data.datasets")


def refuse_argument(name: str, request: Request) -> None:
    """Stop where a dataset that needs no argument was given one.

    Raises:
        UsageError: the argument is not empty.
    """
    if request.argument:
        raise UsageError(f"{name} takes nothing after a colon; {name!r} is all of it.")
