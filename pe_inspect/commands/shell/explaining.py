"""`--explain`: a one-line definition under every number that a command prints."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from textwrap import wrap
from typing import Any, Final

__all__ = ["OF_FILES", "OF_RECIPES", "OF_TRAINING", "defined_by", "explained"]

OF_FILES: Final[Mapping[str, str]] = {
    "parameters": "numbers in all floating-point tensors of the file",
    "prefix tokens": "tokens ahead of the patches (class, distillation, registers), and how many "
    "of them have a row of the table",
    "embedding": "its kind, whether the file stores it, and the numbers of its tensors",
    "norms": "norms by name, and how many layers have one",
}
"""What the numbers of `info` are."""
OF_TRAINING: Final[Mapping[str, str]] = {
    "epochs": "passes through the training images, those before a --resume with them",
    "steps": "of the optimiser",
    "test_accuracy": "share of the test images whose likeliest class is their own, by the last "
    "weights",
    "test_loss": "cross entropy (nats), the mean over the test images, by the last weights",
    "best_test_accuracy": "the greatest test_accuracy after any epoch, whose weights are in "
    "best.safetensors",
    "seconds": "from the first step to the last test, those before a --resume with them",
}
"""What the numbers that `train` ends with are."""
OF_RECIPES: Final[Mapping[str, str]] = {
    "parameters": "of the model, in all",
    "epochs": "passes through the training images",
    "takes": "as long as a run that was timed took; where none was, the first epoch tells",
    "published": "top-1 accuracy (%) on the test images that the named source gives",
    "here": "test_accuracy (%) that the config.json of the shipped run says, on its own images",
}
"""What the columns of `recipes` are."""
_ROW: Final = re.compile(r" {2,}(\S(?:.*?\S)?) {2,}\S")
_UNDER: Final = " " * 6
_NARROWEST: Final = 40
_WIDEST: Final = 96


def defined_by(result: Any) -> dict[str, str]:
    """Return what the numbers of a result are, where it says so."""
    found: dict[str, str] = getattr(result, "defined", dict)()
    return found


def explained(lines: Iterable[str], definitions: Mapping[str, str]) -> Iterator[str]:
    """Yield lines, under each that begins with a number's name what that number is.

    What stands in a table or in a sentence has no line of its own: it is told at the end.

    Args:
        lines: as printed without `--explain`.
        definitions: name → what it is.
    """
    left = dict(definitions)
    for line in lines:
        yield line
        row = _ROW.match(line)
        if row and row[1] in definitions:
            left.pop(row[1], None)
            yield from _wrapped(definitions[row[1]])
    if left:
        yield ""
    for name, text in left.items():
        yield f"  {name}"
        yield from _wrapped(text)


def _wrapped(text: str) -> list[str]:
    width = max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size((_WIDEST, 24)).columns))
    return wrap(text, width, initial_indent=_UNDER, subsequent_indent=_UNDER)
