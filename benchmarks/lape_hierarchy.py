"""LaPE's claims in numbers: hierarchy over layers, and 1-D tables that become two-dimensional.

Asks `pe_inspect.structure` of the shipped checkpoints, of the seeds that lie beside the finding,
and of every run that is named; writes the rows of all layers, a figure, and the tables of the
finding between their marks.

    python benchmarks/lape_hierarchy.py [RUN …]

More seeds, a quarter of an hour to half an hour of one core each, then the command above with
their folders:

    pe-inspect train zoo-learned-lape --set seed=1 --out runs/zoo-learned-lape-seed1
    pe-inspect train zoo-learned-input --set seed=1 --out runs/zoo-learned-input-seed1
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

import pe_inspect as pei
from pe_inspect.analysis.structure import structure
from pe_inspect.figures.layout.lines import key, lined, panel_figure, panel_title
from pe_inspect.figures.layout.style import PALETTE

ROOT = Path(__file__).parents[1]
FINDING = ROOT / "docs/findings/lape-hierarchy.md"
SEEDS = FINDING.with_suffix("")
FIGURE = ROOT / "docs/images/lape_hierarchy.png"
JOINS = ("input", "share", "unshare", "lape", "pvg", "mpvg")
TABLES = ("zoo-learned", "zoo-sincos1d", "zoo-sincos2d", "cifar10", "digits")
SEED = re.compile(r"-seed(\d+)$")
NUMBERS = ("half_radius", "ssdc_l1", "row_share", "column_share", "interaction_share", "transpose")


@dataclass(frozen=True)
class Run:
    """One run: its recipe, its seed, and the rows of `structure`."""

    recipe: str
    seed: int
    hierarchy: float
    rows: list[dict[str, float]]

    def by_layer(self, name: str) -> list[float]:
        """Return one number of every block."""
        return [row[name] for row in self.rows if str(row["layer"]).startswith("blocks.")]


def main() -> None:
    """Measure, then write rows, tables and figure."""
    runs = sorted(map(measured, places(sys.argv[1:])), key=lambda run: (run.recipe, run.seed))
    write_rows(runs)
    write_tables(runs)
    draw(runs)


def places(named: Sequence[str]) -> Iterator[Path]:
    """Yield every checkpoint of a table and a join, the seeds beside the finding, and the named."""
    for table in TABLES:
        shipped = (ROOT / f"checkpoints/{table}-{join}" for join in JOINS)
        yield from (path for path in shipped if path.exists())
    yield from sorted(SEEDS.glob("*.pe.safetensors"))
    yield from map(Path, named)


def measured(place: Path) -> Run:
    """Return what `structure` says of one checkpoint."""
    name = place.name.removesuffix(".pe.safetensors")
    seed = SEED.search(name)
    result = structure(pei.extract(place)[0])
    recipe = SEED.sub("", name)
    return Run(recipe, int(seed[1]) if seed else 0, result.hierarchy, result.rows())


def write_rows(runs: Sequence[Run]) -> None:
    """Write every layer of every run."""
    with (SEEDS / "layers.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["recipe", "seed", "layer", "hierarchy", *NUMBERS])
        for run in runs:
            for row in run.rows:
                numbers = [f"{value:.4f}" for value in (run.hierarchy, *(row[n] for n in NUMBERS))]
                writer.writerow([run.recipe, run.seed, row["layer"], *numbers])


def write_tables(runs: Sequence[Run]) -> None:
    """Replace what stands between the marks of the finding."""
    text = FINDING.read_text(encoding="utf-8")
    for mark, lines in (("hierarchy", hierarchies(runs)), ("two-dimensional", shares(runs))):
        start, end = f"<!-- {mark} -->", f"<!-- end of {mark} -->"
        body = "\n".join(lines)
        text = re.sub(f"{start}.*?{end}", f"{start}\n{body}\n{end}", text, flags=re.DOTALL)
    FINDING.write_text(text, encoding="utf-8")


def hierarchies(runs: Sequence[Run]) -> Iterator[str]:
    """Yield the table of hierarchies and half-radii."""
    yield "| recipe | seed | hierarchy | half-radius, stored | first block | last block |"
    yield "|---|---|---|---|---|---|"
    for run in runs:
        stored, radii = run.rows[0]["half_radius"], run.by_layer("half_radius")
        numbers = " | ".join(f"{value:.2f}" for value in (stored, radii[0], radii[-1]))
        yield f"| {run.recipe} | {run.seed} | {run.hierarchy:.4f} | {numbers} |"


def shares(runs: Sequence[Run]) -> Iterator[str]:
    """Yield the table of shares of sinusoids, from the first block to the last."""
    yield "| recipe | row share, first → last block | column share | interaction | transpose |"
    yield "|---|---|---|---|---|"
    names = ("row_share", "column_share", "interaction_share", "transpose")
    for run in runs:
        if "sincos" in run.recipe:
            ends = [run.by_layer(name) for name in names]
            cells = " | ".join(f"{a[0]:.2f} → {a[-1]:.2f}".replace("-", "−") for a in ends)
            yield f"| {run.recipe} | {cells} |"


def draw(runs: Sequence[Run]) -> None:
    """Draw half-radii and column shares, block by block."""
    text = (
        "Left: half-radius of the cosine maps, block by block, learned tables. Right: share of the "
        "table's variance that columns alone explain, tables of 1-D sines. zoo: CIFAR-10 (JPEG "
        "copy), 8×8 patches, six epochs, seed 0."
    )
    figure, inside = panel_figure("What each join makes of one table", text, 2.5)
    panels = inside.subplots(1, 2)
    for axes, table, name, words in (
        (panels[0], "zoo-learned", "half_radius", "half-radius (patches)"),
        (panels[1], "zoo-sincos1d", "column_share", "column share"),
    ):
        panel(axes, [run for run in runs if run.recipe.startswith(table)], name, words)
        panel_title(axes, table)
    key(inside, *panels, beside=True)
    figure.savefig(FIGURE, dpi=150, metadata={"Software": None})


def panel(axes: Axes, runs: Sequence[Run], name: str, words: str) -> None:
    """Draw a line a join."""
    lined(axes, "block", words)
    for run in runs:
        join = run.recipe.rpartition("-")[2]
        values = run.by_layer(name)
        axes.plot(np.arange(len(values)), values, marker="o", markersize=3, linewidth=1.3,
                  color=PALETTE[JOINS.index(join)], label=join)  # fmt: skip


if __name__ == "__main__":
    main()
