"""Tables that are added to tokens: reading them, and telling how they join the model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, get_args

import numpy as np

from pe_inspect.arrays import Float32
from pe_inspect.errors import AmbiguousCheckpoint, UsageError
from pe_inspect.families.reading.grid import Layout, stated_by_image
from pe_inspect.families.reading.names import in_order
from pe_inspect.families.reading.norms import Norms
from pe_inspect.families.reading.tables import StoredTable, find_groups, nonfinite_note
from pe_inspect.families.reading.tensors import answered_once
from pe_inspect.families.trunk import Trunk
from pe_inspect.kinds.joins import JOINS
from pe_inspect.kinds.position_embedding import Join, LayerPE, PositionEmbedding
from pe_inspect.registry import did_you_mean

__all__ = ["StoredVectors", "is_sinusoidal", "stored_vectors", "vectors"]

NORM_TOLERANCE: Final = 0.01  # relative; bfloat16 rounds each of D values by up to 0.4 %
NOT_PUBLIC: Final = (
    "no code of PVG / MPVG (arXiv 2502.02919) is public: that its norms are called pe_norm is "
    "this project's reading"
)

_VITDET: Final = re.compile(r".*attn\.rel_pos_h$")
_DEIT_BLOCK: Final = {
    f"{module}.{part}"
    for module in ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
    for part in ("weight", "bias")
}


@dataclass(frozen=True, eq=False)
class StoredVectors:
    """The tables of one embedding and their values.

    Attributes:
        tables: one, or one a block.
        values: of each table, (tokens, embed_dim).
    """

    tables: tuple[StoredTable, ...]
    values: tuple[Float32[np.ndarray, "tokens embed_dim"], ...]


@answered_once
def stored_vectors(trunk: Trunk) -> tuple[StoredVectors, ...]:
    """Read the tables of a checkpoint, embedding by embedding."""
    return tuple(
        StoredVectors(tables, tuple(table.read(trunk) for table in tables))
        for tables in find_groups(trunk)
    )


def is_sinusoidal(table: Float32[np.ndarray, "tokens embed_dim"]) -> bool:
    """Whether every row has squared norm D/2; rows of zeros, as CLS rows are, do not count."""
    if table.shape[1] % 2 or not np.isfinite(table).all():
        return False
    norms = np.square(table, dtype=np.float64).sum(axis=1)
    moving, wanted = norms[norms > 0], table.shape[1] / 2
    return moving.size > 0 and bool(np.all(np.abs(moving - wanted) <= NORM_TOLERANCE * wanted))


def vectors(
    trunk: Trunk,
    stored: StoredVectors,
    where: Layout,
    *,
    family: str,
    learned: bool,
    notes: tuple[str, ...] = (),
) -> PositionEmbedding:
    """Build the embedding of tables that have been read and divided.

    Args:
        trunk: where they come from.
        stored: the tables and their values.
        where: their prefix rows and grid.
        family: the scheme's name.
        learned: whether the tables are parameters; a fixed table counts none.
        notes: what the scheme has to say.

    Raises:
        AmbiguousCheckpoint: the position norms fit no known join, or contradict the hint.
        UsageError: `hints.join` names no join.
    """
    norms = trunk.norms
    join, join_notes = _join(trunk, stored, norms)
    keys = [trunk.stored_key(key) for table in stored.tables for key in table.keys]
    odd = [note for key, values in zip(keys, stored.values) for note in nonfinite_note(key, values)]
    own = ("pe_norm",) if JOINS[join].is_recurrent else ()
    return PositionEmbedding(
        family=family,
        kind="vectors",
        join=join,
        tables=tuple(
            LayerPE(table.enters_at, values, where.grid_size, where.num_prefix_rows, table.part)
            for table, values in zip(stored.tables, stored.values)
        ),
        norms=norms.params,
        notes=(
            *where.notes,
            *stored.tables[0].notes,
            *_uncovered(trunk, where),
            *notes,
            *join_notes,
            *odd,
            *norms.notes,
            *trunk.missing_blocks,
        ),
        keys=(*dict.fromkeys(keys), *(k for name in own for k in norms.stored_keys(name))),
        num_prefix_tokens=num_prefix_tokens(trunk, where),
        depth=trunk.depth,
        num_suffix_rows=stored.tables[0].trailing,
        num_parameters=learned * sum(_size(trunk, table) for table in stored.tables)
        + sum(norms.num_parameters(name) for name in own),
        patch_size=None if _patches_overlap(trunk, where) else trunk.patch_size,
    )


def _patches_overlap(trunk: Trunk, where: Layout) -> bool:
    """Whether there are more patches than the config's image has room for side by side."""
    stated = stated_by_image(trunk)
    if stated is None or not stated.is_config or trunk.hints.grid_size is not None:
        return False
    return all(own > side for own, side in zip(where.grid_size, stated.grid_size))


def num_prefix_tokens(trunk: Trunk, where: Layout) -> int:
    """Return the model's prefix tokens: as said, else as stored, else as many as have rows."""
    said = trunk.hints.num_prefix_tokens
    if said is not None:
        return said
    tokens = trunk.prefix_tokens
    return tokens.total if _drops_cls(trunk) else max(tokens.total, where.num_prefix_rows)


def _drops_cls(trunk: Trunk) -> bool:
    """Whether this is a VitDet, which keeps the row of the class token that it does without."""
    return trunk.config.get("model_type") == "vitdet" or trunk.begins(_VITDET)


