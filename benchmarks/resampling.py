"""What resampling a large table costs: beside the bare timm call, and of all methods at once.

A 37×37 table at D=1536 (DINOv2 ViT-g) goes to 74×74. Medians of several rounds of CPU
time on one thread, imports aside and memory warm (the first half GB that a process touches costs
more than what is written there); ratios against the targets. Two questions:

- one table by one method, beside `timm.layers.resample_abs_pos_embed` on the same tensor
  (target: at most 1.2×);
- `--method all` beside its slowest member, as tables only, with every measure, and as the command
  answers it: tables, measures and figure files (target: under 3×).

    python benchmarks/resampling.py [ROUNDS]
"""

from __future__ import annotations

import io
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # read when numpy is imported

import numpy as np
import torch
from timm.layers import resample_abs_pos_embed

sys.path.insert(0, str(Path(__file__).parents[1]))

from pe_inspect.analysis.interpolate import InterpolationResult, interpolate
from pe_inspect.figures.interpolate import draw
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding

SOURCE, TARGET, DIM = (37, 37), (74, 74), 1536


def seconds(work: Callable[[], object]) -> float:
    """The CPU time of one run, which a busy machine does not stretch; one thread works."""
    start = time.process_time()
    work()
    return time.process_time() - start


def make_table() -> PositionEmbedding:
    """A table as smooth and as noisy as trained ones."""
    rng = np.random.default_rng(0)
    y, x = np.indices(SOURCE)[..., None] / 37
    waves = rng.standard_normal((2, DIM)) * 6
    values = 0.03 * np.cos(y * waves[0] + x * waves[1]) + 0.005 * rng.standard_normal((37, 37, DIM))
    table = LayerPE("input", values.reshape(-1, DIM), SOURCE)
    return PositionEmbedding("learned_absolute", "vectors", "input", (table,))


def members(pe: PositionEmbedding) -> dict[str, str]:
    """Plain method → one name of it: aliases cost what they share, and are not timed again."""
    result = interpolate(pe, grid=TARGET, method="all")
    return {rule: name for name, rule in reversed(result.rules.items())}


def tables(result: InterpolationResult) -> None:
    """Make the tables of every method."""
    for rule in {rule: name for name, rule in result.rules.items()}.values():
        result.values(rule)


def answer(result: InterpolationResult) -> None:
    """Do what the command does after reading the file."""
    result.to_frame()
    for figure in draw(result).values():
        figure.savefig(io.BytesIO(), format="png")


def against_timm(pe: PositionEmbedding, rounds: int) -> None:
    """Print the ratio of one table by one method."""
    tensor = torch.tensor(pe.tables[0].values)[None]

    def timm() -> object:
        with torch.no_grad():
            return resample_abs_pos_embed(tensor, list(TARGET), list(SOURCE), num_prefix_tokens=0)

    def ours() -> object:
        return interpolate(pe, grid=TARGET, method="timm").values()

    pairs = [(seconds(timm), seconds(ours)) for _ in range(rounds + 1)][1:]
    theirs, mine = (statistics.median(each) for each in zip(*pairs))
    ratio = mine / theirs
    print(f"one table: timm {1e3 * theirs:.0f} ms, here {1e3 * mine:.0f} ms: {ratio:.2f}×", end=" ")
    print("(target ≤ 1.2×)")


def all_against_slowest(
    pe: PositionEmbedding, what: str, work: Callable[[InterpolationResult], None], rounds: int
) -> None:
    """Print the ratio of `--method all` to its slowest member."""

    def run(method: str) -> float:
        return seconds(lambda: work(interpolate(pe, grid=TARGET, method=method)))

    run("all")
    single = {
        rule: statistics.median(run(name) for _ in range(rounds))
        for rule, name in members(pe).items()
    }
    slowest = max(single, key=lambda rule: single[rule])
    whole = statistics.median(run("all") for _ in range(rounds))
    print(
        f"all as {what}: {whole:.2f} s for {len(single)} methods; slowest, {slowest}, "
        f"{single[slowest]:.2f} s: {whole / single[slowest]:.2f}× (target < 3×); "
        f"the others' median {statistics.median(single.values()):.2f} s"
    )


def main(rounds: int = 3) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    pe = make_table()
    against_timm(pe, 3 * rounds)
    all_against_slowest(pe, "tables", tables, rounds)
    all_against_slowest(pe, "tables and measures", InterpolationResult.to_frame, rounds)
    all_against_slowest(pe, "the command's answer", answer, rounds)


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
