"""Several embeddings side by side: one grid, matched layers, one scale, and how alike they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import IO, TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from pe_inspect.analysis import questions
from pe_inspect.analysis.common.notebook_repr import Shown
from pe_inspect.analysis.common.selection import Layers
from pe_inspect.analysis.compare.alignment import Alignment
from pe_inspect.analysis.compare.deltas import (
    INDICES,
    OF_LAYERS,
    Delta,
    Index,
    deltas_of,
    layer_numbers,
    numbers_of,
)
from pe_inspect.analysis.compare.finding import finding_of
from pe_inspect.analysis.compare.likeness import Likeness, likenesses
from pe_inspect.analysis.compare.notes import notes_on
from pe_inspect.analysis.compare.side_by_side import SideBySide, Subject, side_by_side
from pe_inspect.analysis.structure import StructureResult, structure
from pe_inspect.errors import UsageError

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["CompareResult", "Delta", "Likeness", "compare"]

DEFINITIONS: Final[Mapping[str, str]] = {
    "num_embeddings": "embeddings that stand side by side",
    "num_layers": "layers that are matched, by their relative depth",
    "cka": "linear CKA of the stored tables: 1 for a table and any rotation, shift or scaling of "
    "it; biased, so that independent tables of many channels are far above 0",
    "cka_unbiased": "the same by Song et al.'s HSIC₁: about 0 for independent tables, and it may "
    "be negative",
    "procrustes": "√(2 − 2‖AᵀB‖₊) of the stored tables, each centred and of length 1: their "
    "distance once one is rotated onto the other; 0 for a rotated copy, √2 where nothing is shared",
    "correlation": "Pearson's correlation of two maps over pairs of different patches; the mean "
    "over matched layers",
    "map_difference": "the root mean square of the differences of two maps, over all pairs and "
    "matched layers, in units of the maps",
}
"""What each number of a pair is; of more than two, the summary has the means over pairs."""
PAIRWISE: Final = ("cka", "cka_unbiased", "procrustes", "correlation", "map_difference")


@dataclass(frozen=True, eq=False)
class CompareResult(Shown):
    """Embeddings on one grid and one scale, and every two of them in numbers.

    Attributes:
        side: the embeddings, resampled and matched where that was needed.
        groups: what each belongs to: embeddings of one group are seeds of one recipe.
        parameters: what was asked for, by command-line names.
        answered: what `structure` said already, where somebody asked.
    """

    question: ClassVar[str] = "compare"
    definitions: ClassVar[Mapping[str, str]] = DEFINITIONS

    side: SideBySide
    groups: tuple[str, ...]
    parameters: dict[str, Any]
    answered: tuple[StructureResult | None, ...] = ()

    def __repr__(self) -> str:
        rows, columns = self.side.grid_size
        return f"CompareResult({', '.join(self.labels)}; {rows}×{columns})"

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the embeddings."""
        return self.side.labels

    @property
    def grid_size(self) -> tuple[int, int]:
        """(H, W) that all share."""
        return self.side.grid_size

    @cached_property
    def alignment(self) -> Alignment:
        """CKA and Procrustes distances of tables and layers."""
        return Alignment(self.side)

    @cached_property
    def likenesses(self) -> tuple[Likeness, ...]:
        """Every two embeddings: how alike their maps are."""
        return tuple(likenesses(self.side))

    @cached_property
    def numbers(self) -> tuple[dict[str, float], ...]:
        """Each embedding's own numbers, by the names of `INDICES`."""
        return tuple(map(numbers_of, self.side.results, self.structures))

    @cached_property
    def structures(self) -> tuple[StructureResult, ...]:
        """The indices of every embedding, on the grid that all share."""
        answered = self.answered or (None,) * len(self.labels)
        return tuple(
            known
            if known is not None and known.pe is maps.pe
            else structure(maps.pe, ln_eps=maps.ln_eps)
            for maps, known in zip(self.side.results, answered)
        )

    @cached_property
    def deltas(self) -> tuple[Delta, ...]:
        """What each embedding has more than the first, number by number."""
        return tuple(deltas_of(self.labels, self.numbers))

    @property
    def units(self) -> dict[str, str]:
        """The units of the numbers that have one."""
        return {name: index.unit for name, index in INDICES.items() if index.unit}

    @property
    def indices(self) -> dict[str, Index]:
        """The numbers of `numbers` that some embedding has, and what they are."""
        return {
            name: index
            for name, index in INDICES.items()
            if any(np.isfinite(numbers[name]) for numbers in self.numbers)
        }

    @property
    def finding(self) -> str:
        """The answer in one sentence, with its numbers."""
        return finding_of(self)

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What was resampled, matched, left out or cannot be had, in words."""
        head = self.parameters["head"]
        of_means = "indices are those of the mean over heads, maps those of the head"
        more = () if head is None else (of_means,)
        return (*self.side.notes, *notes_on(self.side, self.alignment), *more)

    def pair(self, first: int, second: int) -> dict[str, float]:
        """Return the numbers of `DEFINITIONS` of two embeddings, by their places."""
        aligned = self.alignment
        likeness = next(
            one for one in self.likenesses if (one.first, one.second) == (first, second)
        )
        return {
            "cka": float(aligned.cka[first, second]),
            "cka_unbiased": float(aligned.cka_unbiased[first, second]),
            "procrustes": float(aligned.procrustes[first, second]),
            "correlation": likeness.correlation,
            "map_difference": likeness.difference,
        }

    def summary(self) -> dict[str, float]:
        """The comparison in a few numbers: of more than two embeddings, the means over pairs."""
        pairs = [self.pair(one.first, one.second) for one in self.likenesses]
        return {
            "num_embeddings": float(len(self.labels)),
            "num_layers": float(len(self.side.layers[0])),
            **{name: _mean([pair[name] for pair in pairs]) for name in PAIRWISE},
        }

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary a pair: its numbers over tables and all matched layers."""
        return [
            {
                "first": self.labels[one.first],
                "second": self.labels[one.second],
                **self.pair(one.first, one.second),
            }
            for one in self.likenesses
        ]

    def to_table(self) -> DataFrame:
        """One row a number, for print: that of the first embedding, and what the others have more.

        The pairs' own numbers come last, each against the first embedding.
        """
        from pandas import DataFrame

        first, *others = self.labels
        rows = [
            {
                "number": f"{index.words} ({index.unit})" if index.unit else index.words,
                first: self.numbers[0][name],
                **{f"{one.label}, Δ": one.change for one in self.deltas if one.name == name},
            }
            for name, index in self.indices.items()
        ]
        pairs = {f"{label}, Δ": self.pair(0, k) for k, label in enumerate(others, 1)}
        rows += [
            {"number": f"{name.replace('_', ' ')}, to the first", first: float("nan"),
             **{label: pair[name] for label, pair in pairs.items()}}
            for name in PAIRWISE
        ]  # fmt: skip
        return DataFrame(rows)

    def to_frame(self) -> DataFrame:
        """One row a pair for the stored tables (`stored`), and one for each matched layer."""
        from pandas import DataFrame

        return DataFrame(row for one in self.likenesses for row in self._by_layer(one))

    def _by_layer(self, one: Likeness) -> Iterator[dict[str, Any]]:
        first, second = one.first, one.second
        names = {"first": self.labels[first], "second": self.labels[second]}
        whole = self.pair(first, second)
        stored = [self.structures[place].rows()[0] for place in (first, second)]
        yield {
            **names, "layer_first": "stored", "layer_second": "stored", **whole,
            **_against(*stored),
        }  # fmt: skip
        depths = range(len(one.correlations))
        numbers = [self._layers[place] for place in (first, second)]
        places = [self.side.layers[place] for place in (first, second)]
        layers = (self.side.names(place, depths) for place in (first, second))
        for depth, (own, other) in enumerate(zip(*layers)):
            stage = self.alignment.by_depth[depth]
            yield {
                **names,
                "layer_first": own,
                "layer_second": other,
                **{name: float(values[first, second]) for name, values in stage.items()},
                "correlation": one.correlations[depth],
                "map_difference": one.differences[depth],
                **_against(*(rows[at[depth]] for rows, at in zip(numbers, places))),
            }

    @cached_property
    def _layers(self) -> list[list[dict[str, float]]]:
        return [layer_numbers(*pair) for pair in zip(self.side.results, self.structures)]

    def map_difference(self) -> np.ndarray:
        """The root mean square differences of maps: (embeddings, embeddings)."""
        found = np.zeros((len(self.labels),) * 2)
        for one in self.likenesses:
            found[one.first, one.second] = found[one.second, one.first] = one.difference
        return found

    def save_npz(self, file: IO[bytes]) -> None:
        """Write `names` (M,), `cka`, `cka_unbiased`, `procrustes` and `map_difference` (M, M).

        `cka_layers` (M, M, L, L) is there where all have L layers.
        """
        arrays: dict[str, Any] = {
            "names": np.array(self.labels),
            "grid_size": np.array(self.grid_size),
            "cka": self.alignment.cka,
            "cka_unbiased": self.alignment.cka_unbiased,
            "procrustes": self.alignment.procrustes,
            "map_difference": self.map_difference(),
        }
        layers = self.alignment.cka_layers
        if layers is not None:
            arrays["cka_layers"] = layers
        np.savez(file, **arrays)