def _size(trunk: Trunk, table: StoredTable) -> int:
    """How many scalars a table has; those of two axes make more rows than they have."""
    if table.arrangement == "axes":
        return sum(trunk.size(key) for key in table.keys)
    return (table.rows + table.trailing) * table.embed_dim


def _uncovered(trunk: Trunk, where: Layout) -> tuple[str, ...]:
    """Return a note where a table leaves out CLS and registers: CLS's row may have been folded."""
    tokens = trunk.prefix_tokens
    if where.num_prefix_rows or not (tokens.cls and tokens.registers):
        return ()
    return (
        f"the table covers none of the {tokens.total} prefix tokens; where CLS had a row (DINOv2 "
        "with registers), timm adds it to cls_token",
    )


def _join(trunk: Trunk, stored: StoredVectors, norms: Norms) -> tuple[Join, tuple[str, ...]]:
    """Tell the join by the position norms and the tables, else by the hint, else it is `input`."""
    said = _said_join(trunk)
    joined = _normed_join(trunk, stored, norms)
    if joined is None and stored.tables[0].block is not None:
        joined = ("unshare", _short_of_blocks(trunk, stored))
    if joined is None:
        return _plain_join(trunk, said)
    if said is not None and said != joined[0]:
        return joined[0], (*joined[1], _overruled(trunk, said, joined[0]))
    return joined


def _said_join(trunk: Trunk) -> Join | None:
    said, known = trunk.hints.join, [name for name in get_args(Join) if name != "layer"]
    if said is None or said == "layer":
        return None
    if said not in known:
        raise UsageError(did_you_mean("join", said, known))
    join: Join = next(name for name in get_args(Join) if name == said)
    return join


def _plain_join(trunk: Trunk, said: Join | None) -> tuple[Join, tuple[str, ...]]:
    """Return the join of one table without position norms: what was said, if that can be."""
    if said in ("input", "share"):
        return said, (f"join={said} from {trunk.hints.origin('join')}",)
    if said is not None and trunk.hints.is_flag("join"):
        wanted = "one table a block" if said == "unshare" else "norms called blocks.#.pe_norm"
        raise AmbiguousCheckpoint(
            f"--join {said} needs {wanted}, and {trunk.source} holds one table and no such "
            "norms. It can be --join input or --join share."
        )
    if _has_keys_of_deit(trunk):
        return "input", ("join=input assumed: LaPE's share has the same keys (--join share)",)
    return "input", ()


def _has_keys_of_deit(trunk: Trunk) -> bool:
    """Whether the first block and the tokens are DeiT's, and so LaPE's, to the letter."""
    names, block = trunk.names, trunk.names_in("blocks.0")
    return block == _DEIT_BLOCK and "cls_token" in names and "norm_pre.weight" not in names


def _overruled(trunk: Trunk, said: Join, found: Join) -> str:
    who = trunk.hints.origin("join")
    if trunk.hints.is_flag("join"):
        raise AmbiguousCheckpoint(
            f"--join {said} contradicts the tensors of {trunk.source}, which are those of "
            f"join={found}. Leave --join out, or pass --join {found}."
        )
    return f"{who} says join={said}; the tensors are those of {found}, which was taken"


def _normed_join(
    trunk: Trunk, stored: StoredVectors, norms: Norms
) -> tuple[Join, tuple[str, ...]] | None:
    """Tell LaPE (a pe_norm in every block) from PVG (all but block 0) and MPVG (one at the end).

    Sources: LaPE, arXiv:2212.05262, Eq. 9-11; PVG and MPVG, arXiv:2502.02919.
    """
    named = norms.norms_named("pe_norm")
    last = named.pop("", None)
    if not named and last is None:
        return None
    _check_widths(trunk, stored, norms)
    blocks, have = trunk.depth, {in_order(layer)[0] for layer in named}
    if have == set(range(blocks)):
        odd = ("the top-level pe_norm has no place in LaPE and was not used",) if last else ()
        return "lape", odd
    if have == set(range(1, blocks)):
        return ("mpvg" if last else "pvg"), (NOT_PUBLIC,)
    raise AmbiguousCheckpoint(
        f"pe_norm is in blocks {_ranges(sorted(have)) or 'none'} of {blocks}: LaPE has one in "
        "every block, PVG and MPVG in every block but the first. The file is not whole, or of "
        "another scheme."
    )


def _check_widths(trunk: Trunk, stored: StoredVectors, norms: Norms) -> None:
    dim = stored.tables[0].embed_dim
    odd = [n for n in norms.params if n.name == "pe_norm" and n.num_features != dim]
    if odd:
        raise AmbiguousCheckpoint(
            f"{odd[0].path} has {odd[0].num_features} features, "
            f"{trunk.stored_key(stored.tables[0].key)} has embed_dim {dim}; "
            "a position norm acts on the table's rows. The file mixes two models."
        )


def _short_of_blocks(trunk: Trunk, stored: StoredVectors) -> tuple[str, ...]:
    blocks = trunk.depth
    if blocks in (0, len(stored.tables)):
        return ()
    return (f"{len(stored.tables)} tables, one a block, for {blocks} blocks",)


def _ranges(numbers: list[int]) -> str:
    """Write block numbers as runs: `0–5, 8`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{r[0]}–{r[-1]}" if len(r) > 1 else str(r[0]) for r in runs)
