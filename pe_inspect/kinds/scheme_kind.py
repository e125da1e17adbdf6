"""What every kind of position embedding answers, whatever the question.

There is one object a kind, each in a file of its own. It knows what many questions share: shapes,
heads, affinity, the tables of each layer, and the layout in which a table is resampled. What
varies by kind and belongs to one question is a total table `{kind: ...}` in that question's file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar, Final, Literal, Protocol, runtime_checkable

import numpy as np

from pe_inspect.arrays import Float32
from pe_inspect.errors import UnfitShapes
from pe_inspect.kinds.joins import SchemeJoin
from pe_inspect.kinds.parts import LayerNormParams, LayerPE, Relation, Step, without_norms

if TYPE_CHECKING:
    from pe_inspect.kinds.affinity import Affinity

__all__ = ["AffinityDefinition", "HeldScheme", "Kind", "SchemeKind", "kind_of"]

Kind = Literal["vectors", "bias", "phases", "relative", "function"]


@dataclass(frozen=True)
class AffinityDefinition:
    """What an affinity is called, what it means, and the scale it is drawn on.

    Attributes:
        name: two to four words for an axis label.
        sentence: the definition.
        limit: it lies in [−limit, limit]; `None` where only the data can tell.
    """

    name: str
    sentence: str
    limit: float | None = 1.0


@runtime_checkable
class HeldScheme(Protocol):
    """What a kind asks of the embedding: `PositionEmbedding` has it all."""

    @property
    def tables(self) -> tuple[LayerPE, ...]:
        """What the file stores."""
        ...

    @property
    def scheme_join(self) -> SchemeJoin:
        """How it enters the model."""
        ...

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The layers at which it enters."""
        ...

    def norms_named(self, name: str) -> dict[str, LayerNormParams]:
        """Layer → norm for every norm of that name."""
        ...


