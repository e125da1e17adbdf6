"""An embedding in words and plain numbers: the top of the page and its provenance."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from pe_inspect.analysis.common.sentences import count_text, listed
from pe_inspect.kinds.held_values import packed
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.page.content import Entry, Fact
from pe_inspect.version import __version__

__all__ = ["facts_of", "lede_of", "made_with", "provenance_of", "traits_of"]

_JOINS: Final[Mapping[str, str]] = {
    "input": "added to the tokens once, before the first block",
    "lape": "added in every block through a LayerNorm of its own (LaPE)",
    "pvg": "added at the input, and in every later block through a LayerNorm of its own (PVG)",
    "mpvg": "added at the input, in every later block and before the last norm (MPVG)",
    "share": "the same table added in every block",
    "unshare": "a table for each block",
    "layer": "used inside attention",
    "none": "not joined to the tokens",
}
_NORMED_BIAS: Final = "in every block through a LayerNorm of its own (LaPE), inside attention"
_PACKAGES: Final = ("numpy", "matplotlib", "timm", "torch")


def lede_of(pe: PositionEmbedding) -> str:
    """Return one sentence: what it is, over what, and how the model uses it."""
    what = pe.facts.sentence or f"A position embedding of the family {pe.family}"
    source = "" if pe.stored else " It is not in the file: its values were computed."
    return f"{what}{_extent(pe)}; {_joined(pe)}.{source}"


def _joined(pe: PositionEmbedding) -> str:
    if pe.facts.added_between_layers:
        return "added to the tokens between layers"
    return (
        _NORMED_BIAS
        if pe.scheme_join.is_recurrent and pe.scheme_kind.is_pairwise
        else _JOINS[pe.join]
    )


def _extent(pe: PositionEmbedding) -> str:
    if not pe.tables:
        return ""
    prefix = pe.num_prefix_rows
    tokens = f" and {count_text(prefix, 'prefix token')}" if prefix else ""
    is_known = all(table.grid_size is not None for table in pe.tables)
    patches = f"{_grid_words(pe)} patches" if is_known else "patches whose grid is not known"
    return f", for {patches}{tokens}"


def _grid_words(pe: PositionEmbedding) -> str:
    grids = {t.grid_size: "grid not known" if t.grid_size is None else t.grid_words
             for t in pe.tables}  # fmt: skip
    return listed(list(grids.values()))


def traits_of(pe: PositionEmbedding) -> tuple[Fact, ...]:
    """Return what the headline says, for a comparison."""
    return (Fact("Scheme", pe.family), Fact("Join", pe.join))


def facts_of(pe: PositionEmbedding) -> tuple[Fact, ...]:
    """Return the numbers of the embedding itself."""
    missing = pe.num_nonfinite
    facts = (
        *_geometry(pe),
        Fact("Layers", pe.depth or len(pe.layer_names), _table_facts(pe)),
        Fact("Learned scalars", pe.num_parameters, "norms of the scheme included"),
        Fact("Non-finite values", missing, "NaN or infinite; drawn as missing"),
    )
    return facts if missing else facts[:-1]


def _table_facts(pe: PositionEmbedding) -> str:
    """Count what the file holds: layers may share a table, and angles come of a few tensors."""
    if pe.scheme_kind.holds_angles and pe.stored and pe.keys:
        return count_text(len(pe.keys), "stored tensor")
    is_computed = pe.scheme_kind.is_computed or not pe.stored
    distinct = {names[0] for names in packed([table.held for table in pe.tables])[0]}
    return count_text(len(distinct), "computed table" if is_computed else "stored table")


def _geometry(pe: PositionEmbedding) -> tuple[Fact, ...]:
    if not pe.tables:
        return ()
    prefix = f" + {pe.num_prefix_rows}" if pe.num_prefix_rows else ""
    what = "patches and prefix rows" if prefix else "patches, rows × columns"
    return (Fact("Positions", _grid_words(pe) + prefix, what), _width(pe))


def _width(pe: PositionEmbedding) -> Fact:
    if pe.num_heads is None:
        widths = list(dict.fromkeys(table.shape[-1] for table in pe.tables))
        if len(widths) > 1:
            return Fact("Channels", listed([f"{width:,}" for width in widths]), "by table")
        return Fact("Channels", pe.embed_dim)
    heads = list(dict.fromkeys(table.shape[0] for table in pe.tables))
    if heads == [1]:
        return Fact("Heads", "all", "share the same values")
    if len(heads) == 1:
        return Fact("Heads", heads[0])
    return Fact("Heads", ", ".join(map(str, heads)), "from first to last layer")


def provenance_of(pe: PositionEmbedding) -> tuple[Entry, ...]:
    """Return where the embedding comes from: file, hash, tensors, and what was assumed."""
    entries = (
        Entry("Source", (pe.source,)),
        Entry("SHA-256", (pe.sha256,)),
        Entry("Architecture", (pe.architecture or "",)),
        Entry("Keys used", pe.keys),
        Entry("Assumptions", pe.notes, is_prose=True),
    )
    return tuple(entry for entry in entries if any(entry.values))


def made_with(command: str, now: datetime | str | None) -> tuple[Entry, ...]:
    """Return what made the page: command, date where it was passed in, and versions."""
    date = now.isoformat(sep=" ", timespec="seconds") if isinstance(now, datetime) else now or ""
    entries = (
        Entry("Command", (command,)),
        Entry("Date", (date,)),
        Entry("Versions", (_versions(),), is_prose=True),
    )
    return tuple(entry for entry in entries if any(entry.values))


def _versions() -> str:
    own = (f"pe-inspect {__version__}", f"Python {platform.python_version()}")
    others = (_version_of(name) for name in _PACKAGES)
    return " · ".join((*own, *filter(None, others)))


def _version_of(package: str) -> str:
    """Read the version from the installed files: nothing is imported to find it out."""
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return ""
