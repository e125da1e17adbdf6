"""The page `docs/glossary.md`: what every printed number is, from the definitions in the code.

python benchmarks/glossary.py > docs/glossary.md
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

from pe_inspect.analysis import questions
from pe_inspect.commands.shell.explaining import OF_FILES, OF_RECIPES, OF_TRAINING

HEAD = """\
# Every number, and what it is

`--explain` prints these lines under the numbers of any command; `--json` has them as
`definitions`, Python as `result.defined()`, and the report beside each number. Where a summary
has a number for every name of a norm, or at several sizes, the command prints each of them.

Made by `python benchmarks/glossary.py > docs/glossary.md`; a test holds every section to the code.
"""


def sections() -> dict[str, str]:
    """Return the page's sections: the word of a command → its text."""
    words = {"info": OF_FILES, "recipes": OF_RECIPES, "train": OF_TRAINING}
    found = {**words, **{name: definitions_of(name) for name in questions}}
    return {name: "\n".join(_section(name, each)) for name, each in sorted(found.items()) if each}


def definitions_of(question: str) -> Mapping[str, str]:
    """Return what the result of a question says of its numbers."""
    module = importlib.import_module(f"pe_inspect.analysis.{question}")
    results: Iterator[Any] = (
        each for each in vars(module).values() if getattr(each, "question", None) == question
    )
    return next((each.definitions for each in results if each.definitions), {})


def _section(name: str, definitions: Mapping[str, str]) -> Iterator[str]:
    yield f"## {name}"
    yield ""
    for number, text in definitions.items():
        yield f"- **`{number}`**: {text}"
    yield ""


if __name__ == "__main__":
    print("\n".join([HEAD, *sections().values()]), end="")
