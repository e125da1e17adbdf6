"""`pe-inspect structure`: what the maps look like, in numbers."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

from pe_inspect.commands.shell import QUESTIONS, command
from pe_inspect.commands.shell.options import Asked, Memory, Resize
from pe_inspect.commands.shell.question_runner import (
    Question,
    answer,
    parameters_and_summary,
    write_table,
)
from pe_inspect.commands.shell.structure_text import side_by_side

if TYPE_CHECKING:
    from pe_inspect.analysis.structure import StructureResult


@command("structure", panel=QUESTIONS)
def structure(resize: Resize, room: Memory, asked: Asked) -> None:
    """The pictures as numbers: locality, 2-D-ness, translation invariance, rank, hierarchy."""
    from pe_inspect.analysis.structure import structure as ask

    size = resize.arguments()
    question = Question(
        "structure",
        lambda pe: ask(
            pe, ln_eps=asked.reading.ln_eps, patch_size=asked.reading.patch() if size else None,
            max_memory=room.max_memory, **size,
        ),
        {".npz": _write_arrays, ".csv": write_table},
        lines=side_by_side,
        told=_told,
    )  # fmt: skip
    answer(question, asked)


def _write_arrays(result: StructureResult, file: IO[bytes]) -> None:
    result.save_npz(file)


def _told(result: StructureResult) -> dict[str, Any]:
    """What the JSON object holds beside the summary: every layer, baselines, words, reasons."""
    words = {row.name: row.word.word for row in result.all_rows if row.word}
    return {
        **parameters_and_summary(result),
        "finding": result.finding,
        "layers": result.rows(),
        "baselines": {name: found.row() for name, found in result.baselines.items()},
        "floors": result.floors,
        "words": words,
        "missing": result.missing,
        "by_construction": result.decided,
    }
