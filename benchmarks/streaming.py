"""The memory of `similarity` on a large grid: 64×64 patches, 24 layers, D = 1024.

The maps of all layers would be 1.6 GB; they are computed one layer at a time. Prints the peak
memory of a process that computes the numbers and draws the figures, of one that also saves the
maps, and of one that only imports what they import. Linux or macOS.

    python benchmarks/streaming.py [ROWS COLUMNS LAYERS WIDTH]
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pe_inspect.kinds.position_embedding import PositionEmbedding

TARGET = 600  # MiB above the imports
MIB = 1024 if sys.platform != "darwin" else 1024 * 1024


def make_embedding(rows: int, columns: int, depth: int, width: int) -> PositionEmbedding:
    """A random table and LaPE's norms."""
    import numpy as np

    from pe_inspect.kinds.position_embedding import LayerNormParams, LayerPE, PositionEmbedding

    rng = np.random.default_rng(0)
    table = LayerPE("input", rng.standard_normal((rows * columns, width), "f4"), (rows, columns))
    norms = tuple(
        LayerNormParams(
            f"blocks.{k}", "pe_norm", rng.uniform(0.5, 1.5, width), rng.normal(0, 0.1, width), 1e-6
        )
        for k in range(depth)
    )
    return PositionEmbedding("learned_absolute", "vectors", "lape", (table,), norms, depth=depth)


def work(task: str, sizes: list[int]) -> None:
    """What the measured process does; prints its seconds of CPU and its peak in MiB."""
    from pe_inspect.analysis.similarity import similarity
    from pe_inspect.figures.saving import save
    from pe_inspect.figures.similarity import draw

    if task != "imports":
        result = similarity(make_embedding(*sizes))
        result.summary()
        with tempfile.TemporaryDirectory() as folder:
            for stem, figure in draw(result).items():
                with Path(folder, f"{stem}.png").open("wb") as file:
                    save(figure, file, format="png", dpi=150)
            if task == "saving":
                with Path(folder, "similarity.npz").open("wb") as file:
                    result.save_npz(file)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB
    print(time.process_time(), peak)


def measured(task: str, sizes: list[int]) -> tuple[float, float]:
    """Seconds of CPU and peak MiB of a process of its own."""
    command = [sys.executable, __file__, "--task", task, *map(str, sizes)]
    environment = {"PYTHONPATH": str(Path(__file__).parent.parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    seconds, peak = done.stdout.split()
    return float(seconds), float(peak)


def main(sizes: list[int]) -> None:
    """Print what each task takes above the imports."""
    _, floor = measured("imports", sizes)
    print(f"imports: {floor:.0f} MiB")
    for task in ("drawing", "saving"):
        seconds, peak = measured(task, sizes)
        print(
            f"{task}: {peak:.0f} MiB, {peak - floor:.0f} above the imports "
            f"(target {TARGET}), {seconds:.1f} s of CPU"
        )


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments[:1] == ["--task"]:
        work(arguments[1], [int(size) for size in arguments[2:]])
    else:
        main([int(size) for size in arguments] or [64, 64, 24, 1024])
