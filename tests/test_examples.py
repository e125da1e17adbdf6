"""The examples in the documentation are files, and they run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

pytestmark = pytest.mark.subprocess

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    arrays = {"pos_embed": rng.standard_normal((1, 1 + 9, 8)), "cls_token": np.zeros((1, 1, 8))}
    for i in range(2):
        arrays[f"blocks.{i}.norm1.weight"] = np.ones(8)
        arrays[f"blocks.{i}.norm1.bias"] = np.zeros(8)
    path = tmp_path / "tiny.safetensors"
    save_file({key: value.astype(np.float32) for key, value in arrays.items()}, path)
    return path


def test_the_quickstart_goes_from_a_checkpoint_to_a_page(checkpoint: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "quickstart.py"), str(checkpoint), str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "learned_absolute (3, 3) input" in run.stdout
    for name in ("similarity.png", "interpolate.png", "report.html"):
        assert (tmp_path / name).stat().st_size > 1000
