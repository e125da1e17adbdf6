"""docs/accuracy.md is what the shipped checkpoints say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.subprocess

ROOT = Path(__file__).parents[1]


def test_the_table_is_the_one_that_the_script_prints() -> None:
    printed = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "accuracy.py"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (ROOT / "docs" / "accuracy.md").read_text(encoding="utf-8") == printed.stdout
