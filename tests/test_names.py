"""A name means one thing: classes are called apart, and no module hides its plan."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

HOUSE = Path(__file__).parents[1] / "pe_inspect"


def _definitions(kind: type[ast.stmt]) -> Iterator[tuple[str, str]]:
    """Yield (name, module) of what stands at the top of every module."""
    for path in sorted(HOUSE.rglob("*.py")):
        module = path.relative_to(HOUSE).with_suffix("").as_posix()
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, kind):
                yield node.name, module


def _by_name(pairs) -> dict[str, list[str]]:
    found = defaultdict(list)
    for name, place in pairs:
        found[name].append(place)
    return found


def test_no_two_public_classes_share_a_name():
    classes = _by_name(d for d in _definitions(ast.ClassDef) if not d[0].startswith("_"))
    assert {name: places for name, places in classes.items() if len(places) > 1} == {}


def test_no_two_private_modules_share_a_stem():
    stems = _by_name((p.stem, str(p)) for p in HOUSE.rglob("_[!_]*.py"))
    assert {stem: places for stem, places in stems.items() if len(places) > 1} == {}
