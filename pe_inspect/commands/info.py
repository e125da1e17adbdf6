"""`pe-inspect info`: what is in this checkpoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pe_inspect.commands.shell import LOOK, command
from pe_inspect.commands.shell.describe import aligned, as_json, ranges
from pe_inspect.commands.shell.opening import NamedCheckpoint, open_subject
from pe_inspect.commands.shell.options import Reading, Source, Terminal
from pe_inspect.commands.shell.terminal import write_json, write_line, write_lines

if TYPE_CHECKING:
    from pe_inspect.kinds.position_embedding import LayerNormParams, PositionEmbedding


@command("info", panel=LOOK)
def info(
    source: Source,
    reading: Reading,
    terminal: Terminal,
    sha256: Annotated[
        bool, typer.Option("--sha256", help="Hash the weight file, which reads all of it.")
    ] = False,
) -> None:
    """What is in this checkpoint: schemes, grid, prefix tokens, joins, norms."""
    subject = open_subject(source, reading, terminal, with_sha256=sha256)
    if terminal.json:
        write_json(_as_json(subject, with_sha256=sha256))
        return
    for pe in subject.tables:
        write_line(pe.headline)
    if not terminal.quiet:
        details = _details(subject)
        write_lines(_explained(details) if terminal.explain else details)


def _explained(details: list[str]) -> list[str]:
    from pe_inspect.commands.shell.explaining import OF_FILES, explained

    return list(explained(details, OF_FILES))


def _as_json(subject: NamedCheckpoint, *, with_sha256: bool) -> dict[str, Any]:
    """Return the contract's object."""
    checkpoint, first = subject.checkpoint, subject.tables[0]
    return {
        "source": checkpoint.source,
        "sha256": checkpoint.sha256 if with_sha256 else None,
        "format": checkpoint.format,
        "architecture": (first.architecture or "").removeprefix("timm:") or None,
        "architectures": _architectures(subject),
        "embeddings": [as_json(pe) for pe in subject.tables],
        "layer_norms": [{"layer": norm.layer, "name": norm.name} for norm in first.norms],
        "num_parameters": checkpoint.num_parameters,
        "notes": _notes(subject),
    }


def _architectures(subject: NamedCheckpoint) -> list[str]:
    """Return the classes that a config.json beside the weights names."""
    config = subject.checkpoint.metadata.get("config")
    named = config.get("architectures") if isinstance(config, dict) else None
    return [str(name) for name in named] if isinstance(named, list) else []


def _notes(subject: NamedCheckpoint) -> list[str]:
    spoken = [*subject.checkpoint.notes, *(note for pe in subject.tables for note in pe.notes)]
    return list(dict.fromkeys(spoken))


def _details(subject: NamedCheckpoint) -> list[str]:
    checkpoint, first = subject.checkpoint, subject.tables[0]
    rows = [
        ("file", f"{checkpoint.source} ({checkpoint.format}, {len(checkpoint)} tensors)"),
        ("architecture", first.architecture or "not stated"),
        ("parameters", f"{checkpoint.num_parameters:,}"),
        *(
            row
            for pe in subject.tables
            for row in _embedding_rows(pe, named=len(subject.tables) > 1)
        ),
        ("norms", _counted(first.norms)),
    ]
    notes = [f"  - {note}" for note in _notes(subject)]
    return ["", *aligned(rows), *(["", "Notes", *notes] if notes else [])]


def _embedding_rows(pe: PositionEmbedding, *, named: bool) -> list[tuple[str, str]]:
    origin = "stored" if pe.stored else "computed, not stored"
    rows = pe.num_prefix_rows if pe.tables else 0
    found = [
        ("keys", ranges(pe.keys) or "none"),
        ("enters at", ranges(pe.layer_names) or "nowhere"),
        ("prefix tokens", f"{pe.num_prefix_tokens}, of which the table covers {rows}"),
    ]
    first = (
        pe.family if named else "embedding",
        f"{pe.kind}, {origin}, {pe.num_parameters:,} parameters",
    )
    return [first, *((f"  {name}" if named else name, said) for name, said in found)]


def _counted(norms: Sequence[LayerNormParams]) -> str:
    counts = Counter(norm.name for norm in norms)
    said = (f"{count} × {name}" if count > 1 else name for name, count in counts.items())
    return ", ".join(said) or "none"
