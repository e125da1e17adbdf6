"""What a position embedding is made of: tables and their grids, norms, relations, facts, steps.

A step says how a layer comes to its table, before anything is computed.
Three notions are kept apart, and every figure says which it shows:

- `joined`: the model itself computes these values before it adds them (LaPE's recurrence, and
  whatever is computed from the input or by a small network), or adds them to its attention logits
  (a bias).
- `proxy`: LN1_l(table), what LaPE's authors draw for models that add the table to the tokens. No
  layer sees exactly that: norm1 acts on the sum of content and position.
- `stored`: the table as the file holds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

import numpy as np

from pe_inspect.arrays import Float32, Num
from pe_inspect.errors import UndecidedGrid, UnfitShapes, UsageError
from pe_inspect.kinds.held_values import HeldValues, Lookup, Unread

if TYPE_CHECKING:
    from pe_inspect.kinds.offset_network import OffsetNetwork

__all__ = [
    "Beginning",
    "FamilyFacts",
    "FlatGrid",
    "Grid",
    "LayerNormParams",
    "LayerPE",
    "Notion",
    "Relation",
    "Step",
    "checked_grid",
    "fitting",
    "flat_grid",
    "grid_words",
    "num_places",
    "without_norms",
]

FlatGrid: TypeAlias = tuple[int, int]
if TYPE_CHECKING:
    # What a question reads: it refuses any other grid by `flat_grid`, before it reads one.
    Grid: TypeAlias = FlatGrid
else:
    Grid = FlatGrid | tuple[int, int, int] | None

_AXES: Final = (2, 3)


def checked_grid(grid_size: Any) -> Grid:
    """Return a grid as whole numbers.

    Raises:
        ValueError: a side is less than 1, or there are neither two sides nor three.
    """
    if grid_size is None:
        return cast("Grid", grid_size)
    sides = tuple(int(side) for side in grid_size)
    shown = "×".join(map(str, sides))
    if len(sides) not in _AXES:
        raise ValueError(f"grid_size is {shown}; expected (H, W), (T, H, W), or None")
    if min(sides) < 1:
        which = "both" if len(sides) == 2 else "all"
        raise ValueError(f"grid_size is {shown}; {which} sides must be at least 1")
    return cast("Grid", sides)


def grid_words(grid_size: Any) -> str:
    """Return a grid as it is printed: `14×14`, `8×14×14`, `unknown grid`."""
    return "unknown grid" if grid_size is None else "×".join(map(str, grid_size))


def num_places(grid_size: Any, shape: tuple[int, ...], num_prefix_rows: int) -> int:
    """Return the patches of a grid; of an unknown one, the rows that a table has for them."""
    return shape[-2] - num_prefix_rows if grid_size is None else prod(grid_size)


def flat_grid(grids: Iterable[Any], question: str) -> None:
    """Refuse grids that a question cannot lay out in rows and columns.

    Args:
        grids: those of an embedding's tables.
        question: what was asked, as it is named on the command line.

    Raises:
        UndecidedGrid: a grid is not known.
        UsageError: a grid has a time axis.
    """
    for grid in grids:
        if grid is None:
            raise UndecidedGrid(
                f"{question}: nothing in the file tells the grid of this table. "
                "Pass --grid-size HxW, or --arch timm:NAME."
            )
        if len(grid) != 2:
            raise UsageError(
                f"{question} of a T×H×W grid is not done yet, and this table has one: "
                f"{grid_words(grid)}. A single frame, as a table of H×W patches, can be asked."
            )


@dataclass(frozen=True, eq=False)
class LayerPE:
    """One position table, as one layer holds it.

    Attributes:
        layer: where it enters: `"input"`, or timm's module path, e.g. `"blocks.3"`.
        values: the table, float32 and read-only; its axes depend on the scheme's kind (see
            `PositionEmbedding`). Those of `from_lookup` are expanded at each reading.
        grid_size: (H, W) patches, rows first; (T, H, W) with frames ahead; `None` where no file
            tells it.
        num_prefix_rows: rows (for `bias`: rows and columns) ahead of the patches, e.g. 1 for CLS.
        part: which of a layer's tables this is, where it has several: `"query.y"`; else empty.
        num_frames: how many frames stand side by side in the columns of `grid_size`; 1 for images.
    """

    layer: str
    if TYPE_CHECKING:
        values: Float32[np.ndarray, "..."]
    else:
        values: Num[np.ndarray, "..."] | Lookup = HeldValues()
    grid_size: Grid
    num_prefix_rows: int = 0
    part: str = ""
    num_frames: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "grid_size", checked_grid(self.grid_size))

    @classmethod
    def from_lookup(
        cls,
        layer: str,
        lookup: Lookup,
        grid_size: Grid,
        num_prefix_rows: int = 0,
        part: str = "",
    ) -> LayerPE:
        """Return a bias that is expanded when its `values` are read, and not before."""
        values: Any = lookup
        return cls(layer, values, grid_size, num_prefix_rows, part)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name}, {'×'.join(map(str, self.shape))})"

    @property
    def held(self) -> Float32[np.ndarray, "..."] | Lookup:
        """What stands behind `values`: the array itself, or what it is looked up in."""
        held: Float32[np.ndarray, "..."] | Lookup = self.__dict__["values"]
        return held

    @property
    def network(self) -> OffsetNetwork | None:
        """What computes the bias of any window; `None` of values that are stored."""
        return self.held.network if isinstance(self.held, Lookup) else None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of `values`, without expanding them."""
        return self.held.shape

    @property
    def num_patches(self) -> int:
        """H·W, or T·H·W; where the grid is not known, the rows that the table has for patches."""
        return num_places(self.grid_size, self.shape, self.num_prefix_rows)

    @property
    def grid_words(self) -> str:
        """The grid as it is printed: `14×14`, `8×14×14`, `unknown grid`."""
        return grid_words(self.grid_size)

    @property
    def patches(self) -> Float32[np.ndarray, "..."]:
        """The values without the prefix rows (for a square bias: without their columns too)."""
        p, values = self.num_prefix_rows, self.values
        return values[:, p:, p:] if self.is_pairwise else values[..., p:, :]

    @property
    def is_pairwise(self) -> bool:
        """Whether the values are per head and pair of tokens."""
        shape = self.shape
        return len(shape) == 3 and shape[1] == shape[2]

    @property
    def prefix(self) -> Float32[np.ndarray, "..."]:
        """The prefix rows alone: (..., num_prefix_rows, channels)."""
        return self.values[..., : self.num_prefix_rows, :]

    @property
    def name(self) -> str:
        """The layer, and the part where there is one: `"blocks.3"`, `"blocks.3.query.y"`."""
        return f"{self.layer}.{self.part}" if self.part else self.layer


