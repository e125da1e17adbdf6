"""The recipes that travel with the package, and where their checkpoints lie."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from pe_inspect.checkpoint_files import WEIGHTS
from pe_inspect.errors import UsageError
from pe_inspect.registry import UnknownName
from pe_inspect.training.recipe import Recipe
from pe_inspect.training.recipe_file import read_recipes

__all__ = ["DEFAULT_RECIPE", "Recipes", "checkpoint_folder", "recipes"]

DEFAULT_RECIPE: Final = "cifar10-lape"

_PACKAGE: Final = Path(__file__).parents[1]


class Recipes(Mapping[str, Recipe]):
    """Name → recipe, from TOML files of one recipe or a family each, read when first asked for.

    Args:
        folder: where the files lie.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def _contents(self) -> dict[str, tuple[str, dict[str, Any]]]:
        """Return the family and the plain content of every recipe; those of a file in a row."""
        found: dict[str, tuple[str, dict[str, Any]]] = {}
        for file in sorted(self.folder.glob("*.toml")):
            for name, content in read_recipes(file).items():
                if name in found:
                    raise UsageError(f"{file.name}: another file has a recipe {name!r}, too.")
                found[name] = file.stem, content
        return found

    def family(self, name: str) -> str:
        """Return the stem of the file that a recipe is from."""
        return self._entry(name)[0]

    def __getitem__(self, name: str) -> Recipe:
        return Recipe.from_dict(self._entry(name)[1])

    def _entry(self, name: str) -> tuple[str, dict[str, Any]]:
        if name not in self._contents:
            raise UnknownName("recipe", name, list(self._contents))
        return self._contents[name]

    def __contains__(self, name: object) -> bool:
        return name in self._contents

    def __iter__(self) -> Iterator[str]:
        return iter(self._contents)

    def __len__(self) -> int:
        return len(self._contents)


recipes: Final = Recipes(Path(__file__).parent / "recipes")


def checkpoint_folder(name: str) -> Path:
    """Return where the checkpoint of recipe `name` is, or where it would be trained.

    `checkpoints/NAME` of the working folder comes first, then the one that travels with the
    package; where there is neither, the former is returned and holds no `model.safetensors`.
    """
    here = Path("checkpoints") / name
    shipped = (_PACKAGE / "checkpoints" / name, _PACKAGE.parent / "checkpoints" / name)
    return next((folder for folder in (here, *shipped) if (folder / WEIGHTS).is_file()), here)
