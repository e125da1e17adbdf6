"""What `interpolate --write` costs on a large file, beside a plain copy of it.

Makes a `.safetensors` (and a zip `.pth`) of a plain ViT, and runs by turns, each in a process of
its own: `shutil.copyfile` and an fsync; `pe_inspect.bake`, which fsyncs too; and what `bake` only
imports. Prints medians of wall time and the peak memory above that of the imports. Targets: at
most 1.5× the copy, under 300 MB.

    python benchmarks/write.py [--gigabytes 1.2] [--runs 5] [--folder /tmp]
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from large_vit import vit_shapes

MIB = 1024 if sys.platform != "darwin" else 1024 * 1024


def make(folder: Path, gigabytes: float) -> list[Path]:
    """Write the model in both formats, in a process of its own: a child inherits a peak."""
    subprocess.run([sys.executable, __file__, "--make", str(folder), str(gigabytes)], check=True)
    return [folder / "large.safetensors", folder / "large.pth"]


def write_model(folder: Path, gigabytes: float) -> None:
    """Write one random state dict twice."""
    import torch
    from safetensors.torch import save_file

    state = {key: torch.randn(shape) for key, shape in vit_shapes(gigabytes).items()}
    save_file(state, folder / "large.safetensors")
    torch.save({"model": state}, folder / "large.pth")


def work(task: str, source: Path, target: Path) -> None:
    """What the measured process does; prints its wall time and its peak memory in MiB."""
    import os
    import shutil

    if task == "copy":
        start = time.perf_counter()
        shutil.copyfile(source, target)
        with target.open("rb") as file:
            os.fsync(file.fileno())
    else:
        import pe_inspect as pei

        load, bake = pei.load, pei.bake
        checkpoint = load(source)
        pei.extract(checkpoint, with_sha256=False)
        start = time.perf_counter()
        if task == "bake":
            bake(load(source), target, res=384, force=True)
    seconds = time.perf_counter() - start
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB)


def measured(task: str, source: Path, target: Path) -> tuple[float, float]:
    """Seconds and peak MiB of a process of its own."""
    target.unlink(missing_ok=True)
    command = [sys.executable, __file__, "--task", task, str(source), str(target)]
    environment = {"PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    seconds, peak = done.stdout.split()
    return float(seconds), float(peak)


def compare(source: Path, runs: int) -> None:
    """Print the two ratios for one file; the order turns round with every run."""
    target = source.with_name(f"out{source.suffix}")
    _, floor = measured("imports", source, target)
    times: dict[str, list[float]] = {"copy": [], "bake": []}
    peaks = []
    for run in range(runs + 1):
        for task in ("copy", "bake") if run % 2 else ("bake", "copy"):
            seconds, peak = measured(task, source, target)
            if run:  # the first one warms the page cache
                times[task].append(seconds)
            if task == "bake":
                peaks.append(peak)
    copy, bake = (statistics.median(times[task]) for task in ("copy", "bake"))
    spread = sorted(b / c for b, c in zip(times["bake"], times["copy"]))
    print(
        f"{source.name}: copy {copy:.2f} s, --write {bake:.2f} s: {bake / copy:.2f}× "
        f"({spread[0]:.2f}–{spread[-1]:.2f}; target 1.5×); {max(peaks) - floor:.0f} MiB above the "
        f"imports' {floor:.0f} (target 300 MB)"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--gigabytes", type=float, default=1.2)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        for path in make(Path(folder), given.gigabytes):
            compare(path, given.runs)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--task"]:
        work(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
    elif sys.argv[1:2] == ["--make"]:
        write_model(Path(sys.argv[2]), float(sys.argv[3]))
    else:
        main()
