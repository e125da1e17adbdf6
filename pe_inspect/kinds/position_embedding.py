"""The container that every analysis is handed: one scheme of one checkpoint, as plain arrays.

Nothing to the right of this module knows that checkpoints, timm or torch exist.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np

from pe_inspect.bounded import parsed_json, typed, typed_fields
from pe_inspect.errors import PEInspectError, UnreadableCheckpoint, reason
from pe_inspect.kinds.held_values import packed, unpacked
from pe_inspect.kinds.joins import JOINS, Join, SchemeJoin
from pe_inspect.kinds.parts import (
    FamilyFacts,
    Grid,
    LayerNormParams,
    LayerPE,
    Relation,
    Step,
    flat_grid,
)
from pe_inspect.kinds.scheme_kind import AffinityDefinition, Kind, SchemeKind, kind_of

__all__ = ["Join", "Kind", "LayerNormParams", "LayerPE", "PositionEmbedding", "Relation"]

FORMAT_VERSION: Final = 1
MOST_BLOCKS: Final = 10_000


@dataclass(frozen=True, eq=False)
class PositionEmbedding:
    """One position-embedding scheme of one checkpoint, with the norms that act on it.

    `values` of each layer, by kind:

    ==========  ======================================================  =======================
    vectors     (num_prefix_rows + H·W, embed_dim)                      added to tokens
    bias        (num_heads, tokens, tokens)                             added to attention logits
    phases      (num_heads or 1, H·W, head_dim / 2), radians            rotate q and k
    relative    (num_prefix_rows + num_offsets, head_dim) per axis      per-offset vectors
    function    (H·W, channels), for a stated input                     computed from the input
    function    (num_heads, tokens, tokens), for a stated window        computed for each pair
    ==========  ======================================================  =======================

    Attributes:
        family: the registered name of the scheme, e.g. `"learned_absolute"`.
        join: how it enters: once (`input`), normalised anew before every block (`lape`), the same
            table before every block (`share`), one table a block (`unshare`), inside attention
            (`layer`), as in PVG / MPVG, or not at all (`none`).
        tables: what the file stores: one for `input`, `lape` and `share`, one a block
            for `unshare` and everything inside attention. They are raw: before any norm.
        norms: the checkpoint's LayerNorms, ordered by block.
        keys: the names, as the file stores them, of the tensors that were used.
        num_prefix_tokens: the model's prefix tokens, which the table need not cover.
        depth: the number of transformer blocks; 0 where the file does not say.
        num_parameters: learned scalars of the scheme (LaPE's norms included, fixed tables 0).
        stored: false where the file holds no such tensor and the values were computed.
        notes: every guess and every correction, in words.
        patch_size: (height, width) of a patch in pixels; `None` where the file does not say.
        library: whose format the file has, as a method of `interpolate`, where more than the names
            of the tables tells it.
        model_type: what a config.json calls the model, or the tower that holds the embedding.
        relation: how the tables of kind `relative` make the vector of a pair.
        num_suffix_rows: rows behind the patches, those of detection tokens, which the file stores
            and the tables here leave out.
        facts: what holds of every embedding of the family.
    """

    family: str
    kind: Kind
    join: Join
    tables: tuple[LayerPE, ...]
    norms: tuple[LayerNormParams, ...] = ()
    source: str = ""
    sha256: str = ""
    notes: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    num_prefix_tokens: int = 0
    depth: int = 0
    num_parameters: int = 0
    stored: bool = True
    patch_size: tuple[int, int] | None = None
    architecture: str | None = None
    library: str | None = None
    model_type: str | None = None
    relation: Relation = field(default_factory=Relation)
    num_suffix_rows: int = 0
    facts: FamilyFacts = field(default_factory=FamilyFacts)

    def __post_init__(self) -> None:
        kind = self.scheme_kind
        if self.join not in JOINS:
            raise ValueError(f"join is {self.join!r}; expected one of {', '.join(get_args(Join))}")
        if not 0 <= self.depth <= MOST_BLOCKS:
            raise ValueError(f"depth is {self.depth}; expected a number of blocks")
        for table in self.tables:
            kind.check(table)

    def __repr__(self) -> str:
        return f"PositionEmbedding({self.headline})"

    @property
    def layers(self) -> tuple[LayerPE, ...]:
        """The former name of `tables`; it will be gone with the release after this one."""
        warnings.warn(
            "PositionEmbedding.layers is now called tables.", DeprecationWarning, stacklevel=2
        )
        return self.tables

    @property
    def scheme_kind(self) -> SchemeKind:
        """What `kind` stands for: all that questions share about it."""
        return kind_of(self.kind, self.tables)

    @property
    def scheme_join(self) -> SchemeJoin:
        """What `join` stands for."""
        return JOINS[self.join]

    @property
    def affinity(self) -> AffinityDefinition:
        """What the affinity of two of its patches means."""
        return self.scheme_kind.definition(self.tables, self.relation)

    @property
    def steps(self) -> tuple[Step, ...]:
        """How each layer comes to its table; nothing is computed."""
        return self.scheme_kind.steps(self)

    @property
    def grid_size(self) -> Grid:
        """(H, W) of the first table, (T, H, W) with frames, `None` where no file tells it."""
        return self.tables[0].grid_size

    @property
    def has_places(self) -> bool:
        """Whether its tables are for any places: nothing tells the grid of one that is not."""
        return all(table.num_patches for table in self.tables)

    def require_flat_grid(self, question: str) -> None:
        """Refuse a question that reads rows and columns of a table that has none, or has frames.

        Raises:
            UsageError: with the grid, and what to do.
        """
        flat_grid((table.grid_size for table in self.tables), question)

    @property
    def num_prefix_rows(self) -> int:
        """How many prefix tokens the first table covers."""
        return self.tables[0].num_prefix_rows

    @property
    def embed_dim(self) -> int:
        """Channels of the first table (for `phases`: angles a head; for `bias`: tokens)."""
        return self.tables[0].shape[-1]

    @property
    def is_pairwise(self) -> bool:
        """Whether values are per head and pair of tokens: a bias, stored or computed."""
        return self.scheme_kind.is_pairwise

    @property
    def has_networks(self) -> bool:
        """Whether a network computes every table, for any window."""
        return all(table.network is not None for table in self.tables)

    @property
    def num_heads(self) -> int | None:
        """Heads of the first table, where it has a head axis."""
        return self.scheme_kind.num_heads(self.tables[0]) if self.tables else None

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The layers at which the embedding enters the model, in order."""
        if self.scheme_join.shares_one_table and len(self.tables) == 1 and self.depth:
            return tuple(f"blocks.{i}" for i in range(self.depth))
        return tuple(dict.fromkeys(table.layer for table in self.tables))

    @property
    def headline(self) -> str:
        """The line that says what was found, everywhere the same.

        `learned_absolute · 14×14 + 1 prefix · D=192 · 12 layers · join=lape`
        """
        depth = self.depth or len(self.layer_names)
        parts = [
            self.family,
            *_geometry(self),
            f"{depth} layer{'s' * (depth != 1)}",
            f"join={self.join}",
        ]
        return " · ".join(parts if self.stored else [*parts, "computed, not stored"])

    @property
    def num_nonfinite(self) -> int:
        """How many values of the tables are NaN or infinite."""
        return sum(int((~np.isfinite(table.values)).sum()) for table in self.tables)

    def norms_named(self, name: str) -> dict[str, LayerNormParams]:
        """Return layer → norm for every norm of that name, in block order."""
        return {norm.layer: norm for norm in self.norms if norm.name == name}

    def save(self, path: str | Path) -> Path:
        """Write the extraction as `*.pe.safetensors`, whole or not at all; `open` reads it back."""
        from safetensors.numpy import save

        from pe_inspect.files import write_atomically

        header = {"pe_inspect": json.dumps(_describe(self))}
        content = save(_arrays(self), metadata=header)
        return write_atomically(Path(path), lambda file: file.write(content))

    @classmethod
    def open(cls, path: str | Path) -> PositionEmbedding:
        """Reopen what `save` wrote. The arrays and every field are exactly the saved ones.

        Raises:
            UnreadableCheckpoint: the file is not a saved extraction.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(path), framework="numpy") as file:
                header = file.metadata() or {}
                arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return _rebuild(parsed_json(header["pe_inspect"]), arrays)
        except (SafetensorError, KeyError, TypeError, ValueError, OSError, PEInspectError) as error:
            raise UnreadableCheckpoint(
                f"{path} is not a saved extraction (*.pe.safetensors): {reason(error)}"
            ) from error


def _geometry(pe: PositionEmbedding) -> list[str]:
    """Return grid and width in words; stages of a pyramid differ in grid and heads."""
    if not pe.tables:
        return []
    grids = ", ".join(dict.fromkeys(table.grid_words for table in pe.tables))
    prefix = f" + {pe.num_prefix_rows} prefix" if pe.num_prefix_rows else ""
    return [grids + prefix, pe.scheme_kind.width(pe.tables)]


_PLAIN_FIELDS: Final = tuple(
    field.name
    for field in fields(PositionEmbedding)
    if field.name not in ("tables", "norms", "relation", "facts")
)


def _describe(pe: PositionEmbedding) -> dict[str, Any]:
    tables = [
        [t.layer, _list_if_tuple(t.grid_size), t.num_prefix_rows, t.part, names]
        for t, names in zip(pe.tables, packed([table.held for table in pe.tables])[0])
    ]
    norms = [[n.layer, n.name, n.eps] for n in pe.norms]
    plain = {name: getattr(pe, name) for name in _PLAIN_FIELDS}
    named = {"layers": tables, "norms": norms, "relation": asdict(pe.relation)}
    named["facts"] = asdict(pe.facts)
    return {"version": FORMAT_VERSION, **plain, **named}


def _arrays(pe: PositionEmbedding) -> dict[str, np.ndarray]:
    _, arrays = packed([table.held for table in pe.tables])
    for i, norm in enumerate(pe.norms):
        arrays[f"norms.{i}.weight"] = norm.weight
        if norm.bias is not None:
            arrays[f"norms.{i}.bias"] = norm.bias
    return arrays


_SAVED_TABLES: Final = tuple[
    tuple[str, tuple[int, int] | tuple[int, int, int] | None, int, str, tuple[str, ...]], ...
]
_SAVED_NORMS: Final = tuple[tuple[str, str, float], ...]


def _rebuild(saved: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> PositionEmbedding:
    layers = tuple(
        LayerPE(layer, unpacked(names, arrays), grid, rows, part)
        for layer, grid, rows, part, names in typed(saved["layers"], _SAVED_TABLES)
    )
    norms = tuple(
        LayerNormParams(
            layer, name, arrays[f"norms.{i}.weight"], arrays.get(f"norms.{i}.bias"), eps
        )
        for i, (layer, name, eps) in enumerate(typed(saved["norms"], _SAVED_NORMS))
    )
    plain = typed_fields(PositionEmbedding, saved, _PLAIN_FIELDS)  # older ones say less
    relation = Relation(**typed_fields(Relation, saved.get("relation", {})))
    facts = FamilyFacts(**typed_fields(FamilyFacts, saved.get("facts", {})))
    return PositionEmbedding(tables=layers, norms=norms, relation=relation, facts=facts, **plain)


def _list_if_tuple(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