@dataclass(frozen=True, eq=False)
class LayerNormParams:
    """One LayerNorm's affine parameters, under timm's names.

    Attributes:
        layer: the block that it belongs to, e.g. `"blocks.3"`; `""` for a model-level norm.
        name: timm's attribute name: `"norm1"`, `"norm2"`, `"pe_norm"`, `"attn.pe_norm"`, `"norm"`.
        weight: γ, (features,), float32 and read-only; that of a file is read when it is looked at.
        bias: β, (features,), as well; `None` for an RMS norm.
        eps: the ε of the model; no file stores it, so a note says where it comes from.
    """

    layer: str
    name: str
    if TYPE_CHECKING:
        weight: Float32[np.ndarray, " features"]
        bias: Float32[np.ndarray, " features"] | None
    else:
        weight: Num[np.ndarray, " features"] | Unread = HeldValues()
        bias: Num[np.ndarray, " features"] | Unread | None = HeldValues()
    eps: float

    def __post_init__(self) -> None:
        weight, bias = (self.__dict__[name] for name in ("weight", "bias"))
        if bias is not None and bias.shape != weight.shape:
            raise UnfitShapes(f"{self.path}: weight has shape {weight.shape}, bias {bias.shape}")

    def __repr__(self) -> str:
        return f"LayerNormParams({self.path}, {self.num_features} features, eps={self.eps:g})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.layer, self.name, self.weight, self.bias, self.eps)

    @property
    def path(self) -> str:
        """The norm's whole name: `"blocks.3.norm1"`."""
        return f"{self.layer}.{self.name}" if self.layer else self.name

    @property
    def num_features(self) -> int:
        """How many features it acts on; nothing is read."""
        return prod(self.__dict__["weight"].shape)

    @property
    def num_parameters(self) -> int:
        """How many scalars it holds; nothing is read."""
        return self.num_features * (1 if self.__dict__["bias"] is None else 2)


