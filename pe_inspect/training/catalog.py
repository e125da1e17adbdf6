"""The recipes that travel with the package, and where their checkpoints lie."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Final

from pe_inspect.registry import UnknownName
from pe_inspect.training.recipe import Recipe

__all__ = ["DEFAULT_RECIPE", "Recipes", "checkpoint_folder", "recipes"]

DEFAULT_RECIPE: Final = "cifar10-lape"
WEIGHTS: Final = "model.safetensors"

_PACKAGE: Final = Path(__file__).parents[1]


class Recipes(Mapping[str, Recipe]):
    """Name → recipe, one TOML file each, read when it is asked for.

    Args:
        folder: where the files lie.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def _files(self) -> dict[str, Path]:
        return {file.stem: file for file in sorted(self.folder.glob("*.toml"))}

    def __getitem__(self, name: str) -> Recipe:
        if name not in self._files:
            raise UnknownName("recipe", name, list(self._files))
        return Recipe.open(self._files[name])

    def __contains__(self, name: object) -> bool:
        return name in self._files

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


recipes: Final = Recipes(Path(__file__).parent / "recipes")


def checkpoint_folder(name: str) -> Path:
    """Return where the checkpoint of recipe `name` is, or where it would be trained.

    `checkpoints/NAME` of the working folder comes first, then the one that travels with the
    package; where there is neither, the former is returned and holds no `model.safetensors`.
    """
    here = Path("checkpoints") / name
    shipped = (_PACKAGE / "checkpoints" / name, _PACKAGE.parent / "checkpoints" / name)
    return next((folder for folder in (here, *shipped) if (folder / WEIGHTS).is_file()), here)