@dataclass(frozen=True)
class SchemeKind:
    """One kind; all objects of a kind are equal.

    The defaults are those of a table with one row a patch and one axis of channels.

    Attributes:
        name: of the kind; the two shapes of `function` have names of their own.
        word: what `PositionEmbedding.kind`, saved files and JSON call it.
        is_pairwise: values are per head and pair of tokens.
        has_heads: the first axis of a table is that of the heads.
        holds_angles: values are angles: functions of the place, in rows without a length.
        has_row_vectors: a row of the table is a vector, whose length and direction tell.
        has_token_rows: the table stores one vector a token, on which a norm can act.
        is_by_offset: positions of the laid-out table are offsets between two patches.
        has_parts: the tables of a layer are parts of one scheme: of query and key, of y and x.
        has_reach: a table reaches over some offsets, be they fewer or more than its grid has, or
            those of a window which does not grow with the image.
        is_computed: the model computes the values, from its input or by a network.
        in_attention: attention receives the values, and tokens never do.
    """

    name: ClassVar[str]
    word: ClassVar[Kind]
    is_pairwise: ClassVar[bool] = False
    has_heads: ClassVar[bool] = False
    holds_angles: ClassVar[bool] = False
    has_row_vectors: ClassVar[bool] = True
    has_token_rows: ClassVar[bool] = False
    is_by_offset: ClassVar[bool] = False
    has_parts: ClassVar[bool] = False
    has_reach: ClassVar[bool] = False
    is_computed: ClassVar[bool] = False
    in_attention: ClassVar[bool] = False
    _affinity: ClassVar[AffinityDefinition]

    def __repr__(self) -> str:
        return self.name

    @property
    def resampled_as(self) -> tuple[Kind, ...]:
        """The kinds whose methods apply, in order: its own word, and that of a like table."""
        return (self.word,)

    def expected_shape(self, table: LayerPE) -> tuple[int | None, ...]:
        """Return the shape that a table of its grid must have; `None` for any length."""
        return (table.num_patches, None)

    def check(self, table: LayerPE) -> None:
        """Check the shape of a table.

        Raises:
            UnfitShapes: it does not fit the grid.
        """
        wanted, actual = self.expected_shape(table), table.shape
        if len(wanted) != len(actual) or any(w not in (None, a) for w, a in zip(wanted, actual)):
            raise UnfitShapes(
                f"{table.name}: {self.word} of a {_of(table)} "
                f"with {table.num_prefix_rows} prefix rows must have shape {wanted}, not {actual}"
            )

    def num_heads(self, table: LayerPE) -> int | None:
        """Return the heads of a table; `None` where it has no head axis."""
        return table.shape[0] if self.has_heads else None

    def width(self, tables: Sequence[LayerPE]) -> str:
        """Return channels or heads in words: `"D=192"`, `"3, 6 heads"`."""
        widths = ", ".join(dict.fromkeys(str(table.shape[-1]) for table in tables))
        return f"D={widths}"

    def definition(self, tables: Sequence[LayerPE], relation: Relation) -> AffinityDefinition:  # noqa: ARG002
        """Return what the affinity of two patches means."""
        return self._affinity

    def affinity(self, tables: Sequence[LayerPE], relation: Relation | None = None) -> Affinity:  # noqa: ARG002
        """Return the affinity of one layer's patches.

        Args:
            tables: the layer's table; several only where `has_parts`.
            relation: how those parts make the vector of a pair.
        """
        from pe_inspect.kinds.affinity import cosines

        return cosines(tables[0].patches)

    def map_names(self, tables: Sequence[LayerPE]) -> tuple[str, ...]:  # noqa: ARG002
        """Name the maps of a layer where they are no heads: those of query and key tables."""
        return ()

    def num_maps(self, tables: Sequence[LayerPE]) -> int:
        """Return how many affinity maps the tables of one layer give."""
        return self.num_heads(tables[0]) or 1

    def steps(self, scheme: HeldScheme) -> tuple[Step, ...]:
        """Return how each layer comes to its table; nothing is computed."""
        return without_norms(scheme.tables, "joined" if self.is_computed else "stored")

    def laid_out(self, table: LayerPE) -> Float32[np.ndarray, "rows columns channels"]:
        """Return a table's values by place.

        Raises:
            UsageError: a bias is no function of the offset, or a table of offsets is of another
                size.
        """
        return table.patches.reshape(*table.grid_size, -1)

    def layout_shape(self, table: LayerPE, grid_size: tuple[int, int]) -> tuple[int, int]:  # noqa: ARG002
        """Return the rows and columns of the layout on a grid."""
        return grid_size

    def put_back(
        self, table: LayerPE, after: Float32[np.ndarray, "rows columns channels"]
    ) -> Float32[np.ndarray, "..."]:
        """Return the values of a table out of its layout, prefix rows as they were."""
        return np.concatenate([table.prefix, after.reshape(-1, after.shape[-1])])

    def features(
        self, laid_out: Float32[np.ndarray, "rows columns channels"]
    ) -> Float32[np.ndarray, "rows columns features"]:
        """Return the rows of a layout whose cosine is the affinity."""
        return laid_out


_WITHOUT_HEADS: Final[dict[str, str]] = {
    "vectors": "vectors",
    "bias": "bias",
    "phases": "phases",
    "relative": "relative",
    "function": "response",
}
"""Public word → the file of its kind, in which the object bears that name in capitals."""
_WITH_HEADS: Final = {**_WITHOUT_HEADS, "function": "computed_bias"}


def kind_of(word: str, tables: Sequence[LayerPE]) -> SchemeKind:
    """Return the kind that a public word means; the axes of the tables tell the two functions.

    Only the file of that kind is imported.

    Raises:
        ValueError: there is no such word.
    """
    has_heads = bool(tables) and len(tables[0].shape) > 2
    files = _WITH_HEADS if has_heads else _WITHOUT_HEADS
    if word not in files:
        raise ValueError(f"kind is {word!r}; expected one of {', '.join(files)}")
    stem = files[word]
    kind: SchemeKind = getattr(import_module(f"pe_inspect.kinds.{stem}"), stem.upper())
    return kind


def _of(table: LayerPE) -> str:
    return "grid that is not known" if table.grid_size is None else f"{table.grid_words} grid"
