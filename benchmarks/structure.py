"""What `structure` costs on a large grid: 64×64 patches, 24 layers, D = 1024.

Prints the seconds and the peak memory of a process that computes every index, the baselines, the
words and the arrays of the file, with two threads for products, and of one that only imports what
that imports. Seconds of the wall hold for an idle machine; those of CPU for a busy one too. Linux
or macOS.

    python benchmarks/structure.py [ROWS COLUMNS LAYERS WIDTH]
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

from streaming import MIB, make_embedding

SECONDS = 30  # of the wall, on two cores
ABOVE = 600  # MiB above the imports


def work(task: str, sizes: list[int]) -> None:
    """What the measured process does; prints what it used."""
    from pe_inspect.analysis.structure import structure

    pe = make_embedding(*sizes)
    wall, cpu = time.perf_counter(), time.process_time()
    if task == "indices":
        result = structure(pe)
        result.rows(), result.baseline_rows(), result.finding, result.notes, result.arrays()
    used = {
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB,
        "torch": "torch" in sys.modules,
    }
    print(json.dumps(used))


def measured(task: str, sizes: list[int]) -> dict[str, float]:
    """What a process of its own used."""
    command = [sys.executable, __file__, "--task", task, *map(str, sizes)]
    home = str(Path(__file__).parent.parent)
    environment = {"PYTHONPATH": home, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main(sizes: list[int]) -> None:
    """Print what the indices take, and what is in memory before them."""
    before, found = measured("imports", sizes), measured("indices", sizes)
    above = found["peak"] - before["peak"]
    print(f"imports and the table: {before['peak']:.0f} MiB")
    print(
        f"structure: {found['wall']:.1f} s of the wall (target {SECONDS}), {found['cpu']:.1f} s of "
        f"CPU; {found['peak']:.0f} MiB, {above:.0f} above the imports and the table "
        f"(target {ABOVE}); torch {'loaded' if found['torch'] else 'not loaded'}"
    )


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments[:1] == ["--task"]:
        work(arguments[1], [int(size) for size in arguments[2:]])
    else:
        main([int(size) for size in arguments] or [64, 64, 24, 1024])
