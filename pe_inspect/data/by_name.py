"""A dataset by its name: which reader a name asks for, and what it is handed."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pe_inspect.data.dataset import Dataset
from pe_inspect.data.datasets import Reader, Request, datasets
from pe_inspect.errors import UsageError

__all__ = ["DEFAULT_ROOT", "load", "reader_of"]

DEFAULT_ROOT: Final = Path("data")


def load(
    name: str,
    *,
    root: str | Path | None = None,
    img_size: tuple[int, int] | None = None,
    stream: str = "auto",
    strict: bool = False,
) -> Dataset:
    """Read a dataset by name.

    Args:
        name: a registered name, with an argument after a colon where it takes one:
            `"digits"`, `"cifar10"`, `"imagefolder:PATH"`.
        root: where downloaded sets lie; `data/` of the working folder unless given.
        img_size: (H, W) that images of several sizes are resized and cropped to.
        stream: whether the images of a folder stay on the disk: `"on"`, `"off"`, or `"auto"`,
            where they would take more than 2 GiB.
        strict: stop at an image that cannot be read, instead of leaving it out and noting it.

    Raises:
        UsageError: no such dataset, it is not on this disk (the message says how to get it), or
            its images cannot be used.
    """
    _, colon, argument = name.partition(":")
    reader = reader_of(name)
    if colon and not argument:
        raise UsageError(f"{name!r} has nothing after the colon; e.g. imagefolder:path/to/folder.")
    place = Path(root) if root is not None else DEFAULT_ROOT
    return reader(Request(argument, place, img_size, stream, strict))


def reader_of(name: str) -> Reader:
    """Return what reads a dataset of a name; nothing of it is read.

    Raises:
        UsageError: there is no such dataset; a folder's path is told how it is named.
    """
    kind = name.partition(":")[0]
    if kind not in datasets and Path(name).is_dir():
        raise UsageError(f"Unknown dataset {name!r}. It is a folder: pass imagefolder:{name}.")
    return datasets[kind]
