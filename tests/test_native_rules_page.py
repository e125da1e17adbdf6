"""docs/native_rules.md is what the registry of methods says."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_page_is_the_one_that_the_script_prints() -> None:
    page = runpy.run_path(str(ROOT / "benchmarks" / "native_rules.py"))["page"]

    assert (ROOT / "docs" / "native_rules.md").read_text(encoding="utf-8") == page()
