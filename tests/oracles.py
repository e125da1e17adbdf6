"""Other libraries as oracles: a library that changed is told apart from a product that broke.

`constraints.txt` names the version of each library that is known to answer. An oracle of that
version has to agree. One of another version may have been rewritten: our answer is then held
against the definition alone, written out in torch or numpy, and the test is skipped with a line
that says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
from closeness import assert_close

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"


@cache
def known_versions() -> dict[str, str]:
    """Distribution → the version that `constraints.txt` names."""
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines() if CONSTRAINTS.is_file() else []
    pins = (line.partition("==") for line in lines if not line.startswith("#"))
    return {_normal(name): version.strip() for name, _, version in pins}


def is_another_version(distribution: str) -> bool:
    """Whether the installed version is not the one that is known to answer."""
    installed = metadata.version(distribution).partition("+")[0]
    return installed != known_versions().get(_normal(distribution))


def agree(distribution: str, ask: Callable, definition, **closeness) -> None:
    """Assert that a library answers what its rule is defined to be; skip where it was rewritten.

    Call it after our own answer was held against the same definition.

    Args:
        distribution: The library, as `pip` names it.
        ask: Asks the library; called without arguments. Whatever it raises is a disagreement.
        definition: The answer, worked out without the library.
        **closeness: As `assert_close` has it.
    """
    try:
        assert_close(ask(), definition, **closeness)
    except Exception as error:
        if not is_another_version(distribution):
            raise
        pytest.skip(_changed(distribution, error))


def _changed(distribution: str, error: Exception) -> str:
    known = known_versions().get(_normal(distribution), "none")
    said = next((line for line in str(error).splitlines() if line.strip()), "")
    return (
        f"{distribution} {metadata.version(distribution)} answers otherwise than the version that "
        f"constraints.txt names ({known}): {type(error).__name__}: {said}. "
        "Our answer was held against the definition, and not against the library."
    )


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
