"""What each norm of a model holds, and what it does to the position embedding."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from pe_inspect.analysis import questions
from pe_inspect.analysis.common.notebook_repr import Shown
from pe_inspect.analysis.common.numbers import are_equal, cosine_of, mean_of
from pe_inspect.analysis.layernorm.decomposition import (
    MEASURES,
    VARIANTS,
    Decomposition,
    decompose,
    queries_of,
)
from pe_inspect.analysis.layernorm.finding import finding_of
from pe_inspect.arrays import Float, Float32
from pe_inspect.cells import as_cell
from pe_inspect.errors import UsageError
from pe_inspect.kinds.frames import row_of_frames
from pe_inspect.kinds.position_embedding import LayerNormParams, PositionEmbedding

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LayerNormResult", "NormRow", "layernorm"]

NEAR_ZERO: Final = 0.01
STATISTICS: Final = ("mean", "std", "min", "max", "l2", "fraction_near_zero")
COLUMNS: Final = (
    "layer",
    "name",
    *(f"weight_{statistic}" for statistic in STATISTICS),
    *(f"bias_{statistic}" for statistic in STATISTICS),
    "cosine_to_previous_layer",
    "cosine_to_norm1",
)

DEFINITIONS: Final[Mapping[str, str]] = {
    "mean, std, min, max": "of γ (weight) or β (bias) over channels; std is the population's",
    "l2": "the Euclidean length of γ or β",
    "fraction_near_zero": "the part of the channels with |γ| (or |β|) under the threshold; an "
    "untrained norm has γ = 1 and β = 0",
    "cosine_to_previous_layer": "cosine of γ with the γ of the same norm one layer before",
    "cosine_to_norm1": "cosine of a position norm's γ with that of norm1 in the same block",
    **{f"decomposition: {name}": text for name, text in MEASURES.items()},
}

OF_NORMS: Final[Mapping[str, str]] = {
    "weight_mean": "mean over channels of γ of {name}, the mean over layers",
    "bias_mean": "mean over channels of β of {name}, the mean over the layers that have one",
    "cosine_to_previous_layer": "cosine of γ of {name} with γ of the same norm one layer before, "
    "the mean over the layers where both are as wide",
    "cosine_to_norm1": "cosine of γ of {name} with γ of norm1 in the same block, the mean over "
    "layers",
}
ENDS: Final[Mapping[str, str]] = {
    "before": "the table as the norm receives it",
    "after": "what the whole norm makes of it",
}
"""What the summary's numbers of norms are, by the ends of their names; and of the table."""


@dataclass(frozen=True)
class NormRow:
    """One norm in numbers; see `LayerNormResult.definitions`.

    Attributes:
        layer: its block, `""` for a norm of the whole model.
        name: `"norm1"`, `"pe_norm"`, ….
        weight: statistic → value, of γ.
        bias: the same of β; `None` for an RMS norm.
        cosine_to_previous_layer: NaN where there is no such layer.
        cosine_to_norm1: NaN where this is not a position norm.
    """

    layer: str
    name: str
    weight: Mapping[str, float]
    bias: Mapping[str, float] | None
    cosine_to_previous_layer: float
    cosine_to_norm1: float

    def cells(self) -> dict[str, Any]:
        """The row under the columns of `layernorm.csv`."""
        bias = self.bias or dict.fromkeys(STATISTICS, float("nan"))
        return {
            "layer": self.layer,
            "name": self.name,
            **{f"weight_{statistic}": self.weight[statistic] for statistic in STATISTICS},
            **{f"bias_{statistic}": bias[statistic] for statistic in STATISTICS},
            "cosine_to_previous_layer": self.cosine_to_previous_layer,
            "cosine_to_norm1": self.cosine_to_norm1,
        }


@dataclass(frozen=True, eq=False)
class LayerNormResult(Shown):
    """Every norm in numbers, and what the norms do to the position table.

    Attributes:
        norms: the norms themselves, in the model's order.
        rows: one a norm.
        decompositions: one for each layer whose norm acts on position vectors; else none.
        parameters: what was asked for.
        notes: every choice and omission, in words.
    """

    question: ClassVar[str] = "layernorm"
    definitions: ClassVar[Mapping[str, str]] = DEFINITIONS
    variants: ClassVar[Mapping[str, str]] = VARIANTS

    norms: tuple[LayerNormParams, ...]
    rows: tuple[NormRow, ...]
    decompositions: tuple[Decomposition, ...]
    parameters: dict[str, Any]
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"LayerNormResult({len(self.norms)} norms: {', '.join(self.names)})"

    @property
    def names(self) -> tuple[str, ...]:
        """The norms' names, each once, in the model's order."""
        return tuple(dict.fromkeys(norm.name for norm in self.norms))

    def rows_named(self, name: str) -> tuple[NormRow, ...]:
        """The rows of one norm, layer by layer."""
        return tuple(row for row in self.rows if row.name == name)

    def norms_named(self, name: str) -> tuple[LayerNormParams, ...]:
        """The norms of one name, layer by layer."""
        return tuple(norm for norm in self.norms if norm.name == name)

    def weights(self, name: str) -> Float32[np.ndarray, "layers features"]:
        """γ of one norm, a row a layer; narrower layers (a pyramid's first) end in NaN."""
        norms = self.norms_named(name)
        table = np.full((len(norms), max(n.weight.size for n in norms)), np.nan, np.float32)
        for row, norm in zip(table, norms):
            row[: norm.weight.size] = norm.weight
        return table

    @staticmethod
    def is_position_norm(name: str) -> bool:
        """Whether a norm acts on the position embedding alone: `pe_norm`, `attn.pe_norm`."""
        return name.rpartition(".")[2] == "pe_norm"

    @property
    def finding(self) -> str:
        """The answer in one sentence, with its numbers."""
        return finding_of(self.layer_counts, self.summary(), self.cosines_to_norm1)

    @property
    def layer_counts(self) -> dict[str, int]:
        """How many layers have each norm, in the model's order."""
        return {name: len(self.rows_named(name)) for name in self.names}

    @property
    def cosines_to_norm1(self) -> dict[str, float]:
        """Position norm → the cosine of its γ to norm1's, where it is defined."""
        numbers = self.summary()
        cosines = {name: numbers.get(f"{name}_cosine_to_norm1", math.nan) for name in self.names}
        return {name: cosine for name, cosine in cosines.items() if math.isfinite(cosine)}

    def summary(self) -> dict[str, float]:
        """How many norms there are; γ and β by name, averaged over layers; the decomposition."""
        found = {"num_norms": float(len(self.rows))}
        for name in self.names:
            found |= _summary_of(name, self.rows_named(name))
        for measure in MEASURES if self.decompositions else ():
            before, after = self._before_and_after(measure)
            found[f"{measure}_before"] = mean_of(before)
            if measure != "distance_to_full":  # of the whole LayerNorm to itself
                found[f"{measure}_after"] = mean_of(after)
        return found

    def defined(self) -> dict[str, str]:
        """The definition of every number of `summary()`."""
        of_norms = {
            f"{name}_{what}": text.format(name=name)
            for name in self.names
            for what, text in OF_NORMS.items()
        }
        of_tables = {
            f"{measure}_{when}": f"{text}; of {what}, the mean over layers"
            for measure, text in MEASURES.items()
            for when, what in ENDS.items()
        }
        known = {"num_norms": "norms of the checkpoint", **of_norms, **of_tables}
        return {name: known[name] for name in self.summary()}

    def _before_and_after(
        self, measure: str
    ) -> tuple[Float[np.ndarray, " layers"], Float[np.ndarray, " layers"]]:
        """One measure of the table and of what the whole norm makes of it, layer by layer."""
        ends = [(part.variants[0], part.variants[-1]) for part in self.decompositions]
        before, after = (np.array([getattr(v, measure) for v in column]) for column in zip(*ends))
        return before, after

    def to_frame(self) -> pd.DataFrame:
        """One row a norm, under the columns of `layernorm.csv`."""
        import pandas as pd

        return pd.DataFrame([row.cells() for row in self.rows], columns=list(COLUMNS))

    def decomposition_frame(self) -> pd.DataFrame:
        """One row a layer and variant of the decomposition, one column a measure."""
        import pandas as pd

        return pd.DataFrame(
            {"layer": part.layer, "norm": part.norm, "notion": part.notion, **vars(variant)}
            for part in self.decompositions
            for variant in part.variants
        )

    def to_csv(self, file: IO[bytes]) -> None:
        """Write `layernorm.csv`: UTF-8, one row a norm; what does not exist is an empty cell."""
        text = io.StringIO(newline="")
        table = csv.writer(text, lineterminator="\n")
        table.writerow(COLUMNS)
        table.writerows([_cell(value) for value in row.cells().values()] for row in self.rows)
        file.write(text.getvalue().encode())


@questions.register("layernorm")
def layernorm(
    pe: PositionEmbedding, *, ln_eps: float | None = None, near_zero: float = NEAR_ZERO
) -> LayerNormResult:
    """Describe every norm of the checkpoint, and what each does to the position table.

    Args:
        pe: one scheme of one checkpoint, with its norms.
        ln_eps: overrides the ε of every norm in the decomposition.
        near_zero: the |γ| and |β| under which a channel counts as near zero.

    Raises:
        UsageError: the checkpoint has no norms, or `near_zero` is not positive.
    """
    if not pe.norms:
        raise UsageError(
            f"No LayerNorm in this checkpoint{f' ({pe.source})' if pe.source else ''}: "
            "layernorm describes norms stored beside the position embedding."
        )
    if not near_zero > 0:
        raise UsageError(f"near_zero is {near_zero}; it must be positive, e.g. 0.01.")
    pe = row_of_frames(pe, "layernorm")
    decompositions = tuple(decompose(pe, ln_eps=ln_eps))
    parameters = {"near_zero": near_zero, "ln_eps": ln_eps}
    notes = tuple(_notes(pe, decompositions))
    rows = tuple(_norm_rows(pe.norms, near_zero))
    return LayerNormResult(pe.norms, rows, decompositions, parameters, notes)


