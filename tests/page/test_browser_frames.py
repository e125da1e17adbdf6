"""Frames of a clip in a real browser: one large, all in a row, and sliders that choose them."""

from __future__ import annotations

import numpy as np
import pytest
from page.browser import SCREENSHOTS, hover, opened, running, settled, table_of

import pe_inspect as pei
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding

pytestmark = pytest.mark.browser

VIEW = "similarity-view"
GRID = (3, 4, 5)
PAIR = f"#{VIEW} .readout p"


def clip(grid: tuple[int, int, int] = GRID) -> PositionEmbedding:
    draw = np.random.default_rng(5)
    places = np.indices(grid).reshape(3, -1).T
    waves = [np.cos((places * draw.normal(size=3)).sum(1) + draw.normal()) for _ in range(12)]
    rows = np.stack([*waves], axis=1).astype(np.float32)
    rows = np.concatenate([draw.normal(size=(1, 12)).astype(np.float32), rows])
    return table_of((4, 5), tables=(LayerPE("input", rows, grid, 1),), depth=3, patch_size=None)


@pytest.fixture(scope="module")
def browser():
    with running() as found:
        yield found


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    result = pei.similarity(clip())
    return pei.report([result]).save(tmp_path_factory.mktemp("clip") / "report.html")


@pytest.fixture
def page(browser, file):
    with opened(browser, file) as found:
        yield found


def slider(page, name: str):
    return page.locator(f"#{VIEW}").get_by_label(name)


def about(page) -> str:
    settled(page)
    return page.inner_text(f"#{VIEW} .about")


def keep(page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.locator(f"#{VIEW}").screenshot(path=SCREENSHOTS / f"{name}.png")


def test_a_view_begins_in_the_middle_of_the_middle_frame(page):
    assert about(page).startswith("frame 1, row 2, column 2")
    assert page.locator(f"#{VIEW} .film.is-chosen button").count() == 3
    keep(page, "frames")


def test_the_query_moves_through_frames_by_its_slider_and_keys_by_theirs(page):
    slider(page, "query's frame").focus()
    page.keyboard.press("ArrowRight")
    assert about(page).startswith("frame 2, row 2, column 2")
    slider(page, "frame shown").focus()
    page.keyboard.press("Home")
    assert about(page).startswith("frame 2, row 2, column 2")
    assert page.locator(f"#{VIEW} .film.is-chosen [aria-pressed=true]").inner_text() == "0"
    assert page.locator(f"#{VIEW} .mark.query").is_hidden()
    keep(page, "frames-other")


def test_a_key_patch_lies_in_the_frame_that_is_shown(page):
    page.locator(f"#{VIEW} .film.is-chosen button").nth(0).click()
    hover(page, VIEW, (3, 4), (4, 5))
    shown = page.inner_text(f"#{VIEW} .readout")
    assert "with frame 0, row 3, column 4" in shown
    assert "offset +1 rows, +2 columns; distance 2.24 patches and −1 frames" in shown


def test_the_value_is_that_of_the_embedding(page):
    page.locator(f"#{VIEW} .film.is-chosen button").nth(0).click()
    hover(page, VIEW, (3, 4), (4, 5))
    said = page.inner_text(f"#{VIEW} .readout").split("column 4: ")[1].split(" ")[0]
    exact = pei.similarity(clip()).query_maps((2, 1 * 5 + 2))[0, 0, 3, 4]
    assert float(said.replace("−", "-")) == pytest.approx(exact, abs=0.01)


def test_arrows_stay_within_a_frame_and_a_link_keeps_both(page, browser, file):
    page.locator(f"#{VIEW} .field").focus()
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    assert about(page).startswith("frame 1, row 2, column 4")
    slider(page, "frame shown").focus()
    page.keyboard.press("End")
    settled(page)
    page.wait_for_timeout(300)
    link = page.evaluate("location.hash")
    with opened(browser, file, link) as again:
        assert about(again).startswith("frame 1, row 2, column 4")
        assert slider(again, "frame shown").input_value() == "2"


def test_a_page_of_images_has_no_slider_of_frames(browser, tmp_path):
    plain = pei.report([pei.similarity(table_of((3, 4), depth=2))]).save(tmp_path / "plain.html")
    with opened(browser, plain) as page:
        assert slider(page, "frame shown").count() == 0
        assert page.locator(".film").count() == 0
