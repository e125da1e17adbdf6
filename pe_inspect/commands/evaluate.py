"""`pe-inspect evaluate`: accuracy, at other resolutions and with positions changed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pe_inspect.commands.shell import QUESTIONS, command
from pe_inspect.commands.shell.describe import table
from pe_inspect.commands.shell.options import Asked
from pe_inspect.commands.shell.parsing import numbers, pair, whole
from pe_inspect.commands.shell.progress_bar import shares
from pe_inspect.commands.shell.question_runner import (
    Question,
    answer,
    parameters_and_summary,
    write_arrays,
    write_table,
)

if TYPE_CHECKING:
    from pe_inspect.analysis.evaluate import EvaluationResult, EvaluationRow
    from pe_inspect.loading import Checkpoint

_NARROWEST: Final = 40
_WIDEST: Final = 1000  # of what is no terminal
_INDENT: Final = "  "
_PANEL: Final = "What to measure"
_option: Final = partial(typer.Option, show_default=False, rich_help_panel=_PANEL)

_Data = Annotated[
    str | None,
    _option("--data", metavar="NAME[:PATH]", help="The images (default: those of its training)."),
]
_Root = Annotated[
    Path | None, _option("--root", metavar="DIR", help="Where datasets lie (default: data/).")
]
_Res = Annotated[
    str | None,
    _option("--res", metavar="R[,R]", help="Image sizes in pixels: 24,32,48, or 24x48."),
]
_Method = Annotated[
    str,
    _option(
        "--method",
        metavar="NAME",
        help="How positions get there: native (the model's own rule), names as of `interpolate "
        "--method list` with commas, or all (default: native).",
    ),
]
_Alpha = Annotated[
    str | None,
    _option("--alpha", metavar="X[,X]", help="Scale the position embedding: 1,0.8,0.5,0."),
]
_Shuffle = Annotated[
    bool, _option("--shuffle", metavar="", help="Give every patch the position of another.")
]
_Remove = Annotated[bool, _option("--remove", metavar="", help="Take positions away.")]
_Permute = Annotated[
    bool,
    _option("--permute-patches", metavar="", help="Permute each image's patches (RPI)."),
]
_Batch = Annotated[
    int | None,
    _option(
        "--batch-size",
        metavar="N",
        help="Images a batch (default: 32 on a CPU, else 256).",
        parser=whole("--batch-size", least=1),
    ),
]
_Limit = Annotated[
    int | None,
    _option(
        "--limit",
        metavar="N",
        help="So many test images, drawn at random (default: all).",
        parser=whole("--limit", least=1),
    ),
]
_Seed = Annotated[
    int,
    _option("--seed", metavar="N", help="Of what is random (default: 0).", parser=whole("--seed")),
]
_Device = Annotated[
    str, _option("--device", metavar="auto|cpu|cuda[:i]", help="Where to compute (default: auto).")
]
_Mean = Annotated[
    str | None,
    _option("--mean", metavar="X,X,X", help="The mean of each channel, on [0, 1]."),
]
_Std = Annotated[str | None, _option("--std", metavar="X,X,X", help="The σ of each channel.")]
_Crop = Annotated[
    float | None,
    _option(
        "--crop-pct",
        metavar="X",
        help="The share of an image file's shorter side that is evaluated (default: as trained).",
    ),
]


@command("evaluate", panel=QUESTIONS)
def evaluate(
    asked: Asked,
    data: _Data = None,
    root: _Root = None,
    res: _Res = None,
    method: _Method = "native",
    alpha: _Alpha = None,
    shuffle: _Shuffle = False,
    remove: _Remove = False,
    permute_patches: _Permute = False,
    batch_size: _Batch = None,
    limit: _Limit = None,
    seed: _Seed = 0,
    device: _Device = "auto",
    mean: _Mean = None,
    std: _Std = None,
    crop_pct: _Crop = None,
) -> None:
    """How accurate it is, at other resolutions and with positions scaled, shuffled or removed."""
    arguments: dict[str, Any] = {
        "data": data, "root": root, "method": method, "shuffle": shuffle, "remove": remove,
        "permute_patches": permute_patches, "batch_size": batch_size, "limit": limit,
        "seed": seed, "device": device, "alpha": numbers("--alpha", alpha) or (),
        "res": [pair("--res", size, one=True) for size in (res or "").split(",") if size.strip()],
        "mean": numbers("--mean", mean), "std": numbers("--std", std),
        "crop_pct": crop_pct,
    }  # fmt: skip
    question = Question(
        "evaluate",
        lambda checkpoint: _ask(checkpoint, arguments, quiet=asked.terminal.quiet),
        {".npz": write_arrays, ".csv": write_table},
        figures=("", "_ablations"),
        lines=lambda result: [f"{_INDENT}{line}" for line in _lines(list(_cells(result)))],
        told=_told,
        is_of_checkpoint=True,
    )
    answer(question, asked)


def _ask(checkpoint: Checkpoint, arguments: dict[str, Any], *, quiet: bool) -> EvaluationResult:
    from pe_inspect.evaluation import evaluate as ask

    with shares("evaluate", quiet=quiet) as tell:
        return ask(checkpoint, **arguments, progress=lambda now: tell(now.what, now.share))


def _lines(rows: list[list[str]]) -> list[str]:
    """Return a table; where the terminal is narrower, each row as a name and its numbers below."""
    width = max(_NARROWEST, shutil.get_terminal_size((_WIDEST, 24)).columns) - len(_INDENT)
    lines = table(rows)
    if max(map(len, lines)) <= width:
        return lines
    head, *others = rows
    return [line for row in others for line in _below(head, row, width)]


def _below(head: list[str], row: list[str], width: int) -> list[str]:
    """Return `plain · 8×8 · native` and the numbers with their names; an unnamed one goes on."""
    numbers = ""
    for name, value in zip(head[3:], row[3:]):
        if value:
            numbers += f" · {name} {value}" if name else f" {value}"
    numbers = numbers.removeprefix(" · ")
    below = wrap(numbers, width, initial_indent=_INDENT, subsequent_indent=_INDENT)
    return [" · ".join(row[:3]), *below]


def _cells(result: EvaluationResult) -> Iterator[list[str]]:
    has_five = result.plain.top5 == result.plain.top5  # not NaN
    yield [
        "condition",
        "pixels",
        "method",
        "top-1",
        "",
        *(["top-5"] * has_five),
        "loss",
        "FS",
        "difference",
    ]
    for row in result.rows:
        fragility = result.fragility(row)
        yield [
            row.name, f"{row.res[0]}×{row.res[1]}", row.method, f"{row.top1:.2%}",
            f"± {row.standard_error:.2%}", *([f"{row.top5:.2%}"] * has_five), f"{row.loss:.4f}",
            "" if fragility != fragility else f"{fragility:.3f}".replace("-", "−"),
            "" if row is result.plain else _signed(row),
        ]  # fmt: skip


def _signed(row: EvaluationRow) -> str:
    return f"{100 * row.difference:+.2f} ± {100 * row.difference_error:.2f}".replace("-", "−")


def _told(result: EvaluationResult) -> dict[str, Any]:
    return {
        "dataset": result.dataset,
        "num_classes": result.num_classes,
        **parameters_and_summary(result),
        "rows": list(result.records()),
    }
