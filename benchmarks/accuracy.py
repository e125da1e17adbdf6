"""The accuracy table of `docs/accuracy.md`, from the configurations of the shipped checkpoints.

    python benchmarks/accuracy.py > docs/accuracy.md

Every number comes out of a `config.json` that `pe-inspect train` wrote; nothing is estimated. Those
of runs whose weights are not shipped lie in `docs/runs/`.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

HEAD = """\
# What each scheme and join reached

Top-1 on the test images, as the `config.json` of each run says: the weights of the last epoch, as
they are saved. `±` is the standard error of a share of that many test images; it says nothing of
what another seed would give: where a recipe has several rows, they are its seeds. CIFAR-10 is a
lossy JPEG copy, whose numbers are not comparable with those on the original images. None of these
short runs is a paper's setting: published numbers are listed by `pe-inspect recipes`, with their
sources.

Made by `python benchmarks/accuracy.py > docs/accuracy.md`; each row again by
`pe-inspect train RECIPE --force`, with the changes that the heading and the row name (`--set
KEY=VALUE`): a recipe may have moved on since. Weights are in `checkpoints/`, but for rows marked *,
of which `docs/runs/` keeps the configuration. `schh_compat` turns by s-chh's own rotary angles, as
`schh-rope` does now; `roformer-cifar10` turns by RoFormer's.
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
    """The configurations of all runs; `kept` says whether the weights are shipped, too."""
    shipped = dict.fromkeys(ROOT.glob("checkpoints/*/config.json"), True)
    others = dict.fromkeys(ROOT.glob("docs/runs/*.json"), False)
    return [
        {**json.loads(path.read_text()), "kept": kept} for path, kept in (shipped | others).items()
    ]


def _order(run: dict[str, Any]) -> tuple[str, float]:
    return _title(run), -run["metrics"]["test_accuracy"]


def _title(run: dict[str, Any]) -> str:
    shape, data = run["model"], run["data"]
    height, width = (shape["img_size"][i] // shape["patch_size"][i] for i in range(2))
    return (
        f"{data['label']}, {data['num_train']:,} images, {run['metrics']['epochs']} epochs: "
        f"{height}×{width} grid, D={shape['embed_dim']}, {shape['depth']} layers, "
        f"{run['machine']}, {run['precision']}{_changes(run['recipe'])}"
    )


def _changes(trained: dict[str, Any]) -> str:
    """What was otherwise than the recipe has it now, the model's shape apart."""
    theirs, ours = (_settings(trained["name"], each) for each in (trained, {}))
    changed = [f"`{k}={theirs[k]}`" for k in theirs if k in ours and theirs[k] != ours[k]]
    return f"; changed: {', '.join(changed)}" if changed else ""


def _settings(name: str, trained: dict[str, Any]) -> dict[str, Any]:
    """Return what touches a weight of the trained recipe, or of the one that it is today."""
    from pe_inspect.training import Recipe, recipes
    from pe_inspect.training.resume import FREE

    recipe = Recipe.from_dict(trained) if trained else recipes[name]
    plain = recipe.to_dict()
    return {key: plain[key] for key in plain if key not in FREE | {"model", "seed"}}


def _table(runs: list[dict[str, Any]]) -> list[str]:
    rule = ["---"] * len(COLUMNS)
    return [f"| {' | '.join(cells)} |" for cells in (COLUMNS, rule, *map(_row, runs))]


def _row(run: dict[str, Any]) -> tuple[str, ...]:
    from pe_inspect.models.config import ViTConfig
    from pe_inspect.training import recipes

    shape = ViTConfig.from_dict(run["model"])
    now = asdict(recipes[run["recipe"]["name"]].model)
    other = [f"`{k}={v}`".lower() for k, v in asdict(shape).items() if now[k] != v]
    accuracy, count = run["metrics"]["test_accuracy"], run["data"]["num_test"]
    error = (accuracy * (1 - accuracy) / count) ** 0.5
    reached = f"{accuracy:.2%} ± {error:.2%}"
    name = f"`{run['recipe']['name']}`{'' if run['kept'] else ' *'}"
    scheme = ", ".join((shape.scheme, *other))
    return name, scheme, shape.join, f"{shape.num_parameters:,}", reached, str(run["seed"])


if __name__ == "__main__":
    main()
