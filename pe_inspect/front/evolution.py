"""One training run over time: the snapshots of its folder, opened, and what became of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

from pe_inspect.analysis.evolution import EvolutionResult
from pe_inspect.analysis.evolution import evolution as followed
from pe_inspect.errors import PEInspectError, UnreadableCheckpoint, UsageError, refused_as
from pe_inspect.front import OpenedCheckpoint
from pe_inspect.front.adapted import signed_as
from pe_inspect.front.snapshots import history_beside, snapshots_in
from pe_inspect.front.subject import Subject, each_of, embedding_of, is_one
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.loading import Hints, load
from pe_inspect.loading.opening import path_text

__all__ = ["TrainingHistory", "evolution", "open_history", "run_folder"]

Watch: TypeAlias = Callable[[Sequence[Path]], Iterable[Path]]
_SUBJECTS: Final = (
    "The first argument may be the folder of a run, a folder of its checkpoints, or the name of a "
    "recipe;\na `Checkpoint` of a run's folder; or the snapshots in order of time, each a "
    "`PositionEmbedding`, a\n`Checkpoint`, a path or a name, a module or a state dict. `family` "
    "chooses where they hold several\nschemes. Numbers in the file names of a folder are its "
    "epochs; snapshots that cannot be read are\nnamed in the notes, and `UnreadableCheckpoint` is "
    "raised where none can."
)


@dataclass(frozen=True)
class TrainingHistory:
    """The snapshots of one run, opened.

    Attributes:
        snapshots: in order of time.
        epochs: theirs, where names tell.
        left_out: why others are missing, one line each.
    """

    snapshots: tuple[OpenedCheckpoint, ...]
    epochs: tuple[int, ...] | None = None
    left_out: tuple[str, ...] = ()

    @property
    def last(self) -> OpenedCheckpoint:
        """The last snapshot."""
        return self.snapshots[-1]

    def of(self, pe: PositionEmbedding) -> list[PositionEmbedding]:
        """Return one embedding of every snapshot: that in the place of `pe` in the last one.

        Raises:
            UsageError: the snapshots do not hold as many embeddings.
        """
        counts = {len(each.tables) for each in self.snapshots}
        if len(counts) > 1:
            raise UsageError(
                f"The snapshots hold {min(counts)} to {max(counts)} position embeddings each. "
                "Pass --family NAME to follow one of them."
            )
        place = next(k for k, each in enumerate(self.last.tables) if each is pe)
        return [each.tables[place] for each in self.snapshots]

    def evolution(self, pe: PositionEmbedding, **options: Any) -> EvolutionResult:
        """Follow one embedding of the last snapshot through the run.

        Args:
            pe: one of `last.tables`.
            options: of `pe_inspect.evolution`: `layer`, `head`, `token`, `ln_eps`, `of`.

        Raises:
            UsageError: the snapshots are fewer than two, or not of one model.
        """
        found: EvolutionResult = followed(self.of(pe), epochs=self.epochs, **options)
        return found


@signed_as(followed, _SUBJECTS, annotation="Subject | Iterable[Subject]")
def evolution(
    subject: Subject | Iterable[Subject],
    *,
    family: str | None = None,
    epochs: Sequence[int] | None = None,
    of: Subject | None = None,
    **options: Any,
) -> EvolutionResult:
    """Follow one run's position embedding from snapshot to snapshot."""
    own = None if of is None else embedding_of(of, family)
    if not is_one(subject):
        tables = [embedding_of(each, family) for each in each_of(subject)]
        given: EvolutionResult = followed(tables, epochs=epochs, of=own, **options)
        return given
    history = _history_of(subject, family)
    if epochs is not None:
        history = replace(history, epochs=tuple(epochs))
    found = history.evolution(embedding_of(history.last, family), of=own, **options)
    return replace(found, notes=(*history.left_out, *found.notes))


def _history_of(subject: Any, family: str | None) -> TrainingHistory:
    """Return the snapshots in the folder that a subject names or lies in.

    Raises:
        UsageError: it has no folder with several snapshots.
    """
    hints = None if family is None else Hints(family=family, origins={"family": "family="})
    if isinstance(subject, (str, os.PathLike)):
        return open_history(run_folder(os.fspath(subject)), hints=hints)
    place = history_beside(getattr(subject, "path", None))
    if place is None:
        raise UsageError(
            f"This {type(subject).__name__} has no history. Pass the folder of a run, or its "
            "snapshots in order of time: pe_inspect.evolution([first, …, last])."
        )
    return open_history(place, hints=hints)


@refused_as(UnreadableCheckpoint)
def run_folder(given: str) -> Path:
    """Return the folder that was named: a path, or where a recipe's checkpoint lies.

    Raises:
        UnreadableCheckpoint: the path is empty, or the system refuses it.
    """
    from pe_inspect.training import checkpoint_folder, recipes

    path_text(given, "a run's folder, or a folder of its checkpoints")
    if not Path(given).exists() and given in recipes:
        return Path(checkpoint_folder(given))
    return Path(given)


def open_history(
    folder: Path, *, hints: Hints | None = None, watch: Watch = iter, **opening: Any
) -> TrainingHistory:
    """Open every snapshot of a folder; one that cannot be read is named and left out.

    Args:
        folder: that of a run, or of its checkpoints.
        hints: what files do not say, as `pe_inspect.load` takes it.
        watch: goes through the paths, one after the other; progress is shown here.
        opening: `state_dict_key`, `tower` and `trust_pickle` of `pe_inspect.load`.

    Raises:
        UnreadableCheckpoint: there is no snapshot, or none can be read.
    """
    from pe_inspect.families import extract

    found = snapshots_in(folder)
    numbers = found.epochs or tuple(range(len(found.paths)))
    kept: list[tuple[int, OpenedCheckpoint]] = []
    refusals: list[PEInspectError] = []
    for epoch, path in zip(numbers, watch(found.paths)):
        try:
            checkpoint = load(str(path), hints=hints, **opening)
            tables = extract(checkpoint, with_sha256=False)
            kept.append((epoch, OpenedCheckpoint(checkpoint=checkpoint, tables=tables)))
        except PEInspectError as error:
            refusals.append(error)
    if not kept:
        raise refusals[0]
    left_out = tuple(f"left out, one of {len(found.paths)} snapshots: {each}" for each in refusals)
    epochs, snapshots = zip(*kept)
    return TrainingHistory(snapshots, epochs if found.epochs else None, left_out)