@dataclass(frozen=True)
class Relation:
    """How a `relative` scheme makes the vector of a pair of patches from its tables.

    A layer has a table per axis (parts `"y"` and `"x"`), or one for both (part `"yx"`, offsets
    row-major); a name ahead of these, as in `"query.y"`, tells several such vectors apart.

    Attributes:
        combine: whether the rows of the two axes are laid side by side or added.
        offset: which difference a row is for, counted from the least one.
        beyond: for offsets that a table does not reach, its last row (`"clip"`) or no vector at
            all (`"none"`).
    """

    combine: Literal["concatenate", "sum"] = "concatenate"
    offset: Literal["key-query", "query-key"] = "key-query"
    beyond: Literal["clip", "none"] = "clip"


Beginning = Literal["random", "rule", "form"]


@dataclass(frozen=True)
class FamilyFacts:
    """What later rooms need to know of a scheme, and cannot tell from its arrays.

    A family states it once, and each of its embeddings carries it.

    Attributes:
        sentence: what it is, without a full stop; empty where no family states it.
        source: the paper of a network whose values are computed; empty for others.
        begins: what its maps show before training: noise (`random`), the pattern that a rule
            gives (`rule`), or the one that the scheme's form gives to any numbers (`form`).
        computed_from: what its values are computed from, where they are.
        serves_any_grid: whether the stored offsets are those of any grid.
        added_between_layers: whether it is added to the tokens between layers.
        is_of_stages: whether its tables are those of a pyramid's stages, each on a grid of its own.
        needs_no_change: why its tensors are the same at any resolution; empty where they are not.
        native_scheme: what the native ViT calls it, in the names of a plain ViT; empty where it
            does not have it under these.
    """

    sentence: str = ""
    source: str = ""
    begins: Beginning = "form"
    computed_from: str = "the input"
    serves_any_grid: bool = False
    added_between_layers: bool = False
    is_of_stages: bool = False
    needs_no_change: str = ""
    native_scheme: str = ""


Notion = Literal["joined", "proxy", "stored"]


@dataclass(frozen=True, eq=False)
class Step:
    """How one layer comes to its table.

    Attributes:
        layer: the layer that receives it.
        table: the stored table that it starts from.
        notion: see the module's text.
        norm: what is applied, where anything is.
        continues: the norm acts on what the step before gave, not on `table`.
    """

    layer: str
    table: LayerPE
    notion: Notion = "stored"
    norm: LayerNormParams | None = None
    continues: bool = False

    @property
    def name(self) -> str:
        """The layer, and the part of it where it has several tables."""
        return f"{self.layer}.{self.table.part}" if self.table.part else self.layer


def without_norms(tables: Sequence[LayerPE], notion: Notion) -> tuple[Step, ...]:
    """Return one step a table, on which no norm acts."""
    return tuple(Step(table.layer, table, notion) for table in tables)


def fitting(norm: LayerNormParams | None, table: LayerPE) -> LayerNormParams | None:
    """Return the norm if it is as wide as the table: those of other stages never see it."""
    fits = norm is not None and norm.num_features == table.shape[-1]
    return norm if fits else None
