"""The commands that write, small enough to be killed two hundred times each."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

__all__ = ["COMMANDS", "killed", "left_in", "ran"]

ROOT = Path(__file__).parents[2]
COMMANDS = {
    "write": ["interpolate", "in/x.safetensors", "--grid", "6x8", "--grid-size", "3x4",
              "--write", "out/y.safetensors", "--no-figures", "--force", "--out", "out/r"],
    "each": ["similarity", "in/x.safetensors", "--grid-size", "3x4", "--each", "--out", "out",
             "--save-data"],
    "report": ["report", "in/x.safetensors", "--grid-size", "3x4", "--out", "out"],
    "train": ["train", "digits-lape", "--out", "out", "--force", "--set", "epochs=2",
              "--set", "depth=1"],
}  # fmt: skip


def _begun(name: str, place: Path, largest_file: int | None = None) -> subprocess.Popen[str]:
    def limit() -> None:
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file,) * 2)

    words = [sys.executable, "-m", "pe_inspect", *COMMANDS[name]]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        words, cwd=place, env=environment, text=True, preexec_fn=limit,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


def ran(name: str, place: Path, largest_file: int | None = None) -> tuple[int, str]:
    """Run a command to its end; return its code and what it complained of."""
    process = _begun(name, place, largest_file)
    _, said = process.communicate(timeout=300)
    return process.returncode, said


def killed(name: str, place: Path, by: signal.Signals, seconds: float) -> int:
    """Begin a command, and kill it somewhere in its first `seconds`; return its code."""
    process = _begun(name, place)
    time.sleep(random.uniform(0.3, 1.0) * seconds)
    process.send_signal(by)
    process.communicate(timeout=300)
    return process.returncode


def left_in(place: Path) -> list[str]:
    """What was left half-written."""
    return sorted(p.name for p in place.rglob(".*") if p.name.endswith((".partial", ".old")))
