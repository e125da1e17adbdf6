"""What `pe-inspect info` costs on two gigabytes of each wire format, against `--help`.

    python benchmarks/formats.py [--gigabytes 2] [--runs 5]

The files are sparse (`sparse_files.py`): a ViT-shaped state dict whose numbers are holes.
Targets: `info` at most twice the CPU time of `--help`, and under 150 MB.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from info import PE_INSPECT, installed_environment, measure, show
from large_vit import vit_shapes
from sparse_files import WRITERS


def make_files(folder: Path, gigabytes: float) -> None:
    """Write all of them; in a process of its own, for torch is heavy."""
    for name, write in WRITERS.items():
        write(folder / name, vit_shapes(gigabytes))


def main() -> None:
    """Make the files, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=2)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--make-files-in", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make_files_in:
        make_files(options.make_files_in, options.gigabytes)
        return
    with tempfile.TemporaryDirectory() as folder:
        size = ["--gigabytes", str(options.gigabytes)]
        subprocess.run([sys.executable, __file__, "--make-files-in", folder, *size], check=True)
        commands = {"pe-inspect --help": [*PE_INSPECT, "--help"]}
        flags = ["--grid-size", "14x14", "--num-prefix-tokens", "1"]
        for name in WRITERS:
            commands[f"info {name}"] = [*PE_INSPECT, "info", f"{folder}/{name}", *flags]
        environment = installed_environment(folder)
        figures = {n: measure(c, options.runs, environment) for n, c in commands.items()}
    show(figures, options.gigabytes)


if __name__ == "__main__":
    main()