def _norm_rows(norms: tuple[LayerNormParams, ...], near_zero: float) -> Iterator[NormRow]:
    previous: dict[tuple[str, str], LayerNormParams] = {}
    token_norms = {norm.layer: norm for norm in norms if norm.name == "norm1"}
    for norm in norms:
        beside = (
            token_norms.get(norm.layer) if LayerNormResult.is_position_norm(norm.name) else None
        )
        yield NormRow(
            norm.layer,
            norm.name,
            _statistics(norm.weight, near_zero),
            None if norm.bias is None else _statistics(norm.bias, near_zero),
            _cosine(norm, previous.get(_series(norm))),
            _cosine(norm, beside),
        )
        previous[_series(norm)] = norm


def _series(norm: LayerNormParams) -> tuple[str, str]:
    """Return what the norms of one series share: the name and the kind of layer."""
    return re.sub(r"\d+", "#", norm.layer), norm.name


def _statistics(values: Float32[np.ndarray, " features"], near_zero: float) -> dict[str, float]:
    finite = values[np.isfinite(values)].astype(np.float64)
    if not finite.size:
        return dict.fromkeys(STATISTICS, float("nan"))
    return {
        "mean": float(finite.mean()),
        "std": float(finite.std()),
        "min": float(finite.min()),
        "max": float(finite.max()),
        "l2": float(np.linalg.norm(finite)),
        "fraction_near_zero": float((np.abs(finite) < near_zero).mean()),
    }


def _cosine(norm: LayerNormParams, other: LayerNormParams | None) -> float:
    if other is None or other.weight.shape != norm.weight.shape:
        return float("nan")
    return cosine_of(norm.weight, other.weight)


def _summary_of(name: str, rows: tuple[NormRow, ...]) -> dict[str, float]:
    found = {f"{name}_weight_mean": mean_of(np.array([row.weight["mean"] for row in rows]))}
    betas = [row.bias["mean"] for row in rows if row.bias is not None]
    if betas:
        found[f"{name}_bias_mean"] = mean_of(np.array(betas))
    if len(rows) > 1:
        cosines = np.array([row.cosine_to_previous_layer for row in rows])
        found[f"{name}_cosine_to_previous_layer"] = mean_of(cosines)
    if LayerNormResult.is_position_norm(name):
        found[f"{name}_cosine_to_norm1"] = mean_of(np.array([row.cosine_to_norm1 for row in rows]))
    return found


def _cell(value: Any) -> str:
    """Write a number in nine digits, which hold a float32 exactly."""
    if not isinstance(value, float):
        return str(as_cell(value))
    return "" if np.isnan(value) else f"{value:.9g}"


def _notes(pe: PositionEmbedding, decompositions: tuple[Decomposition, ...]) -> Iterator[str]:
    for norm in pe.norms:
        tensors = [values for values in (norm.weight, norm.bias) if values is not None]
        missing = sum(int((~np.isfinite(values)).sum()) for values in tensors)
        if missing:
            yield f"{norm.path} holds {missing} values that are not finite; they are left out"
    if not decompositions:
        what = (
            "attn.pe_norm acts on the bias of each query, not on rows of a table"
            if any(LayerNormResult.is_position_norm(norm.name) for norm in pe.norms)
            else f"no norm of this checkpoint acts on rows of its table ({pe.kind})"
        )
        yield f"{what}, so there is no decomposition into norm, γ and β"
    elif any(part.notion == "proxy" for part in decompositions):
        yield (
            "the decomposition applies norm1 to the table alone: a proxy, since the model applies "
            "it to the sum of content and position"
        )
    for table in pe.tables if decompositions else ():
        if are_equal(table.patches):
            yield f"{table.name}: all rows are equal, so every norm gives equal rows again"
    if decompositions:
        yield from _on_sampling(pe, decompositions)


def _on_sampling(pe: PositionEmbedding, decompositions: tuple[Decomposition, ...]) -> Iterator[str]:
    """Yield what was measured on some patches only, and how far off that may be."""
    patches = max(table.num_patches for table in pe.tables)
    queries = len(queries_of(patches))
    if queries < patches:
        errors = np.array([one.distance_error for part in decompositions for one in part.variants])
        largest = errors[np.isfinite(errors)].max(initial=0.0)
        yield (
            f"distance_to_full is over {queries:,} of {patches:,} patches, evenly spread, each "
            f"with all others: its standard error is {largest:.2g} or less"
        )
