"""The page `docs/native_rules.md`: type of model → rule → source, from the registry of methods.

python benchmarks/native_rules.py > docs/native_rules.md
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pe_inspect.resampling.methods import Method, methods
from pe_inspect.resampling.one_size import ONE_SIZE

HEAD = """\
# Whose rule `native` is, by type of model

What a config.json calls its model (`model_type`; diffusers: `_class_name`) decides which rule
`pe-inspect interpolate --method native` follows, before any name of a tensor does. A configuration
says nothing else of a rule, so that the types are listed; tests take the classes themselves from
the library, and compare every one that can be built.

| known from | what that means |
|---|---|
| its object | a test builds the library's own model or module, and both give the same table |
| its source | the rule was read where the library defines it; no test asks an object of the type |
| its authors | the library takes one size alone; this is what the authors' code does |

Types that stand nowhere here, and files without a config.json whose names tell nothing, are
answered with "rule unknown, timm's is shown".

Made by `python benchmarks/native_rules.py > docs/native_rules.md`; a test holds it to the code.

## Types
"""

RULES = """\

## Rules
"""

ONE = """\

## One size alone

The libraries of these types take no other image size, so that they have no rule; timm's is shown,
and it is said:
"""


def page() -> str:
    """Return the page."""
    own = [method for method in methods.values() if method.model_types]
    types = ", ".join(f"`{each}`" for each in sorted(ONE_SIZE, key=str.lower))
    return "\n".join([
        HEAD, *_table(("type of model", "rule", "known from"), sorted(_types(own))),
        RULES, *_table(("rule", "exact call", "source"), map(_rule, own)),
        ONE, f"{types}.", "",
    ])  # fmt: skip


def _types(own: Iterable[Method]) -> Iterator[tuple[str, ...]]:
    for method in own:
        for each in method.model_types:
            yield f"`{each}`", f"`{method.name}`", _proof(method, each)


def _proof(method: Method, model_type: str) -> str:
    if model_type in method.of_authors:
        return "its authors"
    return "its source" if model_type in method.from_source else "its object"


def _rule(method: Method) -> tuple[str, ...]:
    return f"`{method.name}`", method.call, method.source


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    for row in (head, ("---",) * len(head), *rows):
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


if __name__ == "__main__":
    print(page(), end="")
