"""How a recipe is trained, as it is typed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pe_inspect.commands.shell.parsing import whole

if TYPE_CHECKING:
    from pe_inspect.training import Recipe

__all__ = ["RecipeName", "TrainingOptions"]

RecipeName = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE", help="A recipe's name (`pe-inspect recipes`), or a TOML file of one."
    ),
]
_option: Final = partial(typer.Option, show_default=False)


@dataclass(frozen=True)
class TrainingOptions:
    """What is otherwise than the recipe says, where it goes, and what goes on."""

    changes: Annotated[
        list[str] | None,
        _option(
            "--set",
            metavar="KEY=VALUE",
            help="Change one value of the recipe: epochs=5. Can be given several times.",
        ),
    ] = None
    out: Annotated[
        Path | None,
        _option("--out", metavar="DIR", help="Where it goes (default: checkpoints/<recipe>/)."),
    ] = None
    device: Annotated[
        str,
        _option("--device", metavar="auto|cpu|cuda[:i]", help="Where to compute (default: auto)."),
    ] = "auto"
    data: Annotated[
        Path | None, _option("--data", metavar="DIR", help="Where datasets lie (default: data/).")
    ] = None
    export: Annotated[
        Path | None,
        _option(
            "--export",
            metavar="FILE.pth",
            help="Also write the layout of the original LaPE scripts.",
        ),
    ] = None
    resume: Annotated[
        bool, _option("--resume", metavar="", help="Go on where an interrupted run stopped.")
    ] = False
    extend: Annotated[
        int | None,
        _option(
            "--extend",
            metavar="N",
            help="Train the finished run N epochs further, from its weights and by a schedule of "
            "their own.",
            parser=whole("--extend", least=1),
        ),
    ] = None
    tensorboard: Annotated[
        bool, _option("--tensorboard", metavar="", help="Also write TensorBoard's event files.")
    ] = False
    schh_compat: Annotated[
        bool,
        _option(
            "--schh-compat",
            metavar="",
            help="Turn by s-chh's rotary angles, not RoFormer's (as the schh-* recipes do).",
        ),
    ] = False
    strict: Annotated[
        bool, _option("--strict", metavar="", help="Stop at an image that cannot be read.")
    ] = False
    force: Annotated[
        bool,
        _option(
            "--force",
            metavar="",
            help="Replace another run that lies there, and files that pe-inspect did not make.",
        ),
    ] = False

    def of_recipe(self, given: str) -> Recipe:
        """Return the recipe of a name or a file, with its changes.

        Raises:
            UsageError: there is none, or a change does not fit.
        """
        from pe_inspect.training import Recipe, recipes

        chosen = Recipe.open(given) if ".toml" in given else recipes[given]
        flags = {"schh_compat": self.schh_compat, "strict": self.strict}
        said = [f"{name}=true" for name, is_given in flags.items() if is_given]
        return chosen.with_overrides([*(self.changes or []), *said])

    def arguments(self) -> dict[str, Any]:
        """Return what `pe_inspect.training.train` is asked with."""
        names = ("out", "device", "force", "resume", "tensorboard", "export")
        asked = {name: getattr(self, name) for name in names}
        return {**asked, "root": self.data, "extend": self.extend or 0}
