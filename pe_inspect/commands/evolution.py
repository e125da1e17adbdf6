"""`pe-inspect evolution`: one training run over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pe_inspect.commands.shell import QUESTIONS, command
from pe_inspect.commands.shell.locate import checkpoint_name
from pe_inspect.commands.shell.options import (
    Asked,
    Data,
    Drawing,
    Opening,
    Output,
    Reading,
    Selection,
    Source,
    Terminal,
)
from pe_inspect.commands.shell.progress import counted
from pe_inspect.commands.shell.question_runner import (
    OpenedCheckpoint,
    Question,
    answer,
    write_table,
)
from pe_inspect.commands.shell.snapshots import snapshots_in
from pe_inspect.commands.shell.terminal import complain
from pe_inspect.errors import PEInspectError, UnreadableCheckpoint, UsageError, refused_as

if TYPE_CHECKING:
    from pe_inspect.kinds.position_embedding import PositionEmbedding
    from pe_inspect.loading import Checkpoint

_Folder = Annotated[
    str,
    typer.Argument(
        metavar="DIR",
        help="The folder of a run, a folder of its checkpoints, or the name of a recipe.",
        show_default=False,
    ),
]


@command("evolution", panel=QUESTIONS)
def evolution(
    folder: _Folder,
    opening: Opening,
    selection: Selection,
    reading: Reading,
    drawing: Drawing,
    data: Data,
    output: Output,
    terminal: Terminal,
) -> None:
    """One training run over time: the embedding from snapshot to snapshot."""
    from pe_inspect.analysis.evolution import evolution as ask

    asked = Asked(
        Source(**vars(opening), checkpoint=folder), reading, drawing, data, output, terminal
    )
    place = run_folder(folder)
    run = opened(place, asked.source, reading, terminal)
    question = Question(
        "evolution",
        lambda pe: ask(
            run.history_of(pe),
            epochs=run.epochs,
            layer=selection.where(),
            head=selection.head,
            token=selection.query(),
            ln_eps=reading.ln_eps,
        ),
        {".npz": lambda result, file: result.save_npz(file), ".csv": write_table},
        figures=("", "_maps"),
    )
    answer(
        question, asked, OpenedCheckpoint(checkpoint_name(place), run.checkpoint, run.tables[-1])
    )


@dataclass(frozen=True)
class OpenedRun:
    """The snapshots of one run, opened.

    Attributes:
        checkpoint: the last one.
        tables: the embeddings of each snapshot.
        epochs: theirs, where names tell.
    """

    checkpoint: Checkpoint
    tables: tuple[tuple[PositionEmbedding, ...], ...]
    epochs: tuple[int, ...] | None

    def history_of(self, pe: PositionEmbedding) -> list[PositionEmbedding]:
        """Return one embedding of every snapshot: that in the place of `pe` in the last one.

        Raises:
            UsageError: the snapshots do not hold as many embeddings.
        """
        counts = {len(each) for each in self.tables}
        if len(counts) > 1:
            raise UsageError(
                f"The snapshots hold {min(counts)} to {max(counts)} position embeddings each. "
                "Pass --family NAME to follow one of them."
            )
        place = next(k for k, each in enumerate(self.tables[-1]) if each is pe)
        return [each[place] for each in self.tables]


@refused_as(UnreadableCheckpoint)
def run_folder(given: str) -> Path:
    """Return the folder that was named: a path, or where a recipe's checkpoint lies.

    Raises:
        UnreadableCheckpoint: the system refuses the path.
    """
    from pe_inspect.training import checkpoint_folder, recipes

    if not Path(given).exists() and given in recipes:
        return Path(checkpoint_folder(given))
    return Path(given)


def opened(folder: Path, source: Source, reading: Reading, terminal: Terminal) -> OpenedRun:
    """Open every snapshot of a folder; one that cannot be read is named and left out.

    Raises:
        UnreadableCheckpoint: there is no snapshot, or none can be read.
    """
    from pe_inspect.families import extract
    from pe_inspect.loading import load

    found = snapshots_in(folder)
    numbers = found.epochs or tuple(range(len(found.paths)))
    kept: list[tuple[int, Checkpoint, tuple[PositionEmbedding, ...]]] = []
    refusals: list[PEInspectError] = []
    for epoch, path in zip(numbers, counted(found.paths, "snapshot", quiet=terminal.quiet)):
        try:
            checkpoint = load(
                str(path),
                hints=reading.hints(),
                state_dict_key=source.state_dict_key,
                tower=source.tower,
                trust_pickle=source.trust_pickle,
            )
            kept.append((epoch, checkpoint, extract(checkpoint, with_sha256=False)))
        except PEInspectError as error:
            refusals.append(error)
    if not kept:
        raise refusals[0]
    _tell(refusals, len(found.paths), quiet=terminal.quiet)
    epochs, checkpoints, tables = zip(*kept)
    return OpenedRun(checkpoints[-1], tables, epochs if found.epochs else None)


def _tell(refusals: Sequence[PEInspectError], count: int, *, quiet: bool) -> None:
    for refusal in () if quiet else refusals:
        complain(f"Note: left out, one of {count} snapshots: {refusal}")
