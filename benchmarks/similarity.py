"""What `pe-inspect similarity` costs beside the usual script (`benchmarks/reference.py`).

Both draw the maps of one DeiT-Ti checkpoint with LaPE's norms, in turn, several times; the
medians of CPU time, wall time and peak memory of the processes are printed, and their ratios
against the targets. Linux or macOS.

    python benchmarks/similarity.py [RUNS]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
MIB = 1024 if sys.platform != "darwin" else 1024 * 1024  # ru_maxrss is KiB on Linux, else bytes


@dataclass(frozen=True)
class Cost:
    """What one process used: seconds, seconds, MiB."""

    cpu: float
    wall: float
    memory: float


def measured(command: list[str]) -> Cost:
    """Run a command to its end and return what it used."""
    start = time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parent)}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        message = process.stderr.read().decode() if process.stderr else ""
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}\n{message}")
    return Cost(used.ru_utime + used.ru_stime, wall, used.ru_maxrss / MIB)


def make_checkpoint(path: Path) -> None:
    """Write a DeiT-Ti with LaPE's norms as training scripts do: a zip, with a Namespace in it."""
    import torch
    from reference import build_model

    torch.manual_seed(0)
    model = build_model()
    for block in model.blocks:
        torch.nn.init.uniform_(block.pe_norm.weight, 0.5, 1.5)
        torch.nn.init.normal_(block.pe_norm.bias, std=0.1)
    said = argparse.Namespace(model="deit_tiny_patch16_224", join_type="LaPE", pe="learnable")
    torch.save({"model": model.state_dict(), "args": said}, path)


def median(costs: list[Cost]) -> Cost:
    """The medians of several runs."""
    return Cost(
        *(statistics.median(getattr(c, k) for c in costs) for k in ("cpu", "wall", "memory"))
    )


def main(runs: int = 5) -> None:
    """Measure in turn, so that a busy moment of the machine falls on all of them."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder, "deit_t_lape.pth")
        # not in this process: a child's peak counts what its parent held when it was started
        measured([sys.executable, __file__, "--make", str(checkpoint)])
        ours = [sys.executable, "-m", "pe_inspect", "similarity", str(checkpoint), "--force"]
        commands = {
            "reference": [
                sys.executable,
                str(HERE / "reference.py"),
                str(checkpoint),
                f"{folder}/a",
            ],
            "pe-inspect": [*ours, "--out", f"{folder}/b"],
            "pe-inspect --each": [*ours, "--each", "--out", f"{folder}/c"],
        }
        for command in commands.values():
            measured(command)  # fills the file cache and matplotlib's font list
        costs: dict[str, list[Cost]] = {name: [] for name in commands}
        for _ in range(runs):
            for name, command in commands.items():
                costs[name].append(measured(command))
    report({name: median(found) for name, found in costs.items()}, runs)


def report(costs: dict[str, Cost], runs: int) -> None:
    """Print the medians and the ratios."""
    print(f"medians of {runs} runs    CPU s   wall s   peak MiB")
    for name, cost in costs.items():
        print(f"{name:20} {cost.cpu:8.2f} {cost.wall:8.2f} {cost.memory:10.0f}")
    reference = costs["reference"]
    for name, target in (("pe-inspect", 8), ("pe-inspect --each", 3)):
        cost = costs[name]
        print(
            f"{name}: {reference.cpu / cost.cpu:.1f}× less CPU (target {target}×), "
            f"{reference.memory / cost.memory:.1f}× less memory (target 5×)"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--make"]:
        make_checkpoint(Path(sys.argv[2]))
    else:
        main(*(int(argument) for argument in sys.argv[1:]))
