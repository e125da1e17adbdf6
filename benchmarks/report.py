"""The report against a Plotly page of the same maps: size, first paint, hover, and building it.

    python benchmarks/report.py            # needs plotly, playwright and a Chromium on the PATH

Both pages are opened from disk by the same headless browser, in turn, `--rounds` times; medians
are printed. Paint is the time from navigation to the first frame after the maps are drawn.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

import pe_inspect as pei
from pe_inspect.figures import drawings
from pe_inspect.kinds.position_embedding import LayerNormParams, LayerPE, PositionEmbedding

HOVER = """async () => {
  const field = document.querySelector(".field");
  const box = field.getBoundingClientRect();
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  const times = [];
  for (let k = 0; k < 40; k++) {
    const at = { clientX: box.left + box.width * ((k * 7) % 40 + 0.5) / 40,
                 clientY: box.top + box.height * ((k * 11) % 40 + 0.5) / 40, bubbles: true };
    await frame();
    const asked = [];
    const own = window.requestAnimationFrame;
    window.requestAnimationFrame = (call) => asked.push(call);
    const start = performance.now();
    field.dispatchEvent(new PointerEvent("pointermove", at));
    asked.forEach((call) => call(start));
    field.getBoundingClientRect();
    times.push(performance.now() - start);
    window.requestAnimationFrame = own;
  }
  return times.sort((a, b) => a - b);
}"""
FIRST = """() => new Promise((done) => {
  const seen = (list) => list.getEntries().length && done(list.getEntries()[0].startTime);
  new PerformanceObserver(seen).observe({ type: "paint", buffered: true });
})"""
PAINTED = """() => new Promise((done) => {
  const look = () => document.querySelector(%s)
    ? requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now())))
    : setTimeout(look, 2);
  look();
})"""


def embedding(side: int, width: int, depth: int) -> PositionEmbedding:
    """A LaPE model's table: smooth waves and noise, random norms. The numbers are not a model's."""
    draw = np.random.default_rng(0)
    places = np.indices((side, side)).reshape(2, -1).T
    waves = np.cos(places @ draw.normal(size=(2, width)) * 0.5 + draw.uniform(0, 6.28, width))
    rows = waves * draw.gamma(1, size=width) + 0.3 * draw.normal(size=waves.shape)
    values = 0.1 * np.concatenate([draw.normal(size=(1, width)), rows]).astype(np.float32)
    norms = tuple(
        LayerNormParams(
            f"blocks.{i}", name, 1 + 0.3 * draw.normal(size=width), 0.1 * draw.normal(size=width),
            1e-6,
        )
        for i in range(depth)
        for name in ("norm1", "pe_norm")
    )  # fmt: skip
    return PositionEmbedding(
        family="learned_absolute", kind="vectors", join="lape", norms=norms, source="waves.pth",
        tables=(LayerPE("input", values, (side, side), 1),), num_prefix_tokens=1, depth=depth,
        sha256="00" * 32, notes=(), keys=("pos_embed",), patch_size=(16, 16),
    )  # fmt: skip


def plotly_page(pe: PositionEmbedding, path: Path) -> None:
    """Every layer's map of the middle patch, and a slider over all patches' maps of one layer."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    result = pei.similarity(pe)
    rows, columns = result.grid_size
    figure = make_subplots(rows=3, cols=4, subplot_titles=result.layer_names)
    for k, (_, maps) in enumerate(result.layers()):
        every = maps[0].reshape(-1, rows, columns)
        item = go.Heatmap(z=every[len(every) // 2], customdata=every.reshape(rows, columns, -1))
        figure.add_trace(item, row=k // 4 + 1, col=k % 4 + 1)
    figure.write_html(path, include_plotlyjs=True)


def answers(pe: PositionEmbedding) -> list:
    """What both the page and the figures alone are made of; nothing is computed yet."""
    grid = tuple(2 * side for side in pe.grid_size)
    methods = "native,bicubic,bicubic-aa,bilinear,nearest"
    resized = pei.interpolate(pe, grid=grid, method=methods)
    return [pei.similarity(pe), pei.layernorm(pe), resized]


def built(pe: PositionEmbedding, path: Path) -> dict[str, float]:
    """CPU seconds of the page, and of its figures alone as PNG files; the first round warms up."""
    for _ in range(2):
        start = time.process_time()
        pei.report(answers(pe)).save(path)
        middle = time.process_time()
        for result in answers(pe):
            for figure in drawings[result.question](result).values():
                figure.savefig(path.with_suffix(".png"))
        figures = time.process_time() - middle
    return {"build_s": middle - start, "figures_s": figures}


def opened(browser, path: Path, selector: str, *, hover: bool) -> dict[str, float]:
    """Open a page; return milliseconds to the first contentful paint, to the maps, of a hover."""
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.goto(path.as_uri(), wait_until="commit")
    drawn = page.evaluate(PAINTED % json.dumps(selector))
    found = {"first_paint_ms": page.evaluate(FIRST), "maps_ms": drawn}
    if hover:
        times = page.evaluate(HOVER)
        found |= {"hover_median_ms": times[len(times) // 2], "hover_worst_ms": times[-1]}
    page.close()
    return found


def main() -> None:
    """Measure every grid in one browser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sides", type=int, nargs="+", default=[14, 37])
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for side in given.sides:
            measure(browser, Path(folder), side, given.width, given.rounds)
        browser.close()


def measure(browser, folder: Path, side: int, width: int, rounds: int) -> None:
    """Print one grid's sizes and times."""
    pe, own, theirs = embedding(side, width, 12), folder / "own.html", folder / "plotly.html"
    times = built(pe, own)
    plotly_page(pe, theirs)
    pages = {
        "report": (own, "html[data-ready=views]", True),
        "plotly": (theirs, ".heatmaplayer image, .heatmaplayer .hm image", False),
    }
    runs = {name: [] for name in pages}
    for _ in range(rounds):
        for name, (path, selector, hover) in pages.items():
            runs[name].append(opened(browser, path, selector, hover=hover))
    for name, (path, _, _) in pages.items():
        medians = {key: round(median(run[key] for run in runs[name]), 1) for key in runs[name][0]}
        extra = {k: round(v, 2) for k, v in times.items()} if name == "report" else {}
        print(f"{side}×{side} × 12  {name}: {path.stat().st_size / 1e6:.2f} MB", medians | extra)


if __name__ == "__main__":
    main()
