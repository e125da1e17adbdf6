"""What to install where a library is missing that not every user needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pe_inspect.errors import UsageError

__all__ = ["EXTRAS", "MissingLibrary", "needed"]

EXTRAS: Final = {
    "torch": "torch",
    "timm": "timm",
    "transformers": "hf",
    "sklearn": "train",
    "scipy": "train",
    "tensorboard": "train",
    "torchvision": "all",
    "open_clip": "all",
    "h5py": "keras",
}
"""Library → the extra of this package that installs it."""


class MissingLibrary(UsageError, ImportError):
    """A library is not installed; the message says how it gets there."""


@contextmanager
def needed(by: str = "This", otherwise: str = "") -> Iterator[None]:
    """Say what to install where an import in this context finds a library missing.

    Args:
        by: what needs it, as a message begins with it.
        otherwise: what else can be done, as the end of the message.

    Raises:
        MissingLibrary: a library of an extra is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in EXTRAS:
            raise
        raise MissingLibrary(
            f"{by} needs the package {library}, which is not installed: "
            f"`pip install 'pe-inspect[{EXTRAS[library]}]'`{otherwise}."
        ) from error