def _against(own: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, float]:
    """Return every index of two layers, and what the second has more."""
    found: dict[str, float] = {}
    for name in OF_LAYERS:
        first, second = (row.get(name, float("nan")) for row in (own, other))
        found |= {f"{name}_first": first, f"{name}_second": second, f"{name}_delta": second - first}
    return found


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


@questions.register("compare")
def compare(
    subjects: Sequence[Subject],
    labels: Sequence[str] | None = None,
    *,
    groups: Sequence[str] | None = None,
    layer: Layers | None = None,
    head: int | None = None,
    token: Sequence[int] | None = None,
    ln_eps: float | None = None,
    structures: Sequence[StructureResult | None] | None = None,
) -> CompareResult:
    """Set several embeddings side by side: in one sentence, in numbers, and on one scale.

    All are brought onto the smallest grid among them, each by its own library's rule, and their
    layers are matched by relative depth. What a scheme's map shows may differ: correlations and
    CKA do not depend on units, differences are given where the values share a range.

    Args:
        subjects: two or more embeddings, or what `similarity` answered about them.
        labels: a short name each; by default their sources, else numbers.
        groups: what each belongs to; those of one group are seeds of one recipe.
        layer: one layer or several, by name or by place; default all.
        head: one head; default the mean over heads.
        token: (row, column) of the query patch; default the middle one.
        ln_eps: overrides the ε of every norm.
        structures: what `structure` answered about them already, where somebody asked.

    Raises:
        UsageError: fewer than two embeddings are left that can be compared.

    Source: Kornblith et al., ICML 2019; Song et al., JMLR 2012; Williams et al., NeurIPS 2021.
    """
    if len(subjects) < 2:
        raise UsageError(
            f"compare takes two embeddings or more, and was given {len(subjects)}: "
            "pe-inspect compare A B."
        )
    names = _names(subjects) if labels is None else list(labels)
    options = {"layer": layer, "head": head, "token": token, "ln_eps": ln_eps}
    side = side_by_side(subjects, names, **options)
    of = names if groups is None else groups
    known = structures or [None] * len(subjects)
    return CompareResult(
        side,
        tuple(of[place] for place in side.places),
        options,
        tuple(known[place] for place in side.places),
    )


def _names(subjects: Sequence[Subject]) -> list[str]:
    """Return the sources; numbers where there is none, or where two are the same."""
    pes: list[Any] = [getattr(subject, "pe", subject) for subject in subjects]
    sources: list[str] = [pe.source for pe in pes]
    alike = {a for a, b in combinations(sources, 2) if a == b}
    return [s if s and s not in alike else f"{s} #{k}".strip() for k, s in enumerate(sources, 1)]
