"""`pe-inspect train RECIPE`: make a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pe_inspect.commands.shell import MAKE, command
from pe_inspect.commands.shell.describe import aligned, command_line, number, versions
from pe_inspect.commands.shell.options import Terminal
from pe_inspect.commands.shell.terminal import complain, write_json, write_line
from pe_inspect.commands.shell.training import expected_time, first_speaks, train_with_progress
from pe_inspect.files import OutputFolder
from pe_inspect.training.launch import launched

if TYPE_CHECKING:
    from pe_inspect.training import Recipe

_Recipe = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE", help="A recipe's name (`pe-inspect recipes`), or a TOML file of one."
    ),
]
_Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one value of the recipe: epochs=5. Can be given several times.",
        show_default=False,
    ),
]
_Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Where it goes (default: checkpoints/<recipe>/)."),
]
_Device = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="auto|cpu|cuda[:i]",
        help="Where to compute (default: auto).",
        show_default=False,
    ),
]
_Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="Where datasets lie (default: data/)."),
]
_Export = Annotated[
    Path | None,
    typer.Option(
        "--export",
        metavar="FILE.pth",
        help="Also write the layout of the original LaPE scripts.",
    ),
]
_Resume = Annotated[
    bool,
    typer.Option("--resume", metavar="", help="Go on where an interrupted run stopped."),
]
_TensorBoard = Annotated[
    bool,
    typer.Option("--tensorboard", metavar="", help="Also write TensorBoard's event files."),
]
_SchhCompat = Annotated[
    bool,
    typer.Option(
        "--schh-compat", metavar="", help="Turn by s-chh's rotary angles, not RoFormer's."
    ),
]
_Strict = Annotated[
    bool,
    typer.Option("--strict", metavar="", help="Stop at an image that cannot be read."),
]
_Force = Annotated[
    bool,
    typer.Option("--force", metavar="", help="Overwrite files that pe-inspect did not make."),
]


@command("train", panel=MAKE)
def train(
    recipe: _Recipe,
    terminal: Terminal,
    changes: _Set = None,
    out: _Out = None,
    device: _Device = "auto",
    data: _Data = None,
    export: _Export = None,
    resume: _Resume = False,
    tensorboard: _TensorBoard = False,
    schh_compat: _SchhCompat = False,
    strict: _Strict = False,
    force: _Force = False,
) -> None:
    """Make a checkpoint from a recipe."""
    with first_speaks():
        flags = {"schh_compat": schh_compat, "strict": strict}
        said = [f"{name}=true" for name, is_given in flags.items() if is_given]
        chosen = _recipe(recipe).with_overrides([*(changes or []), *said])
        if export is not None:
            OutputFolder(export.parent, force, option="--export").claim([export.name])
    is_first = launched().is_first
    quiet = terminal.quiet or not is_first
    if not quiet:
        complain(f"Training {chosen.name}: {expected_time(chosen)}.")
    options = {"out": out, "device": device, "root": data, "force": force}
    options |= {"resume": resume, "tensorboard": tensorboard}
    folder = train_with_progress(chosen, quiet=quiet, again=_again(resume), **options)
    if is_first:
        _finish(folder, export, terminal, force=force)


def _again(is_resumed: bool) -> str:
    """Return what to type to go on with this run."""
    if launched().size > 1:
        return "the same torchrun command with --resume"
    return command_line() if is_resumed else f"{command_line()} --resume"


def _finish(folder: Path, export: Path | None, terminal: Terminal, *, force: bool) -> None:
    names = ("model.safetensors", "best.safetensors", "config.json", "metrics.csv", "curves.png")
    written = [folder / name for name in names if (folder / name).exists()]
    if export is not None:
        from pe_inspect.training import export as write_export

        written.append(write_export(folder, export, force=force))
    _print(folder, written, terminal)


def _recipe(given: str) -> Recipe:
    from pe_inspect.training import Recipe, recipes

    return Recipe.open(given) if ".toml" in given else recipes[given]


def _print(folder: Path, written: list[Path], terminal: Terminal) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if terminal.json:
        about = {"versions": versions(), "command": command_line()}
        write_json({**config, "written": written, **about})
        return
    if not terminal.quiet:
        for line in aligned({name: number(value) for name, value in config["metrics"].items()}):
            write_line(line)
    for path in written:
        write_line(f"Wrote {path}")
