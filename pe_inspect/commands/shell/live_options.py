"""What a live model is run on, at which size and where, as it is typed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Final

from pe_inspect.commands.shell.parsing import memory, pair, whole
from pe_inspect.commands.shell.typed_option import device_option, option, seed_option

__all__ = ["ImagesOfRun", "Running"]

_PANEL: Final = "What to run it on"
_option: Final = partial(option, panel=_PANEL)


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
        int | None,
        _option(
            "--max-memory",
            metavar="2GB",
            help="What sums of attention maps may take (default: half of what is free).",
            parser=memory,
        ),
    ] = None

    def arguments(self) -> dict[str, Any]:
        """Return what `pe_inspect.trace` is asked with."""
        return {
            "images": self.images,
            "num_images": self.num_images,
            "seed": self.seed,
            "device": self.device,
            "max_memory": self.max_memory,
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
        self.size()

    def size(self) -> tuple[int, int] | None:
        """Return (height, width) of --res."""
        return None if self.res is None else pair("--res", self.res, one=True)

    def arguments(self) -> dict[str, Any]:
        """Return what `pe_inspect.trace` is asked with."""
        return {**super().arguments(), "res": self.size(), "untrained": self.untrained}
