"""What is measured of a checkpoint, as it is typed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

from pe_inspect.commands.shell.parsing import numbers, pairs, whole
from pe_inspect.commands.shell.typed_option import device_option, option, seed_option

__all__ = ["Measuring"]

_PANEL: Final = "What to measure"
_option: Final = partial(option, panel=_PANEL)


@dataclass(frozen=True)
class Measuring:
    """What is measured: on which images, at which sizes, with which changes of positions."""

    data: Annotated[
        str | None,
        _option(
            "--data", metavar="NAME[:PATH]", help="The images (default: those of its training)."
        ),
    ] = None
    root: Annotated[
        Path | None, _option("--root", metavar="DIR", help="Where datasets lie (default: data/).")
    ] = None
    res: Annotated[
        str | None,
        _option("--res", metavar="R[,R]", help="Image sizes in pixels: 24,32,48, or 24x48."),
    ] = None
    method: Annotated[
        str,
        _option(
            "--method",
            metavar="NAME",
            help="How positions get there: native (the model's own rule), names as of `interpolate "
            "--method list` with commas, or all (default: native).",
        ),
    ] = "native"
    alpha: Annotated[
        str | None,
        _option("--alpha", metavar="X[,X]", help="Scale the position embedding: 1,0.8,0.5,0."),
    ] = None
    shuffle: Annotated[
        bool, _option("--shuffle", help="Give every patch the position of another.")
    ] = False
    remove: Annotated[bool, _option("--remove", help="Take positions away.")] = False
    permute_patches: Annotated[
        bool,
        _option("--permute-patches", help="Permute each image's patches (RPI)."),
    ] = False
    batch_size: Annotated[
        int | None,
        _option(
            "--batch-size",
            metavar="N",
            help="Images a batch (default: 32 on a CPU, else 256).",
            parser=whole("--batch-size", least=1),
        ),
    ] = None
    limit: Annotated[
        int | None,
        _option(
            "--limit",
            metavar="N",
            help="So many test images, drawn at random (default: all).",
            parser=whole("--limit", least=1),
        ),
    ] = None
    seed: Annotated[int, seed_option(_PANEL)] = 0
    device: Annotated[str, device_option(_PANEL)] = "auto"
    mean: Annotated[
        str | None,
        _option("--mean", metavar="X,X,X", help="The mean of each channel, on [0, 1]."),
    ] = None
    std: Annotated[str | None, _option("--std", metavar="X,X,X", help="The σ of each channel.")] = (
        None
    )
    crop_pct: Annotated[
        float | None,
        _option(
            "--crop-pct",
            metavar="X",
            help="The share of an image file's shorter side that is evaluated (default: as "
            "trained).",
        ),
    ] = None

    def arguments(self) -> dict[str, Any]:
        """Return what `pe_inspect.evaluate` is asked with."""
        return {
            **vars(self),
            "alpha": numbers("--alpha", self.alpha) or (),
            "res": pairs("--res", self.res),
            "mean": numbers("--mean", self.mean),
            "std": numbers("--std", self.std),
        }
