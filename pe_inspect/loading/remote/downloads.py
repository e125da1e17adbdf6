"""All of a weight file that lies elsewhere, for those who must copy it."""

from __future__ import annotations

from pathlib import Path

from pe_inspect.errors import UsageError
from pe_inspect.loading.byte_source import Folder
from pe_inspect.loading.formats import SourceFile
from pe_inspect.loading.formats.huggingface import INDEX_NAMES, read_folder
from pe_inspect.loading.remote.names import open_named
from pe_inspect.loading.transfer import Progress, Reporter

__all__ = ["downloaded"]


def downloaded(source: str, progress: Progress | None = None) -> Path:
    """Return a file of this machine that holds all of a remote weight file, from the cache if can.

    Raises:
        UsageError: the weights are several files.
        UnreadableCheckpoint: they cannot be had.
    """
    place = open_named(source, Reporter(progress)).place
    if not isinstance(place, Folder):
        return place.whole()
    weights = read_folder(SourceFile(place)).weights
    if weights.name in INDEX_NAMES:
        raise UsageError(
            f"{source} is in several files. Download its folder first, and give that: "
            f"huggingface-cli download {source.partition(':')[2]} --local-dir DIR."
        )
    return weights.whole()
