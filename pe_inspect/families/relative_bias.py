"""Learned biases by offset, added to the attention logits: Swin, BEiT, MaxViT, LaPE's RPE models.

Sources: arXiv:2103.14030 (Swin), arXiv:2106.08254 (BEiT), arXiv:2106.04803 (CoAtNet),
arXiv:2204.01697 (MaxViT), arXiv:2212.05262 (LaPE, Table 7).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families import Family, families
from pe_inspect.families.reading.bias_tables import BiasTable, find_bias_tables
from pe_inspect.families.reading.norms import BIAS_NORM
from pe_inspect.families.reading.tables import nonfinite_note
from pe_inspect.families.trunk import Trunk
from pe_inspect.kinds.held_values import Lookup
from pe_inspect.kinds.joins import JOINS
from pe_inspect.kinds.parts import FamilyFacts
from pe_inspect.kinds.position_embedding import Join, LayerPE, PositionEmbedding

if TYPE_CHECKING:
    from pe_inspect.families.reading.windows import Window

__all__ = ["detect", "extract"]

NAME: Final = "relative_bias"


def detect(trunk: Trunk) -> bool:
    """Whether the checkpoint holds tables of offsets."""
    return bool(find_bias_tables(trunk))


def extract(trunk: Trunk) -> tuple[PositionEmbedding, ...]:
    """Read the tables; each becomes the bias of every pair of tokens, one an attention."""
    tables = find_bias_tables(trunk)
    if not tables:
        return ()
    from pe_inspect.families.reading.windows import windows_for

    norms = trunk.norms
    windows = windows_for(trunk, tables)
    stored = {table.key: table.read(trunk) for table in tables}
    join: Join = "lape" if norms.norms_named(BIAS_NORM) else "layer"
    _refuse_other_join(trunk, join)
    pe = PositionEmbedding(
        family=NAME,
        kind="bias",
        join=join,
        tables=_looked_up(tables, windows, stored),
        norms=norms.params,
        notes=(*_notes(trunk, tables, windows, stored), *norms.notes),
        keys=(*map(trunk.stored_key, stored), *norms.stored_keys(BIAS_NORM)),
        num_prefix_tokens=_num_prefix_tokens(trunk, windows),
        depth=trunk.depth,
        num_parameters=sum(v.size for v in stored.values()) + norms.num_parameters(BIAS_NORM),
        patch_size=trunk.patch_size,
    )
    return (pe,)


def _refuse_other_join(trunk: Trunk, join: Join) -> None:
    said = trunk.hints.join
    if said not in (None, join) and trunk.hints.is_flag("join"):
        which = "a norm over the keys" if JOINS[join].is_recurrent else "no norm over the keys"
        raise AmbiguousCheckpoint(
            f"--join {said} contradicts {trunk.source}: its relative bias has {which}, which "
            f"is join={join}. Leave --join out."
        )


def _looked_up(
    tables: tuple[BiasTable, ...], windows: list[Window], stored: dict[str, np.ndarray]
) -> tuple[LayerPE, ...]:
    """Return each block's bias, expanded on demand; blocks that share a table share its bias."""
    biases = {
        (table.key, window.grid_size): Lookup(stored[table.key], window.index)
        for table, window in zip(tables, windows)
    }
    return tuple(
        LayerPE.from_lookup(t.layer, biases[t.key, w.grid_size], w.grid_size, w.num_prefix, t.part)
        for t, w in zip(tables, windows)
    )


def _notes(
    trunk: Trunk,
    tables: tuple[BiasTable, ...],
    windows: list[Window],
    stored: dict[str, np.ndarray],
) -> tuple[str, ...]:
    from pe_inspect.families.reading.windows import index_notes

    notes = [note for window in windows for note in window.notes]
    stored_once = {t.key: (t, w) for t, w in zip(tables, windows)}.values()
    notes += index_notes(trunk, stored_once)
    for table, _ in stored_once:
        notes += nonfinite_note(trunk.stored_key(table.key), stored[table.key])
    if len(stored) < len(tables):
        notes.append(f"one table, shared by all {len(tables)} blocks")
    notes += _which_rpe(trunk, tables, windows)
    return (
        *dict.fromkeys(notes),
        *_blocks_without(trunk, tables),
        *trunk.missing_blocks,
    )


def _which_rpe(
    trunk: Trunk, tables: tuple[BiasTable, ...], windows: list[Window]
) -> tuple[str, ...]:
    """Return a note for LaPE's RPE models: a ViT with CLS whose bias covers patches only."""
    covers_cls = any(window.num_prefix or window.is_sequence for window in windows)
    if covers_cls or not trunk.prefix_tokens.cls or not tables[0].layer.startswith("blocks."):
        return ()
    said = trunk.hints.pe
    names = f"pe={said}" if said else "LaPE's 1D_RPE and 2D_RPE have the same keys"
    return (f"{names}: read as offsets in two dimensions, between patches only",)


def _blocks_without(trunk: Trunk, tables: tuple[BiasTable, ...]) -> tuple[str, ...]:
    blocks, holding = trunk.depth, len({table.layer for table in tables})
    if holding == blocks:
        return ()
    return (f"{holding} of {blocks} blocks hold a bias table",)


def _num_prefix_tokens(trunk: Trunk, windows: list[Window]) -> int:
    said = trunk.hints.num_prefix_tokens
    if said is not None:
        return said
    return max(trunk.prefix_tokens.total, windows[0].num_prefix)


families.register(NAME)(
    Family(
        name=NAME,
        looks_for="a `relative_position_bias_table` of (2H−1)(2W−1) offsets × heads in each block "
        "(three rows more with CLS), or heads × (2H−1) × (2W−1), or one that all blocks share",
        example="Swin (timm, the original, torchvision, transformers), BEiT, CoAtNet, MaxViT, "
        "GC-ViT, LaPE's pe=2D_RPE",
        detect=detect,
        extract=extract,
        facts=FamilyFacts(
            native_scheme="rel_bias_2d",
            sentence="A learned bias on attention, by the offset of two positions",
        ),
    )
)
