"""One training run over time: how the position embedding of its snapshots comes to be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from pe_inspect.analysis import questions
from pe_inspect.analysis.common.map_statistics import (
    PairStatistics,
    correlation,
    pair_statistics,
    shared_scale,
)
from pe_inspect.analysis.common.notebook_repr import Shown
from pe_inspect.analysis.common.numbers import least, mean_of
from pe_inspect.analysis.common.selection import Layers, LayerView
from pe_inspect.analysis.evolution.appearance import (
    APPEARS_BY,
    APPEARS_WORDS,
    OF_STRUCTURE,
    appears_at,
)
from pe_inspect.analysis.evolution.finding import finding_of
from pe_inspect.analysis.evolution.history import checked_history, stored_changes
from pe_inspect.analysis.similarity import SimilarityResult, similarity
from pe_inspect.analysis.structure import StructureResult, structure
from pe_inspect.arrays import Float32
from pe_inspect.kinds.affinity import Affinity
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.kinds.scheme_kind import AffinityDefinition

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["EvolutionResult", "Moment", "evolution"]

SETTLED: Final = 0.95
ENDS: Final = ("norm", "neighbours", "far", "hierarchy", "half_radius", "ssdc_l1")
OF_MAPS: Final = ("neighbours", "far", "mean", "structure_to_last", "structure_to_previous")
BY_LAYER: Final = (*OF_MAPS, *OF_STRUCTURE)
DEFINITIONS: Final[Mapping[str, str]] = {
    "norm": "the mean L2 norm of a patch's stored row, over tables; of a bias or of angles, the "
    "root mean square of the stored values",
    "cosine_to_last": "the cosine of all stored values, prefix rows included, with those of the "
    "last snapshot; values that are not finite count as 0",
    "change": "‖values − values before‖ / ‖values before‖, against the snapshot before, likewise",
    "neighbours": "mean affinity of patches that share an edge",
    "far": "mean affinity of patches at least half the grid apart",
    "mean": "mean affinity over all pairs of different patches",
    "structure_to_last": "Pearson's correlation of a layer's map with its map in the last snapshot",
    "structure_to_previous": "likewise, with its map in the snapshot before",
    "hierarchy": "1 − the mean correlation of the maps of all pairs of layers",
    **dict.fromkeys(OF_STRUCTURE, "as `structure` defines it, of the mean over heads"),
}
"""What each number of a snapshot means; affinities are as `similarity` defines them."""
_MEAN: Final = ", the mean over layers"
OF_RUNS: Final[Mapping[str, str]] = {
    "num_snapshots": "snapshots of the run",
    "num_layers": "layers that were compared",
    "structure_first_to_last": "Pearson's correlation of a layer's map in the first snapshot with "
    f"its map in the last{_MEAN}",
    "settled_at": "the first epoch from which on the mean over layers of structure_to_last is "
    f"{SETTLED} or more, in every snapshot",
    "appears_first": f"{APPEARS_WORDS}; of the layer where that is earliest",
    "appears_last": f"{APPEARS_WORDS}; of the layer where that is latest",
}
"""What the numbers of a whole run mean."""


@dataclass(frozen=True)
class Moment(PairStatistics):
    """One layer in one snapshot; see `DEFINITIONS`."""

    structure_to_last: float
    structure_to_previous: float


@dataclass(frozen=True, eq=False)
class EvolutionResult(Shown):
    """The position embedding of one run, snapshot by snapshot.

    Maps are computed when they are asked for, and are not kept.

    Attributes:
        tables: the snapshots, in order of time.
        epochs: when each was taken; counted from 0 where the run does not say.
        similarities: each snapshot, asked how alike its positions are.
        pe: whose history this is: the last snapshot, or the checkpoint that the run left.
        notes: every guess and omission, in words.
    """

    question: ClassVar[str] = "evolution"
    definitions: ClassVar[Mapping[str, str]] = DEFINITIONS

    tables: tuple[PositionEmbedding, ...]
    epochs: tuple[int, ...]
    similarities: tuple[SimilarityResult, ...]
    pe: PositionEmbedding
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        span = f"epochs {self.epochs[0]} to {self.epochs[-1]}"
        return f"EvolutionResult({len(self.epochs)} snapshots, {span}, {self.pe.family})"

    @property
    def parameters(self) -> dict[str, Any]:
        """The choices behind the result, by their command-line names."""
        return {"epochs": list(self.epochs), **self.similarities[-1].parameters}

    @property
    def affinity(self) -> AffinityDefinition:
        """What the maps show."""
        return self.similarities[-1].affinity

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The layers, in the model's order."""
        return self.similarities[-1].layer_names

    @property
    def views(self) -> tuple[LayerView, ...]:
        """The layers of the last snapshot."""
        return self.similarities[-1].views

    @property
    def grid_size(self) -> tuple[int, int]:
        """(H, W) of the first layer."""
        return self.similarities[-1].grid_size

    @cached_property
    def scale(self) -> tuple[float, float]:
        """The middle and the half-width of the one scale of all maps: 0 and 1 for cosines."""
        if self.affinity.limit:
            return 0.0, self.affinity.limit
        return shared_scale([moment for row in self.moments for moment in row])

    def layers(self) -> Iterator[tuple[LayerView, tuple[Affinity, ...]]]:
        """Yield every layer with its affinity in every snapshot; one layer is in memory at once."""
        for stage in zip(*(one.affinities() for one in self.similarities)):
            yield stage[-1][0], tuple(alike for _, alike in stage)

    def maps(
        self, chosen: Sequence[int] | None = None
    ) -> Iterator[tuple[LayerView, Iterator[Float32[np.ndarray, "patches patches"]]]]:
        """Yield every layer with its N×N maps, one a snapshot: the mean over heads, or one head.

        Args:
            chosen: places of the snapshots to show; default all.
        """
        for view, alike in self.layers():
            places = range(len(alike)) if chosen is None else chosen
            yield view, (alike[place].map(self._head(alike[place])) for place in places)

    def query_maps(
        self, token: tuple[int, int] | None = None
    ) -> Iterator[tuple[LayerView, Float32[np.ndarray, "snapshots rows columns"]]]:
        """Yield every layer with the map of one patch in every snapshot.

        Args:
            token: (row, column) of the query patch; default the one that was chosen.
        """
        for stage in zip(*(one.queries(token) for one in self.similarities)):
            yield stage[-1][0], np.stack([values.mean(axis=0) for _, values in stage])

    @cached_property
    def moments(self) -> tuple[tuple[Moment, ...], ...]:
        """The numbers of every snapshot, layer by layer."""
        by_layer = [list(self._over_time(view, alike)) for view, alike in self.layers()]
        return tuple(zip(*by_layer))

    @cached_property
    def stored(self) -> tuple[dict[str, float], ...]:
        """`norm`, `cosine_to_last` and `change` of every snapshot's stored tables."""
        return tuple(stored_changes(self.tables))

    @cached_property
    def structures(self) -> tuple[StructureResult, ...]:
        """The indices of every snapshot."""
        ln_eps = self.similarities[-1].ln_eps
        return tuple(structure(pe, ln_eps=ln_eps) for pe in self.tables)

    @property
    def appears_at(self) -> np.ndarray:
        """The epoch from which on structure is there, by layer; NaN where none appears."""
        return appears_at(self.by_layer(APPEARS_BY), self.epochs)

    def curve(self, name: str) -> np.ndarray:
        """One number of `DEFINITIONS` over time: (snapshots,); of layers, their mean."""
        if name in self.stored[0]:
            return np.array([row[name] for row in self.stored])
        if name == "hierarchy":
            return np.array([one.hierarchy for one in self.structures])
        return np.array([mean_of(row) for row in self.by_layer(name)])

    def by_layer(self, name: str) -> np.ndarray:
        """One number of every layer over time: (snapshots, layers)."""
        if name in OF_STRUCTURE:
            return np.array([[row[name] for row in rows] for rows in self._indices])
        return np.array([[getattr(one, name) for one in row] for row in self.moments])

    @cached_property
    def _indices(self) -> list[list[dict[str, Any]]]:
        """The rows of `structure` of the layers that are shown, in every snapshot."""
        shown = set(self.layer_names)
        return [[row for row in one.rows()[1:] if row["layer"] in shown] for one in self.structures]

    @property
    def settled_at(self) -> float:
        """The epoch from which on the maps correlate at 0.95 or more with the last ones."""
        alike = self.curve("structure_to_last")
        if np.isnan(alike).all():
            return float("nan")
        late = [k for k, value in enumerate(alike) if not value >= SETTLED]
        return float(self.epochs[late[-1] + 1 if late else 0])

    @property
    def finding(self) -> str:
        """The answer in one sentence, with its numbers."""
        return finding_of(self.pe, self.affinity.name, self.epochs, self.summary())

    def defined(self) -> dict[str, str]:
        """The definition of every number of `summary()`: those of the curves, at their ends."""
        ends = {"first": "in the first snapshot", "last": "in the last snapshot"}
        curves = {
            f"{name}_{when}": f"{DEFINITIONS[name]}; {where}{_MEAN if name in BY_LAYER else ''}"
            for name in ENDS
            for when, where in ends.items()
        }
        return {name: {**OF_RUNS, **curves}[name] for name in self.summary()}

    def summary(self) -> dict[str, float]:
        """The run in a few numbers: where it begins, where it ends, when it settles."""
        ends = {
            f"{name}_{when}": float(self.curve(name)[place])
            for name in ENDS
            for when, place in (("first", 0), ("last", -1))
        }
        return {
            "num_snapshots": float(len(self.epochs)),
            "num_layers": float(len(self.views)),
            **ends,
            "structure_first_to_last": float(self.curve("structure_to_last")[0]),
            "settled_at": self.settled_at,
            "appears_first": least(self.appears_at),
            "appears_last": -least(-self.appears_at),
        }

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary a snapshot; numbers of layers are their means."""
        names = (*self.stored[0], *BY_LAYER, "hierarchy")
        curves = {name: self.curve(name) for name in names}
        return [
            {"epoch": epoch, **{name: float(curve[k]) for name, curve in curves.items()}}
            for k, epoch in enumerate(self.epochs)
        ]

    def to_frame(self) -> DataFrame:
        """One row a snapshot and layer: the numbers of the layer, and those of the tables."""
        from pandas import DataFrame

        return DataFrame(
            {
                "epoch": epoch,
                "layer": view.name,
                **stored,
                **{name: getattr(moment, name) for name in OF_MAPS},
                **{name: row[name] for name in OF_STRUCTURE},
                "appears_at": appears,
            }
            for epoch, stored, moments, rows in zip(
                self.epochs, self.stored, self.moments, self._indices
            )
            for view, moment, row, appears in zip(self.views, moments, rows, self.appears_at)
        )

    def save_npz(self, file: IO[bytes]) -> None:
        """Write the curves (E,) or (E, layers) by name, and `query_maps/<layer>` (E, H, W)."""
        arrays: dict[str, Any] = {
            "epochs": np.array(self.epochs),
            "layer_names": np.array(self.layer_names),
            "grid_size": np.array([view.grid_size for view in self.views]),
            **{name: np.array([row[name] for row in self.stored]) for name in self.stored[0]},
            **{name: self.by_layer(name) for name in BY_LAYER},
            "hierarchy": self.curve("hierarchy"),
            "appears_at": self.appears_at,
            **{f"query_maps/{view.name}": values for view, values in self.query_maps()},
        }
        np.savez(file, **arrays)

    def _over_time(self, view: LayerView, alike: Sequence[Affinity]) -> Iterator[Moment]:
        last = alike[-1].map(self._head(alike[-1]))
        previous: np.ndarray | None = None
        for one in alike:
            values = one.map(self._head(one))
            before = float("nan") if previous is None else correlation(values, previous)
            numbers = vars(pair_statistics(values, view.grid_size))
            yield Moment(
                **numbers,
                structure_to_last=correlation(values, last),
                structure_to_previous=before,
            )
            previous = values

    def _head(self, alike: Affinity) -> int | None:
        return 0 if alike.num_heads == 1 else self.similarities[-1].head


@questions.register("evolution")
def evolution(
    tables: Sequence[PositionEmbedding],
    *,
    epochs: Sequence[int] | None = None,
    of: PositionEmbedding | None = None,
    layer: Layers | None = None,
    head: int | None = None,
    token: Sequence[int] | None = None,
    ln_eps: float | None = None,
) -> EvolutionResult:
    """Follow one run's position embedding from snapshot to snapshot.

    Args:
        tables: the snapshots of one model, in order of time.
        epochs: when each was taken; default 0, 1, 2, ….
        of: the checkpoint's own embedding, where that is at hand; default the last snapshot.
        layer: one layer or several, by name or by place; default all.
        head: one head; default the mean over heads.
        token: (row, column) of the query patch; default the middle one.
        ln_eps: overrides the ε of every norm.

    Raises:
        UsageError: fewer than two snapshots, or they are not of one model.
    """
    history = tuple(tables)
    numbers, notes = checked_history(history, epochs)
    for pe in history:
        pe.require_flat_grid("evolution")
    asked = tuple(
        similarity(pe, layer=layer, head=head, token=token, ln_eps=ln_eps, raw=False)
        for pe in history
    )
    notes = (*notes, *asked[-1].notes)
    return EvolutionResult(history, numbers, asked, of or history[-1], tuple(dict.fromkeys(notes)))
