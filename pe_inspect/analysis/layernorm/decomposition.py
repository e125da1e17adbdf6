"""What the normalisation, γ and β of a norm each do to the table that the norm receives.

Source: LaPE, ICCV 2023, Table 8, which trains models with each of these variants.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from pe_inspect.analysis.common.numbers import mean_of, unit_rows
from pe_inspect.arrays import Float, Float32, Int
from pe_inspect.kinds.parts import Notion
from pe_inspect.kinds.position_embedding import LayerNormParams, LayerPE, PositionEmbedding
from pe_inspect.kinds.tables_by_layer import normalised

__all__ = ["MEASURES", "VARIANTS", "Decomposition", "NormVariant", "decompose", "queries_of"]

VARIANTS: Final[Mapping[str, str]] = {
    "ω": "the table as the norm receives it",
    "γ⊙ω": "times γ, channel by channel",
    "γ⊙ω+β": "times γ, plus β",
    "Norm(ω)": "each row brought to mean 0 and variance 1",
    "γ⊙Norm(ω)": "the same, times γ",
    "γ⊙Norm(ω)+β": "the whole LayerNorm",
}
"""The variants, in the order of LaPE's Table 8, and what each is."""

MEASURES: Final[Mapping[str, str]] = {
    "scale": "mean over patches of the standard deviation over channels",
    "mean_cosine": "mean cosine of two different patches",
    "neighbour_cosine": "mean cosine of patches that share an edge of the grid",
    "distance_to_full": "root mean square difference, over pairs of different patches, between "
    "this variant's cosines and those of the whole LayerNorm: 0 to 2",
}
"""What is measured on each variant; prefix rows are left out."""

MAX_PAIRS: Final = 1 << 20  # of two patches: all of a 32×32 grid


@dataclass(frozen=True)
class NormVariant:
    """One variant of one layer's norm, with the numbers of `MEASURES`.

    Attributes:
        distance_error: the standard error of `distance_to_full` where it is over some patches
            with all others; 0 where it is over all pairs.
    """

    name: str
    scale: float
    mean_cosine: float
    neighbour_cosine: float
    distance_to_full: float
    distance_error: float = 0.0


@dataclass(frozen=True)
class Decomposition:
    """What one layer's norm does to the position table, step by step.

    Attributes:
        layer: the layer that receives the table.
        norm: the norm's name, `"blocks.3.pe_norm"`.
        notion: `joined` where the model computes this, `proxy` where norm1 stands in.
        variants: those of `VARIANTS` that exist; an RMS norm has no β.
    """

    layer: str
    norm: str
    notion: Notion
    variants: tuple[NormVariant, ...]


def decompose(pe: PositionEmbedding, *, ln_eps: float | None = None) -> Iterator[Decomposition]:
    """Yield one decomposition for each layer whose norm acts on the position vectors.

    LaPE's layers receive ω_{l−1}, the table that the previous norm gave; where norm1 stands in,
    every layer receives the stored table.

    Args:
        pe: an embedding of kind `vectors`; other kinds have nothing to decompose.
        ln_eps: overrides the ε of every norm.
    """
    if not pe.scheme_kind.has_token_rows:
        return
    previous: Float32[np.ndarray, "tokens channels"] | None = None
    for step in pe.steps:
        incoming = previous if step.continues and previous is not None else step.table.values
        previous = incoming
        if step.norm is not None:
            variants = _variants(incoming, step.norm, ln_eps)
            previous = variants["γ⊙Norm(ω)+β" if step.norm.bias is not None else "γ⊙Norm(ω)"]
            measured = tuple(_measured(variants, step.table))
            yield Decomposition(step.layer, step.norm.path, step.notion, measured)


def _variants(
    table: Float32[np.ndarray, "tokens channels"], norm: LayerNormParams, ln_eps: float | None
) -> dict[str, Float32[np.ndarray, "tokens channels"]]:
    gamma, beta = norm.weight, norm.bias
    standard = normalised(table, _unit(norm), ln_eps=ln_eps)
    with np.errstate(invalid="ignore", over="ignore"):  # rows that are not finite stay so
        found = {"ω": table, "γ⊙ω": gamma * table}
        if beta is not None:
            found["γ⊙ω+β"] = gamma * table + beta
        found |= {"Norm(ω)": standard, "γ⊙Norm(ω)": gamma * standard}
    if beta is not None:
        found["γ⊙Norm(ω)+β"] = normalised(table, norm, ln_eps=ln_eps)
    return found


