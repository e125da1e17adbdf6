"""Which checkpoint is meant, how its file is opened, and what the user says of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pe_inspect.commands.shell.parsing import epsilon, grid_sides, pair, whole
from pe_inspect.commands.shell.typed_option import option
from pe_inspect.errors import UsageError
from pe_inspect.kinds.joins import JOINS
from pe_inspect.registry import did_you_mean

if TYPE_CHECKING:
    from pe_inspect.loading import Hints

__all__ = ["Opening", "Reading", "Source"]

_CHECKPOINT: Final = "Which checkpoint"
_SAYS: Final = "What the file does not say"


@dataclass(frozen=True)
class Opening:
    """How a checkpoint's file is opened."""

    state_dict_key: Annotated[
        str | None,
        option(
            "--state-dict-key",
            panel=_CHECKPOINT,
            metavar="KEY",
            help="Which of several state dicts.",
        ),
    ] = None
    tower: Annotated[
        str | None,
        option("--tower", panel=_CHECKPOINT, metavar="NAME", help="Which of several towers."),
    ] = None
    trust_pickle: Annotated[
        bool,
        option(
            "--trust-pickle",
            panel=_CHECKPOINT,
            help="Let a pickle run any code it names. Only for files that you trust.",
        ),
    ] = False
    no_train: Annotated[
        bool,
        option("--no-train", panel=_CHECKPOINT, help="Refuse to train a recipe that is missing."),
    ] = False

    def opening(self) -> dict[str, Any]:
        """Return what `pe_inspect.load` is told."""
        return {name: getattr(self, name) for name in ("state_dict_key", "tower", "trust_pickle")}


@dataclass(frozen=True)
class Source(Opening):
    """Which checkpoint, and how its file is opened."""

    checkpoint: Annotated[
        str | None,
        typer.Argument(
            metavar="CHECKPOINT",
            help="A file, a folder, timm:NAME, hf-hub:ORG/NAME[@rev], a URL, or a recipe; "
            "left out: the newest under ./checkpoints/, else the default recipe.",
            show_default=False,
        ),
    ] = None


@dataclass(frozen=True)
class Reading:
    """What the user says of a checkpoint that its file does not."""

    grid_size: Annotated[
        str | None,
        option("--grid-size", panel=_SAYS, metavar="HxW", help="Patch rows × columns: 14x14."),
    ] = None
    num_prefix_tokens: Annotated[
        int | None,
        option(
            "--num-prefix-tokens",
            panel=_SAYS,
            metavar="N",
            help="Tokens ahead of the patches: CLS, registers.",
            parser=whole("--num-prefix-tokens"),
        ),
    ] = None
    patch_size: Annotated[
        str | None,
        option("--patch-size", panel=_SAYS, metavar="P", help="Pixels a patch: 16, or 8x16."),
    ] = None
    num_heads: Annotated[
        int | None,
        option(
            "--num-heads",
            panel=_SAYS,
            metavar="N",
            help="Attention heads a block.",
            parser=whole("--num-heads", least=1),
        ),
    ] = None
    family: Annotated[
        str | None,
        option(
            "--family",
            panel=_SAYS,
            metavar="NAME",
            help="Look for this scheme only (`pe-inspect families` lists them).",
        ),
    ] = None
    join: Annotated[
        str | None,
        option(
            "--join",
            panel=_SAYS,
            metavar="NAME",
            help="How it is added: input, or share (no key tells them apart), …",
        ),
    ] = None
    ln_eps: Annotated[
        float | None,
        option(
            "--ln-eps",
            panel=_SAYS,
            metavar="X",
            help="The ε of every norm (in no file).",
            parser=epsilon,
        ),
    ] = None
    arch: Annotated[
        str | None,
        option(
            "--arch",
            panel=_SAYS,
            metavar="timm:NAME",
            help="The architecture, for schemes that files do not hold.",
        ),
    ] = None

    def __post_init__(self) -> None:
        self.grid()
        self.patch()
        if self.join is not None and self.join not in JOINS:
            raise UsageError(did_you_mean("--join", self.join, list(JOINS)))

    def grid(self) -> tuple[int, ...] | None:
        """Return (H, W), or (T, H, W), of --grid-size."""
        return None if self.grid_size is None else grid_sides("--grid-size", self.grid_size)

    def patch(self) -> tuple[int, int] | None:
        """Return (H, W) of --patch-size, in pixels."""
        return None if self.patch_size is None else pair("--patch-size", self.patch_size, one=True)

    def hints(self) -> Hints:
        """Return what was said, each with the option that said it."""
        from pe_inspect.loading import Hints

        said: dict[str, Any] = {
            "grid_size": self.grid(),
            "num_prefix_tokens": self.num_prefix_tokens,
            "patch_size": self.patch(),
            "num_heads": self.num_heads,
            "family": self.family,
            "join": self.join,
            "ln_eps": self.ln_eps,
            "arch": self.arch,
        }
        given = {name: value for name, value in said.items() if value is not None}
        origins = {name: f"--{name.replace('_', '-')}" for name in given}
        return Hints(**given, origins=origins)
