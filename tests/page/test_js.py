"""The page's pure functions, under Node."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.subprocess

HERE = Path(__file__).parent


@pytest.mark.parametrize("file", sorted((HERE / "js").glob("*.mjs")), ids=lambda file: file.stem)
def test_pure_functions_do_what_their_names_say(file):
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    done = subprocess.run(
        [node, "--test", str(file)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout
