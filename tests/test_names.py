"""A name means one thing: no two public classes, and no two private modules, are called alike."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

HOUSE: Final = Path(__file__).parents[1] / "pe_inspect"


def _classes() -> Iterator[tuple[str, str]]:
    """Yield (name, file) of every class that stands at the top of a file."""
    for path in HOUSE.rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                yield node.name, str(path.relative_to(HOUSE))


def _shared(named: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Return the names that more than one place has, with their places."""
    places = defaultdict(list)
    for name, place in named:
        places[name].append(place)
    return {name: sorted(found) for name, found in places.items() if len(found) > 1}


def test_no_two_public_classes_share_a_name():
    assert _shared((name, file) for name, file in _classes() if not name.startswith("_")) == {}


def test_no_two_private_modules_share_a_stem():
    assert _shared((file.stem, str(file)) for file in HOUSE.rglob("_[!_]*.py")) == {}
