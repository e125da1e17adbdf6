"""A real headless Chromium for tests, and what a page must never do in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from pe_inspect.kinds.position_embedding import LayerNormParams, LayerPE, PositionEmbedding

NAMES = ("chromium", "chromium-browser", "google-chrome")
SCREENSHOTS = Path(__file__).parents[2] / "reports" / "screenshots"


def chromium() -> str:
    """The browser's path; the test is skipped where there is none. None is ever downloaded."""
    pytest.importorskip("playwright", reason="playwright is not installed")
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is on the PATH")
    return found


def axe() -> str:
    """axe-core's script, from npm; the test is skipped where it is not installed."""
    places = [os.environ.get("AXE_CORE", ""), "node_modules/axe-core/axe.min.js"]
    found = [path for path in map(Path, filter(None, places)) if path.is_file()]
    if not found:
        pytest.skip("axe-core is not installed: npm install axe-core, or set AXE_CORE")
    return found[0].read_text(encoding="utf-8")


@contextmanager
def running() -> Iterator:
    """The browser, for as long as tests need it."""
    path = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(browser, file: Path, link: str = "", *, before: str = "", **options) -> Iterator:
    """A page in a context of its own; no console error and no request may come of it."""
    context = browser.new_context(accept_downloads=True, **options)
    page, wrong = context.new_page(), []
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda asked: note(asked.url, wrong))
    if before:
        page.add_init_script(before)
    page.goto(file.as_uri() + link)
    if not before and options.get("java_script_enabled", True):
        page.wait_for_selector("html[data-ready=views]", timeout=20_000)
    yield page
    context.close()
    assert not wrong


def note(url: str, wrong: list[str]) -> None:
    if not url.startswith(("file:", "data:", "blob:")):
        wrong.append(f"a request: {url}")


def saved(page, view: str, button: str) -> Path:
    """The file that a view's download button gives."""
    with page.expect_download() as download:
        page.locator(f"#{view} .actions button", has_text=button).click()
    return Path(download.value.path())


def hover(page, view: str, patch: tuple[int, int], grid: tuple[int, int], plane: int = 0) -> None:
    """Move the pointer onto the middle of a patch, and wait until it is drawn."""
    page.mouse.move(*middle(page, view, patch, grid, plane))
    settled(page)


def middle(page, view, patch, grid, plane=0) -> tuple[float, float]:
    field = page.locator(f"#{view} .field .map").nth(plane)
    field.scroll_into_view_if_needed()
    box = field.bounding_box()
    row, column = patch
    return (
        box["x"] + (column + 0.5) * box["width"] / grid[1],
        box["y"] + (row + 0.5) * box["height"] / grid[0],
    )


def settled(page) -> None:
    """Wait two frames: what was scheduled is drawn."""
    page.evaluate(
        "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )


def table_of(
    grid: tuple[int, int], *, width: int = 12, depth: int = 4, **changes
) -> PositionEmbedding:
    """A LaPE-style table of random rows with one prefix row."""
    draw = np.random.default_rng(3)
    values = draw.normal(size=(1 + grid[0] * grid[1], width)).astype(np.float32)
    norms = tuple(
        LayerNormParams(
            f"blocks.{i}", name, 1 + 0.3 * draw.normal(size=width), draw.normal(size=width), 1e-6
        )
        for i in range(depth)
        for name in ("norm1", "pe_norm")
    )
    given = {
        "family": "learned_absolute", "kind": "vectors", "join": "lape",
        "tables": (LayerPE("input", values, grid, 1),), "norms": norms, "source": "runs/small.pth",
        "sha256": "0123456789abcdef" * 4, "notes": (), "keys": ("pos_embed",),
        "num_prefix_tokens": 1, "depth": depth, "patch_size": (16, 16),
    }  # fmt: skip
    return PositionEmbedding(**{**given, **changes})
