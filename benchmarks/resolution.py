"""What another resolution costs in accuracy: every method on every trained checkpoint.

Runs `pe_inspect.evaluate` over the folders that are named and have no rows yet, at several image
sizes, by all methods that apply, and with positions shuffled, removed and permuted. Each
checkpoint's rows are kept as CSV; of all that are kept, tables are printed as Markdown and two
figures are drawn.

    python benchmarks/resolution.py [FOLDER …] [--limit 1000] [--out docs/findings/resolution]
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import pe_inspect as pei
from pe_inspect.data import Dataset
from pe_inspect.data import load as load_data

Row = dict[str, str]
Rows = dict[str, list[Row]]

ROOT = Path(__file__).parents[1]
GROUPS = {
    "learned table": ("zoo-learned-",),
    "sinusoidal table": ("zoo-sincos", "zoo-fourier"),
    "bias, relative": ("zoo-rel-bias", "zoo-relative"),
    "rotary": ("zoo-rope",),
    "conditional": ("zoo-peg",),
}
WITHOUT = "zoo-none"
INTERPOLATED = {"bicubic", "rescale"}
COLUMNS = 2
SIZES = (24, 32, 48, 64)
OWN = 32
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
DASHES = ("-", "--", ":")
BY_METHOD = ("zoo-learned-input", "zoo-learned-lape", "zoo-sincos2d-input", "zoo-rope-mixed",
             "zoo-rel-bias-mlp", "zoo-rope-axial")  # fmt: skip


def main() -> None:
    """Evaluate what is missing, then print and draw all."""
    asked = arguments()
    asked.out.mkdir(parents=True, exist_ok=True)
    missing = [path for path in asked.folders if not (asked.out / f"{path.name}.csv").exists()]
    data = load_data("cifar10-jpeg", root=asked.data) if missing else None
    for number, folder in enumerate(missing, start=1):
        started = time.monotonic()
        evaluate(folder, data, asked)
        seconds = time.monotonic() - started
        print(f"{number} of {len(missing)}: {folder.name} in {seconds:.0f} s", flush=True)
    rows = {path.stem: read(path) for path in sorted(asked.out.glob("*.csv"))}
    print(*tables(rows), sep="\n")
    schemes(rows).savefig(asked.figures / "resolution.png", dpi=150)
    methods(rows).savefig(asked.figures / "resolution_methods.png", dpi=150)


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--method", default="all")
    parser.add_argument("--limit", type=int, default=1000)
    parser.add_argument("--data", type=Path, default=Path("data"), help="where datasets lie")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/findings/resolution")
    parser.add_argument("--figures", type=Path, default=ROOT / "docs/images")
    return parser.parse_args()


def evaluate(folder: Path, data: Dataset | None, asked: argparse.Namespace) -> None:
    """Evaluate one checkpoint and keep its rows."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    result = pei.evaluate(
        pei.load(str(folder)), data, res=SIZES,
        method=asked.method, shuffle=True, remove=True, permute_patches=True, limit=asked.limit,
    )  # fmt: skip
    about = {"checkpoint": folder.name, "epochs": config["metrics"]["epochs"],
             "seed": config["seed"]}  # fmt: skip
    records = [{**about, **record} for record in result.records()]
    partial = asked.out / f".{folder.name}.partial"
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(records[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
    partial.replace(asked.out / f"{folder.name}.csv")


def read(path: Path) -> list[Row]:
    """Read one checkpoint's rows."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def curve(rows: Sequence[Row], method: str = "native") -> list[tuple[int, float]]:
    """Return (pixels, top-1 in %) of one method; at the model's own size all are one."""
    own = rows[0]
    found = [r for r in rows[1:] if r["condition"] == "plain" and r["method"] == method]
    return sorted((int(row["height"]), 100 * float(row["top1"])) for row in [own, *found])


def names_of(rows: Sequence[Row]) -> list[str]:
    """Return the methods of one checkpoint."""
    return list(dict.fromkeys(row["method"] for row in rows if row["condition"] == "plain"))


def tables(rows: Rows) -> Iterator[str]:
    """Yield three Markdown tables: by the own rule, by method, and with positions changed."""
    yield "| checkpoint | " + " | ".join(f"{size}" for size in SIZES) + " |"
    yield "|---" * (len(SIZES) + 1) + "|"
    for name, found in rows.items():
        by_size = dict(curve(found))
        yield row_of(name, (f"{by_size[size]:.1f}" if size in by_size else "–" for size in SIZES))
    others = [size for size in SIZES if size != OWN]
    yield "\n| checkpoint | method | " + " | ".join(f"{size}" for size in others) + " |"
    yield "|---" * (len(others) + 2) + "|"
    for name, found in rows.items():
        for method in different(found):
            picked = [pick(found, "plain", method, size) for size in others]
            yield row_of(name, [method, *map(difference, picked)])
    yield "\n| checkpoint | shuffled | removed | permuted | fragility |\n|---|---|---|---|---|"
    for name, found in rows.items():
        changed = [pick(found, what, "native", OWN) for what in ("shuffled", "removed", "permuted")]
        fragility = changed[2]["fs"] if changed[2] else "nan"
        yield row_of(name, [*map(difference, changed), f"{float(fragility):.2f}"])


def row_of(name: str, cells: Iterable[str]) -> str:
    """Return a row of a Markdown table."""
    return f"| {name.removeprefix('zoo-')} | " + " | ".join(cells) + " |"


def pick(rows: Sequence[Row], condition: str, method: str, size: int) -> Row | None:
    """Return the row of one condition, if there is one."""
    wanted = (condition, method, str(size))
    return next((r for r in rows if (r["condition"], r["method"], r["height"]) == wanted), None)


def difference(row: Row | None) -> str:
    """Return points over the reference, with their paired standard error."""
    if row is None:
        return "–"
    value, error = over_reference(row)
    return f"{value:+.1f} ± {error:.1f}".replace("-", "−")


def over_reference(row: Row) -> tuple[float, float]:
    """Return points over the own rule, of a method, or over the plain model; and their error.

    Rows that were kept before these had columns of their own hold both in one.
    """
    kept = row.get("difference_to_native", "nan")
    of_method = [kept, row.get("difference_to_native_standard_error", "nan")]
    pair = of_method if kept not in ("", "nan") else [row["difference"], row["difference_error"]]
    return 100 * float(pair[0]), 100 * float(pair[1])


def schemes(rows: Rows) -> Figure:
    """Draw a panel a group: the own rule solid, interpolation dashed; grey: without positions."""
    figure = new_figure(10, 3.1)
    for place, (title, starts) in enumerate(GROUPS.items(), start=1):
        axes = figure.add_subplot(1, len(GROUPS), place)
        if WITHOUT in rows:
            axes.plot(*zip(*curve(rows[WITHOUT])), color="#9a9aa0", lw=3, label="none")
        for k, name in enumerate(name for name in rows if name.startswith(starts)):
            line(axes, curve(rows[name]), k, name.removeprefix("zoo-"))
            for method in set(names_of(rows[name])) & INTERPOLATED:
                points = curve(rows[name], method)
                axes.plot(*zip(*points), color=COLOURS[k % 6], ls="--", lw=1.1, label=method)
        dressed(axes, title, "top-1 (%)" if place == 1 else "")
        axes.legend(fontsize=6, frameon=False, loc="lower left")
    same_limits(figure)
    return figure


def methods(rows: Rows) -> Figure:
    """Draw what each method is over the model's own rule, a panel a checkpoint; paired errors."""
    chosen = [name for name in BY_METHOD if name in rows]
    known = list(dict.fromkeys(m for name in chosen for m in different(rows[name])))
    figure = new_figure(10, 3.3 * -(-len(chosen) // COLUMNS))
    for place, name in enumerate(chosen, start=1):
        axes = figure.add_subplot(-(-len(chosen) // COLUMNS), COLUMNS, place)
        for method in different(rows[name]):
            differences(axes, rows[name], method, known.index(method))
        axes.axhline(0, color="#1b1b1f", lw=0.8)
        dressed(axes, name.removeprefix("zoo-"), "over the own rule (points)")
    labels = {k.get_label(): k for axes in figure.axes for k in axes.get_lines()}
    shown = [name for name in known if name in labels]
    figure.legend(
        [labels[name] for name in shown], shown, loc="outside right upper", fontsize=7,
        frameon=False,
    )  # fmt: skip
    return figure


def different(rows: Sequence[Row]) -> list[str]:
    """Return the methods but for those that equal the own rule or an earlier one everywhere."""
    seen: dict[tuple[float, ...], str] = {}
    for method in names_of(rows):
        losses = (round(float(r["loss"]), 6) for r in rows[1:] if r["method"] == method
                  and r["condition"] == "plain")  # fmt: skip
        seen.setdefault(tuple(losses), method)
    return [method for method in seen.values() if method != "native"]


def differences(axes: Axes, rows: Sequence[Row], method: str, index: int) -> None:
    """Draw one method over the own rule, with the standard error of the paired difference."""
    found = [r for r in rows if (r["condition"], r["method"]) == ("plain", method)]
    points = {int(row["height"]): over_reference(row) for row in found}
    points[int(rows[0]["height"])] = (0.0, 0.0)
    sizes = sorted(points)
    values, errors = zip(*(points[size] for size in sizes))
    line(axes, list(zip(sizes, values)), index, method)
    axes.errorbar(sizes, values, errors, fmt="none", ecolor=COLOURS[index % 6], elinewidth=0.5)


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def line(axes: Axes, points: Sequence[tuple[int, float]], index: int, label: str) -> None:
    """Draw one line, told apart by colour, dashes and marker."""
    axes.plot(
        *zip(*points), color=COLOURS[index % 6], ls=DASHES[index // 6 % 3], lw=1.1, ms=3,
        marker="os^Dv<>P"[index % 8], label=label,
    )  # fmt: skip


def dressed(axes: Axes, title: str, label: str) -> None:
    """Give a panel its words."""
    axes.set_title(title, fontsize=9, loc="left", fontweight="bold")
    axes.set_xlabel("image size (pixels)", fontsize=8)
    axes.set_ylabel(label, fontsize=8)
    axes.set_xticks(SIZES)
    axes.axvline(OWN, color="#5c5f66", lw=0.7, ls=(0, (4, 2)))
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e4e4e8", lw=0.6)


def same_limits(figure: Figure) -> None:
    """Give all panels one scale."""
    low, high = zip(*(axes.get_ylim() for axes in figure.axes))
    for axes in figure.axes:
        axes.set_ylim(min(low), max(high))


if __name__ == "__main__":
    main()
