"""docs/glossary.md is what the results of all questions say of their numbers."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
WORDS = [line.removeprefix("## ") for line in PAGE.splitlines() if line.startswith("## ")]


@pytest.fixture(scope="module")
def sections():
    return runpy.run_path(str(ROOT / "benchmarks" / "glossary.py"))["sections"]()


@pytest.mark.parametrize("word", WORDS)
def test_a_section_is_what_the_code_says(word, sections):
    assert sections[word] in PAGE


def test_the_answers_that_are_defined_are_all_there():
    assert {"evaluate", "evolution", "info", "interpolate", "layernorm", "similarity"} <= set(WORDS)
