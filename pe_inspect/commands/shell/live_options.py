"""What a live model is run on, at which size and where, as it is typed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Final

from pe_inspect.commands.shell.parsing import pair, whole
from pe_inspect.commands.shell.typed_option import device_option, option, seed_option
from pe_inspect.errors import UsageError

__all__ = ["ImagesOfRun", "Running", "num_bytes"]

_PANEL: Final = "What to run it on"
_option: Final = partial(option, panel=_PANEL)
_UNITS: Final = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BYTES: Final = re.compile(r"\s*(\d+(?:\.\d*)?)\s*([KMGT]?)(i?)B?\s*", re.IGNORECASE)


def num_bytes(given: str) -> int:
    """Parse `2GB`, `500MB`, `1.5GiB` or a plain number of bytes.

    Raises:
        UsageError: it is no such size, or none.
    """
    found = _BYTES.fullmatch(given)
    power = list(_UNITS).index(found[2].upper()) if found else 0
    unit = (1024 if found and found[3] else 1000) ** power
    value = int(float(found[1]) * unit) if found else 0
    if value < 1:
        raise UsageError(f"--max-memory {given!r} is no size of memory; they are like 2GB, 500MB.")
    return value


@dataclass(frozen=True)
class ImagesOfRun:
    """Which images a live model is run on."""

    images: Annotated[
        str | None,
        _option(
            "--images",
            metavar="DIR|DATASET",
            help="A folder of images, or of class folders, or a dataset (default: 64 crops of "
            "scikit-learn's photographs).",
        ),
    ] = None
    num_images: Annotated[
        int | None,
        _option(
            "--num-images",
            metavar="N",
            help="The first so many (default: all of a folder, 64 of others).",
            parser=whole("--num-images", least=1),
        ),
    ] = None
    seed: Annotated[int, seed_option(_PANEL)] = 0
    device: Annotated[str, device_option(_PANEL)] = "auto"
    max_memory: Annotated[
        str | None,
        _option(
            "--max-memory",
            metavar="2GB",
            help="What sums of attention maps may take (default: half of what is free).",
        ),
    ] = None

    def __post_init__(self) -> None:
        self.memory()

    def memory(self) -> int | None:
        """Return --max-memory in bytes."""
        return None if self.max_memory is None else num_bytes(self.max_memory)

    def arguments(self) -> dict[str, Any]:
        """Return what `pe_inspect.trace` is asked with."""
        return {
            "images": self.images,
            "num_images": self.num_images,
            "seed": self.seed,
            "device": self.device,
            "max_memory": self.memory(),
        }


@dataclass(frozen=True)
class Running(ImagesOfRun):
    """Which images a live model is run on, and at which size."""

    res: Annotated[
        str | None,
        _option(
            "--res",
            metavar="R|HxW",
            help="The image size in pixels: 384, or 224x384 (default: the model's own).",
        ),
    ] = None

    untrained: Annotated[
        bool,
        _option(
            "--untrained",
            help="Also run a model of the same shape with fresh weights, to compare with.",
        ),
    ] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.size()

    def size(self) -> tuple[int, int] | None:
        """Return (height, width) of --res."""
        return None if self.res is None else pair("--res", self.res, one=True)

    def arguments(self) -> dict[str, Any]:
        """Return what `pe_inspect.trace` is asked with."""
        return {**super().arguments(), "res": self.size(), "untrained": self.untrained}
