"""What was found, in words and as the contract's JSON."""

from __future__ import annotations

import os
import platform
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pe_inspect.kinds.position_embedding import PositionEmbedding

__all__ = [
    "aligned",
    "as_json",
    "as_typed",
    "command_line",
    "now",
    "number",
    "ranges",
    "table",
    "versions",
]

LIBRARIES: Final = ("numpy", "matplotlib", "timm", "torch")


def as_json(pe: PositionEmbedding) -> dict[str, Any]:
    """Return one entry of `embeddings`, as `info --json` and every question print it."""
    has_width = pe.tables and pe.num_heads is None
    is_shared = (
        pe.scheme_kind.holds_angles and pe.num_heads == 1
    )  # one rotation, which all heads make
    return {
        "family": pe.family,
        "kind": pe.kind,
        "join": pe.join,
        "stored": pe.stored,
        "keys": list(pe.keys),
        "layers": list(pe.layer_names),
        "grid_size": list(pe.grid_size) if pe.tables and pe.grid_size else None,
        "num_prefix_tokens": pe.num_prefix_tokens,
        "num_prefix_rows": pe.num_prefix_rows if pe.tables else 0,
        "num_suffix_rows": pe.num_suffix_rows,
        "depth": pe.depth or len(pe.layer_names),
        "embed_dim": pe.embed_dim if has_width else None,
        "num_heads": pe.num_heads if pe.tables and not is_shared else None,
        "num_parameters": pe.num_parameters,
    }


def versions() -> dict[str, str]:
    """Return the versions that a result depends on; nothing is imported for it."""
    from pe_inspect.version import __version__

    found = {"pe_inspect": __version__, "python": platform.python_version()}
    return {**found, **{name: _version(name) for name in LIBRARIES}}


def _version(library: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "not installed"


def now() -> datetime:
    """Return the time, or SOURCE_DATE_EPOCH: then the same input gives the same bytes."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    if epoch.isdecimal():
        return datetime.fromtimestamp(int(epoch), UTC)
    return datetime.now().astimezone()


def aligned(rows: Mapping[str, Any] | Sequence[tuple[str, str]]) -> list[str]:
    """Return two columns as indented lines."""
    pairs = list(rows.items()) if isinstance(rows, Mapping) else list(rows)
    width = max((len(name) for name, _ in pairs), default=0)
    return [f"  {name:<{width}}  {value}" for name, value in pairs]


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of words as aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return [
        "  ".join(f"{word:<{width}}" for word, width in zip(row, widths)).rstrip() for row in rows
    ]


def number(value: Any) -> str:
    """Return a number as a person reads it: four digits, and none after a whole one."""
    if isinstance(value, float) and not value.is_integer():
        return f"{value:.4g}"
    return f"{value:,.0f}" if isinstance(value, (int, float)) else str(value)


def ranges(names: Sequence[str]) -> str:
    """Return `blocks.0 … blocks.11 (12)` for many names, all of them for few."""
    if len(names) <= 3:
        return ", ".join(names)
    return f"{names[0]} … {names[-1]} ({len(names)})"


def command_line() -> str:
    """Return what was typed, as one could type it again."""
    return as_typed(sys.argv[1:])


def as_typed(words: Sequence[str]) -> str:
    """Return a command line for others to read: a URL without its password and signature."""
    return shlex.join(["pe-inspect", *map(_discreet, words)])


def _discreet(word: str) -> str:
    if not re.match(r"https?://", word, re.IGNORECASE):
        return word
    return re.sub(r"\?.*", "?…", re.sub(r"(?<=//)[^/]*@", "", word, count=1), flags=re.DOTALL)
