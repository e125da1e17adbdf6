"""What `pe-inspect info` costs on large files: CPU time and peak memory, against `--help`.

    python benchmarks/info.py [--gigabytes 1.2] [--runs 5]

Makes a `.safetensors` and a zip `.pth` of one ViT-shaped state dict in a temporary folder, runs
each command several times in a process of its own, and prints medians and ratios.
Targets: `info` at most twice the CPU time of `--help`, and under 150 MB.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from large_vit import vit_shapes

MB = 1e6
PE_INSPECT = [sys.executable, "-m", "pe_inspect"]


def make_files(folder: Path, gigabytes: float) -> None:
    """Write `big.safetensors` and `big.pth`; in a process of its own, for torch is heavy."""
    import torch
    from safetensors.torch import save_file

    state = {key: torch.zeros(shape) for key, shape in vit_shapes(gigabytes).items()}
    save_file(state, folder / "big.safetensors")
    torch.save({"model": state, "epoch": 300}, folder / "big.pth")


def installed_environment(folder: str) -> dict[str, str]:
    """Return the environment with bytecode kept in `folder`, as an installed package has it."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    checkout = str(Path(__file__).parents[1])
    return {**kept, "PYTHONPYCACHEPREFIX": f"{folder}/bytecode", "PYTHONPATH": checkout}


def measure(command: Sequence[str], runs: int, environment: dict[str, str]) -> tuple[float, float]:
    """Return the median CPU seconds and the largest peak memory, in bytes, of several runs."""
    seconds, peaks = [], []
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    for _ in range(runs + 1):
        process = subprocess.Popen(command, env=environment, **pipes)
        _, status, used = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{' '.join(command)} failed:\n{process.stderr.read().decode()}")
        seconds.append(used.ru_utime + used.ru_stime)
        peaks.append(used.ru_maxrss * 1024)
    return statistics.median(seconds[1:]), max(peaks)  # the first run fills the caches


def main() -> None:
    """Make the files, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=1.2)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--make-files-in", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make_files_in:
        make_files(options.make_files_in, options.gigabytes)
        return
    with tempfile.TemporaryDirectory() as folder:
        size = ["--gigabytes", str(options.gigabytes)]
        subprocess.run([sys.executable, __file__, "--make-files-in", folder, *size], check=True)
        commands = {
            "pe-inspect --help": [*PE_INSPECT, "--help"],
            "info big.safetensors": [*PE_INSPECT, "info", f"{folder}/big.safetensors"],
            "info big.pth": [*PE_INSPECT, "info", f"{folder}/big.pth"],
            "import torch": [sys.executable, "-c", "import torch"],
        }
        environment = installed_environment(folder)
        figures = {n: measure(c, options.runs, environment) for n, c in commands.items()}
    show(figures, options.gigabytes)


def show(figures: dict[str, tuple[float, float]], gigabytes: float) -> None:
    """Print one line a command, with the ratio to the first."""
    base = next(iter(figures.values()))[0]
    print(f"files of {gigabytes} GB; medians; CPU time as a ratio to --help")
    print("targets: info at most 2× --help, and under 150 MB")
    for name, (seconds, peak) in figures.items():
        print(f"{name:22} {seconds:6.3f} s CPU  {seconds / base:5.2f}×  {peak / MB:7.1f} MB peak")


if __name__ == "__main__":
    main()
