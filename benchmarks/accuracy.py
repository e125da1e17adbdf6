"""The accuracy table of `docs/accuracy.md`, from the configurations of the shipped checkpoints.

    python benchmarks/accuracy.py > docs/accuracy.md

Every number comes out of a `config.json` that `pe-inspect train` wrote; nothing is estimated.
"""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Any

CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"

HEAD = """\
# What each scheme and join reached

Top-1 on the test images of the checkpoints in `checkpoints/`, as their `config.json` says: the
weights of the last epoch, as they are saved (float16). `±` is the standard error of a share of that
many test images; it says nothing of what another seed would give. One seed each. CIFAR-10 is a
lossy JPEG copy, whose numbers are not comparable with those on the original images. None of these
short runs is a paper's setting: published numbers are listed by `pe-inspect recipes`, with their
sources.

Made by `python benchmarks/accuracy.py > docs/accuracy.md`; each row again by
`pe-inspect train RECIPE --force`.
"""

COLUMNS = ("recipe", "scheme", "join", "parameters", "top-1", "seed")


def main() -> None:
    """Print the table, one section for each data set and length of training."""
    print(HEAD)
    for title, runs in groupby(sorted(_runs(), key=_order), key=_title):
        print(f"## {title}\n")
        print("\n".join(_table(list(runs))))
        print()


def _runs() -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in CHECKPOINTS.glob("*/config.json")]


def _order(run: dict[str, Any]) -> tuple[str, float]:
    return _title(run), -run["metrics"]["test_accuracy"]


def _title(run: dict[str, Any]) -> str:
    shape, data = run["model"], run["data"]
    height, width = (shape["img_size"][i] // shape["patch_size"][i] for i in range(2))
    return (
        f"{data['label']}, {data['num_train']:,} images, {run['metrics']['epochs']} epochs: "
        f"{height}×{width} grid, D={shape['embed_dim']}, {shape['depth']} layers, "
        f"{run['machine']}, {run['precision']}"
    )


def _table(runs: list[dict[str, Any]]) -> list[str]:
    rule = ["---"] * len(COLUMNS)
    return [f"| {' | '.join(cells)} |" for cells in (COLUMNS, rule, *map(_row, runs))]


def _row(run: dict[str, Any]) -> tuple[str, ...]:
    from pe_inspect.models.config import ViTConfig

    shape = ViTConfig.from_dict(run["model"])
    accuracy, count = run["metrics"]["test_accuracy"], run["data"]["num_test"]
    error = (accuracy * (1 - accuracy) / count) ** 0.5
    reached = f"{accuracy:.2%} ± {error:.2%}"
    name = f"`{run['recipe']['name']}`"
    return name, shape.scheme, shape.join, f"{shape.num_parameters:,}", reached, str(run["seed"])


if __name__ == "__main__":
    main()