def _unit(norm: LayerNormParams) -> LayerNormParams:
    """The same norm with γ = 1 and β = 0."""
    ones = np.ones_like(norm.weight)
    zeros = None if norm.bias is None else np.zeros_like(ones)
    return LayerNormParams(norm.layer, norm.name, ones, zeros, norm.eps)


def _measured(
    variants: Mapping[str, Float32[np.ndarray, "tokens channels"]], table: LayerPE
) -> Iterator[NormVariant]:
    prefix, grid_size = table.num_prefix_rows, table.grid_size
    queries = queries_of(table.num_patches)
    units = {name: unit_rows(values[prefix:]) for name, values in variants.items()}
    full = _cosines(list(units.values())[-1], queries)
    for name, values in variants.items():
        distance, error = _distance(_cosines(units[name], queries), full)
        yield NormVariant(
            name,
            scale=mean_of(_deviations(values[prefix:])),
            mean_cosine=_mean_cosine(units[name]),
            neighbour_cosine=mean_of(_neighbour_cosines(units[name], grid_size)),
            distance_to_full=distance,
            distance_error=error,
        )


def _deviations(
    rows: Float32[np.ndarray, "patches channels"],
) -> Float[np.ndarray, " patches"]:
    """The standard deviation over channels; NaN for a row that is not finite."""
    with np.errstate(invalid="ignore"):
        deviations: np.ndarray = rows.std(axis=-1, dtype=np.float64)
    return deviations


def queries_of(num_patches: int) -> Int[np.ndarray, " queries"]:
    """All patches of a grid, or as many, evenly spread, as have `MAX_PAIRS` pairs with all.

    Their number is odd, so that they do not all lie in the same few columns.
    """
    number = num_patches if num_patches**2 <= MAX_PAIRS else MAX_PAIRS // num_patches | 1
    return np.arange(number) * num_patches // number


def _cosines(
    rows: Float32[np.ndarray, "patches channels"], queries: Int[np.ndarray, " queries"]
) -> Float32[np.ndarray, "queries patches"]:
    """Of rows of length one; NaN for a query with itself."""
    cosine: np.ndarray = rows[queries] @ rows.T
    cosine[np.arange(len(queries)), queries] = np.nan
    return cosine


def _distance(
    own: Float32[np.ndarray, "queries patches"], full: Float32[np.ndarray, "queries patches"]
) -> tuple[float, float]:
    """The root mean square difference over pairs that are defined in both, and its error.

    The error is that of a mean over queries, drawn from so many: of a root, half as much by it.
    """
    squares = (own - full) ** 2
    defined = np.isfinite(squares)
    counts = defined.sum(axis=1)
    sums = np.where(defined, squares, 0).sum(axis=1, dtype=np.float64)[counts > 0]
    if not len(sums):
        return float("nan"), float("nan")
    root = float(np.sqrt(sums.sum() / counts.sum()))
    (few, many), means = own.shape, sums / counts[counts > 0]
    if few == many or root == 0:
        return root, 0.0
    error = means.std(ddof=1) * np.sqrt((1 - few / many) / few)
    return root, float(error / (2 * root))


def _mean_cosine(rows: Float32[np.ndarray, "patches channels"]) -> float:
    """Over all pairs of different rows of length one: |Σu|² holds each of them twice."""
    known = rows[np.isfinite(rows).all(axis=-1)].astype(np.float64)
    pairs, whole = len(known) * (len(known) - 1), known.sum(axis=0)
    return float((whole @ whole - np.vdot(known, known)) / pairs) if pairs else float("nan")


def _neighbour_cosines(
    rows: Float32[np.ndarray, "patches channels"], grid_size: tuple[int, int]
) -> Float32[np.ndarray, " pairs"]:
    grid = rows.reshape(*grid_size, -1)
    down = (grid[1:] * grid[:-1]).sum(axis=-1)
    across = (grid[:, 1:] * grid[:, :-1]).sum(axis=-1)
    return np.concatenate([down.ravel(), across.ravel()])
