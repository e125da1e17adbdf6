"""What to install where a library is missing that not every user needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Final

from pe_inspect.errors import UsageError

__all__ = ["EXTRAS", "MissingLibrary", "needed", "require"]

EXTRAS: Final = {
    "torch": "torch",
    "timm": "timm",
    "transformers": "hf",
    "sklearn": "torch",
    "scipy": "train",
    "tensorboard": "train",
    "xarray": "xarray",
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
        raise _missing(library, by, otherwise) from error


def require(libraries: Iterable[str], by: str) -> None:
    """Look for libraries of extras without importing them.

    Args:
        libraries: by the names that they are imported by, of `EXTRAS`.
        by: what needs them, as a message begins with it.

    Raises:
        MissingLibrary: one is not installed.
    """
    for library in libraries:
        if not _is_installed(library):
            raise _missing(library, by)


def _is_installed(library: str) -> bool:
    try:
        return find_spec(library) is not None
    except ValueError:  # it is kept from being imported
        return False


def _missing(library: str, by: str, otherwise: str = "") -> MissingLibrary:
    return MissingLibrary(
        f"{by} needs the package {library}, which is not installed: "
        f"`pip install 'pe-inspect[{EXTRAS[library]}]'`{otherwise}."
    )
