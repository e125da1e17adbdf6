"""The page in a real browser: pointer, keys, sliders and links show the numbers that numpy has."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest
from page.browser import hover, middle, opened, running, saved, settled, table_of

import pe_inspect as pei
from pe_inspect.kinds.affinity import cosines
from pe_inspect.kinds.position_embedding import LayerPE
from pe_inspect.kinds.tables_by_layer import received

pytestmark = pytest.mark.browser

GRID = (5, 7)
VIEW, GRIDS = "similarity-view", "resolution-view"


@pytest.fixture(scope="module")
def browser():
    with running() as found:
        yield found


@pytest.fixture(scope="module")
def table():
    return table_of(GRID)


@pytest.fixture(scope="module")
def file(table, tmp_path_factory):
    pages = tmp_path_factory.mktemp("pages")
    return pei.report([table]).save(pages / "report.html")


@pytest.fixture
def page(browser, file):
    with opened(browser, file) as found:
        yield found


def maps(table, patch) -> np.ndarray:
    """(layers, H, W): the exact maps of one patch."""
    row = patch[0] * GRID[1] + patch[1]
    return pei.similarity(table).matrix[:, 0, row].reshape(-1, *GRID)


def test_pointing_at_a_patch_shows_its_map_in_every_layer(page, table):
    hover(page, VIEW, (1, 5), GRID)
    assert "row 1, column 5 in blocks.0" in page.inner_text(f"#{VIEW} .about")
    found = np.load(saved(page, VIEW, "NPY"))
    assert found.shape == (4, *GRID)
    assert np.abs(found - maps(table, (1, 5))).max() <= 0.004


def test_every_small_map_has_the_colours_of_its_values(page, table):
    hover(page, VIEW, (3, 2), GRID)
    pixels = page.evaluate(
        f"""() => [...document.querySelectorAll("#{VIEW} .small-map canvas")].map((canvas) =>
        [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data])"""
    )
    from pe_inspect.figures.layout.style import diverging

    expected = diverging()((maps(table, (3, 2)) + 1) / 2)[..., :3] * 255
    found = np.array(pixels).reshape(4, *GRID, 4)[..., :3]
    assert np.abs(found - expected).max() <= 6


def test_a_pinned_patch_is_compared_with_the_one_pointed_at(page, table):
    page.mouse.click(*middle(page, VIEW, (2, 2), GRID))
    hover(page, VIEW, (4, 6), GRID)
    text = page.inner_text(f"#{VIEW} .readout")
    value = maps(table, (2, 2))[0, 4, 6]
    assert f"with row 4, column 6: {value:.2f}"[:-1] in text.replace("−", "-")
    assert "offset +2 rows, +4 columns; distance 4.47 patches" in text
    page.keyboard.press("Escape")
    settled(page)
    hover(page, VIEW, (0, 0), GRID)
    assert "row 0, column 0" in page.inner_text(f"#{VIEW} .about")


def test_arrow_keys_choose_patches_and_page_keys_layers(page, table):
    page.focus(f"#{VIEW} .field")
    for key in ("ArrowUp", "ArrowRight", "PageDown", "PageDown"):
        page.keyboard.press(key)
    settled(page)
    assert page.inner_text(f"#{VIEW} .about") == "row 1, column 4 in blocks.2"
    assert page.inner_text(f"#{VIEW} output") == "blocks.2"
    assert np.abs(np.load(saved(page, VIEW, "NPY")) - maps(table, (1, 4))).max() <= 0.004


def test_the_keys_reach_the_prefix_token_and_a_second_patch(page):
    page.focus(f"#{VIEW} .field")
    for _ in range(3):
        page.keyboard.press("ArrowUp")
    settled(page)
    assert page.inner_text(f"#{VIEW} .about") == "CLS in blocks.0"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Shift+ArrowRight")
    settled(page)
    assert "offset 0 rows, +1 columns" in page.inner_text(f"#{VIEW} .readout")


def test_the_slider_and_the_small_maps_choose_the_layer(page):
    page.fill(f"#{VIEW} input[type=range]", "3")
    settled(page)
    assert "in blocks.3" in page.inner_text(f"#{VIEW} .about")
    assert page.inner_text(f"#{VIEW} .view-notes").startswith("blocks.3: ")
    page.locator(f"#{VIEW} .small-map").nth(1).click()
    settled(page)
    assert "in blocks.1" in page.inner_text(f"#{VIEW} .about")
    pressed = page.locator(f"#{VIEW} .small-map[aria-pressed=true]")
    assert pressed.inner_text() == "blocks.1"


def test_the_prefix_token_has_a_cell_with_its_value_and_its_own_maps(page, table):
    exact = [cosines(one.values).map(None) for one in received(table)]
    hover(page, VIEW, (1, 1), GRID)
    shown = page.inner_text(f"#{VIEW} .cell-value").replace("−", "-")
    assert float(shown) == pytest.approx(exact[0][1 + 8, 0], abs=0.005)
    page.click(f"#{VIEW} .cell")
    settled(page)
    rows = list(csv.DictReader(saved(page, VIEW, "CSV").read_text().splitlines()))
    found = np.array([float(row["value"]) for row in rows]).reshape(4, -1)
    assert np.abs(found - np.array([one[0] for one in exact])).max() <= 0.004
    assert (rows[0]["layer"], rows[0]["row"]) == ("blocks.0", "CLS")


@pytest.mark.parametrize("metric", ["dot", "l2"])
def test_dot_products_and_distances_are_those_of_the_vectors(page, table, metric):
    page.select_option(f"#{VIEW} label:has-text('metric') select", metric)
    hover(page, VIEW, (4, 0), GRID)
    found = np.load(saved(page, VIEW, "NPY"))
    for shown, one in zip(found, received(table)):
        rows, query = one.patches.astype(np.float64), one.patches[28].astype(np.float64)
        exact = rows @ query if metric == "dot" else np.linalg.norm(rows - query, axis=1)
        size = np.linalg.norm(rows, axis=1).max() ** (2 if metric == "dot" else 1)
        assert np.abs(shown.ravel() - exact).max() <= 0.03 * size


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_every_metric_states_the_error_of_what_it_shows(page, table, metric):
    page.select_option(f"#{VIEW} label:has-text('metric') select", metric)
    page.mouse.click(*middle(page, VIEW, (1, 1), GRID))
    hover(page, VIEW, (4, 6), GRID)
    beside = page.inner_text(f"#{VIEW} .readout").split(" ± ")[1].split(" ")[0]
    found = np.load(saved(page, VIEW, "NPY"))[0]
    rows = next(iter(received(table))).patches.astype(np.float64)
    exact = {
        "cosine": rows @ rows[8] / np.linalg.norm(rows, axis=1) / np.linalg.norm(rows[8]),
        "dot": rows @ rows[8],
        "l2": np.linalg.norm(rows - rows[8], axis=1),
    }[metric].reshape(GRID)
    apart = np.abs(found - exact)
    stated = page.inner_text(f"#{VIEW} .view-notes").split("within ")[1].split(" ")[0]
    assert apart.max() <= float(stated) + 1e-4
    assert apart[4, 6] <= float(beside) + 1e-4 <= float(stated) + 2e-4


def test_lengths_are_those_of_the_vectors_where_only_directions_travel(browser, tmp_path):
    rows = 3 * np.random.default_rng(0).normal(size=(2, 35, 8)).astype(np.float32)
    layers = tuple(LayerPE(f"blocks.{k}", values, GRID) for k, values in enumerate(rows))
    pe = table_of(GRID, tables=layers, norms=(), join="unshare", depth=2, num_prefix_tokens=0)
    with opened(browser, pei.report([pe]).save(tmp_path / "r.html"), "#metric=dot") as page:
        hover(page, VIEW, (1, 1), GRID)
        found = np.load(saved(page, VIEW, "NPY"))
        stated = page.inner_text(f"#{VIEW} .view-notes").split("within ")[1].split(" ")[0]
    exact = np.einsum("lnd,ld->ln", rows, rows[:, 8]).reshape(2, *GRID)
    assert np.abs(found - exact)[0].max() <= float(stated) + 1e-3
    assert np.abs(found - exact).max() <= 0.02 * np.abs(exact).max()


def test_dragging_joins_two_patches_and_says_whether_it_is_the_same_elsewhere(page, table):
    page.mouse.move(*middle(page, VIEW, (1, 1), GRID))
    page.mouse.down()
    page.mouse.move(*middle(page, VIEW, (2, 3), GRID), steps=3)
    page.mouse.up()
    settled(page)
    full = pei.similarity(table).matrix[0, 0].reshape(*GRID, *GRID)
    all_of_them = np.array([full[r, c, r + 1, c + 2] for r in range(4) for c in range(5)])
    text = page.inner_text(f"#{VIEW} .readout").replace("−", "-")
    assert "every pair with this offset (20): mean " in text
    said = text.split("(20): mean ")[1].split(",")
    assert float(said[0]) == pytest.approx(all_of_them.mean(), abs=0.005)
    deviation = float(said[1].removeprefix(" standard deviation "))
    assert deviation == pytest.approx(all_of_them.std(), abs=0.005)
    there = text.split("there ")[1].split(",")[0]
    assert float(there) == pytest.approx(full[1, 1, 2, 3], abs=0.005)


def test_a_difference_is_taken_from_the_layer_before(page, table):
    page.select_option(f"#{VIEW} label:has-text('show') select", "previous")
    hover(page, VIEW, (2, 2), GRID)
    found, exact = np.load(saved(page, VIEW, "NPY")), maps(table, (2, 2))
    assert np.isnan(found[0]).all()
    assert "blocks.0 has no layer before it." in page.inner_text(f"#{VIEW} .view-notes")
    assert np.abs(found[1:] - np.diff(exact, axis=0)).max() <= 0.008
    ticks = page.inner_text(f"#{VIEW} .ticks").split()
    assert ticks[0] == ticks[-1].replace("-", "−") or ticks[0].lstrip("−") == ticks[-1]


def test_a_link_brings_back_what_was_shown(browser, file, page):
    page.mouse.click(*middle(page, VIEW, (3, 1), GRID))
    page.fill(f"#{VIEW} input[type=range]", "2")
    page.wait_for_timeout(300)
    link = page.evaluate("location.hash")
    assert "layer=2&patch=3,1&grid=5x7" in link
    with opened(browser, file, link) as again:
        assert again.inner_text(f"#{VIEW} .about") == "row 3, column 1 in blocks.2"


def test_a_link_written_by_hand_is_followed_and_nonsense_is_not(browser, file):
    with opened(browser, file, "#layer=1&patch=4,6&grid=5x7&metric=l2") as page:
        assert page.inner_text(f"#{VIEW} .about") == "row 4, column 6 in blocks.1"
        assert "L2 distance" in page.get_attribute(f"#{VIEW} .scale", "data-label")
    with opened(browser, file, "#layer=1&patch=6,9&grid=7x10") as page:
        assert page.inner_text(f"#{VIEW} .about") == "row 4, column 6 in blocks.1"
        assert page.inner_text(f"#{GRIDS} .about") == "row 6, column 9 in 7×10, native"
    with opened(browser, file, "#layer=99&patch=90,x&grid=ax&metric=evil&%=%") as page:
        assert page.inner_text(f"#{VIEW} .about") == "row 2, column 3 in blocks.0"


def test_a_link_of_another_resolution_brings_that_back_too(browser, file):
    with opened(browser, file) as page:
        page.locator(f"#{GRIDS} .small-map").last.click()
        hover(page, GRIDS, (6, 12), (10, 14))
        said = page.inner_text(f"#{GRIDS} .about")
        page.wait_for_timeout(300)
        link = page.evaluate("location.hash")
    assert said.startswith("row 6, column 12 in 10×14")
    with opened(browser, file, link) as again:
        assert again.inner_text(f"#{GRIDS} .about") == said


def test_the_numbers_of_every_layer_are_a_table_as_well(page, table):
    page.mouse.click(*middle(page, VIEW, (2, 2), GRID))
    hover(page, VIEW, (0, 1), GRID)
    page.focus(f"#{VIEW} .field")
    page.keyboard.press("Shift+ArrowLeft")
    page.click(f"#{VIEW} .numbers summary")
    settled(page)
    rows = page.locator(f"#{VIEW} .numbers tbody tr")
    cells = [cell.replace("−", "-") for cell in rows.nth(3).locator("th, td").all_inner_texts()]
    exact = maps(table, (2, 2))[3]
    assert cells[0] == "blocks.3"
    assert float(cells[1]) == pytest.approx(exact[2, 1], abs=0.005)
    assert float(cells[3]) == pytest.approx(exact.min(), abs=0.005)


def test_the_picture_is_a_png_with_everything_on_it(page):
    content = saved(page, VIEW, "PNG").read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
    assert width > 1000
    assert height > 800


def test_grids_and_methods_show_the_resampled_table(page, table):
    view = "resolution-view"
    grids = page.locator(f"#{view} .small-map").all_inner_texts()
    place = next(k for k, name in enumerate(grids) if name != "5×7")
    target = tuple(map(int, grids[place].split("×")))
    page.locator(f"#{view} .small-map").nth(place).click()
    method = page.locator(f"#{view} label:has-text('method') option").nth(1).inner_text()
    page.select_option(f"#{view} label:has-text('method') select", label=method)
    settled(page)
    hover(page, view, (1, 1), target)
    result = pei.interpolate(table, grid=target, method=method)
    exact = cosines(result.values()[0]).rows([target[1] + 1])[0, 0].reshape(target)
    assert np.abs(np.load(saved(page, view, "NPY"))[0] - exact).max() <= 0.005


def test_what_is_written_beside_the_map_is_its_measured_error(page, table):
    text = page.inner_text(f"#{VIEW} .view-notes")
    stated = float(text.split("within ")[1].split(" ")[0])
    worst = 0.0
    for patch in ((0, 0), (2, 3), (4, 6)):
        hover(page, VIEW, patch, GRID)
        found = np.load(saved(page, VIEW, "NPY"))
        worst = max(worst, np.abs(found[0] - maps(table, patch)[0]).max())
    assert worst <= stated + 1e-4
    assert math.isfinite(stated)


def test_the_keys_stay_where_they_were_when_another_grid_is_chosen(browser, file):
    with opened(browser, file) as page:
        at = "document.activeElement.className"
        name = page.locator(f"#{GRIDS} .slider output")
        page.focus(f"#{GRIDS} .field")
        for expected in ("7×10", "5×7"):
            page.keyboard.press("PageUp")
            settled(page)
            assert (name.inner_text(), page.evaluate(at)) == (expected, "field")
        page.locator(f"#{GRIDS} .small-map").last.focus()
        page.keyboard.press("Enter")
        settled(page)
        assert (name.inner_text(), page.evaluate(at)) == ("10×14", "small-map")
        assert page.locator(f"#{GRIDS} .small-map[aria-pressed=true]").inner_text() == "10×14"


def test_with_a_mouse_two_clicks_join_two_patches(browser, file):
    with opened(browser, file) as page:
        page.locator(f"#{VIEW} button", has_text="Two patches").click()
        settled(page)
        assert "Click the first patch, then the second." in page.inner_text(f"#{VIEW} .readout")
        for patch in ((1, 2), (3, 6)):
            page.mouse.click(*middle(page, VIEW, patch, GRID))
        settled(page)
        text = page.inner_text(f"#{VIEW} .readout")
        assert text.startswith("row 1, column 2 in ")
        assert "with row 3, column 6" in text
        assert "offset +2 rows, +4 columns" in text


def test_a_patch_with_itself_is_not_called_off_by_rounding(browser, file):
    with opened(browser, file, "#patch=0,0&with=0,0") as page:
        text = page.inner_text(f"#{VIEW} .readout")
    assert "every pair with this offset" in text
    assert "deviations off" not in text


def test_a_difference_is_fitted_and_leaves_no_choice_of_scale(browser, file):
    with opened(browser, file) as page:
        scale = page.locator(f"#{VIEW} label:has-text('scale') select")
        assert (scale.input_value(), scale.is_enabled()) == ("whole", True)
        page.select_option(f"#{VIEW} label:has-text('show') select", "previous")
        settled(page)
        assert (scale.input_value(), scale.is_enabled()) == ("fitted", False)
