"""Recipe files: one recipe, or a family of them over a common body.

A family has a table `[variants]`; each entry there holds what it has of its own, and its `model`
is merged into the common one. In a description `{variant}`, `{scheme}` and `{join}` are filled in.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pe_inspect.errors import UsageError, reason

__all__ = ["read_recipes"]

LARGEST: Final = 1 << 20


def read_recipes(path: Path) -> dict[str, dict[str, Any]]:
    """Return the plain content of every recipe in a file, by name: `STEM`, or `STEM-VARIANT`.

    Raises:
        UsageError: there is no such file, it is not TOML, or its variants are no tables.
    """
    try:
        with path.open("rb") as file:
            content = tomllib.loads(file.read(LARGEST).decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        said = f"{path} cannot be read as a recipe (TOML): {reason(error)}"
        raise UsageError(said) from error
    if "variants" not in content:
        return {path.stem: {"name": path.stem, **content}}
    variants = content.pop("variants")
    if not isinstance(variants, Mapping) or not variants:
        raise UsageError(f"{path.name}: variants must be tables, e.g. [variants.lape].")
    members = (_merged(path, content, name, own) for name, own in variants.items())
    return {member["name"]: member for member in members}


def _merged(path: Path, body: Mapping[str, Any], variant: str, own: Any) -> dict[str, Any]:
    """Return one variant over the common body."""
    if not isinstance(own, Mapping):
        raise UsageError(f"{path.name}: variant {variant} is {own!r}; expected a table.")
    common, particular = (each.get("model", {}) for each in (body, own))
    if not isinstance(common, Mapping) or not isinstance(particular, Mapping):
        raise UsageError(f"{path.name}: model must be a table of its own: [model].")
    model = {**common, **particular}
    merged = {"name": f"{path.stem}-{variant}", **body, **own, "model": model}
    if isinstance(merged.get("description"), str):
        words = {"variant": variant, "scheme": model.get("scheme"), "join": model.get("join")}
        for word, value in words.items():
            merged["description"] = merged["description"].replace(f"{{{word}}}", str(value))
    return merged
