"""The page in a real browser: comparison, themes, paper, small screens, old browsers, odd data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from page.browser import (
    SCREENSHOTS,
    axe,
    hover,
    middle,
    opened,
    running,
    saved,
    settled,
    table_of,
)

import pe_inspect as pei
from pe_inspect.kinds.affinity import Values
from pe_inspect.kinds.position_embedding import LayerPE
from pe_inspect.page import Definition, Report, Section
from pe_inspect.page.content import Chapter
from pe_inspect.page.frames import frame_of
from pe_inspect.page.thinning import thinned
from pe_inspect.page.views import Track, View

pytestmark = pytest.mark.browser

VIEW, COMPARE = "similarity-view", "compare-view"
EVIL = '<img src=x onerror="document.title=`run`">'


@pytest.fixture(scope="module")
def browser():
    with running() as found:
        yield found


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return pei.report([table_of((5, 7))]).save(tmp_path_factory.mktemp("one") / "report.html")


@pytest.fixture(scope="module")
def pair():
    return table_of((4, 6), source="a.pth"), table_of((8, 6), source="b.pth", depth=3)


@pytest.fixture(scope="module")
def two(pair, tmp_path_factory):
    return pei.report(list(pair)).save(tmp_path_factory.mktemp("two") / "report.html")


def page_of(*views: View) -> Report:
    """A page with nothing but views."""
    section = Section("similarity", "T", "Q?", "F.", (), "R.", Definition("d"), views=views)
    return Report("Views", (Chapter("one", "", (section,)),))


def view_of(values: np.ndarray, grid: tuple[int, int], layers: int = 1, **given) -> View:
    """A view of biases, (heads, N, N)."""
    frame = frame_of("blocks.0", Values(values.astype(np.float32)), grid)
    frames = tuple(replace(frame, name=f"blocks.{k}") for k in range(layers))
    plain = {"quantity": "attention bias", "limit": None, **given}
    return View("similarity", VIEW, "Maps", "layer", (Track("one", frames),), **plain)


def keep(page, name: str) -> None:
    """Leave a screenshot for people to look at."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(browser, two, scheme):
    script = axe()
    with opened(browser, two, color_scheme=scheme, bypass_csp=True) as page:
        keep(page, f"explore-{scheme}")
        page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
        settled(page)
        page.add_script_tag(content=script)
        found = page.evaluate("() => axe.run({resultTypes: ['violations']})")
    wrong = [(v["id"], [n["target"] for n in v["nodes"]][:3]) for v in found["violations"]]
    assert wrong == []
    assert len(found["passes"]) > 20


def test_dark_and_light_follow_the_system(browser, file):
    grounds = []
    for scheme in ("light", "dark"):
        with opened(browser, file, color_scheme=scheme) as page:
            ground = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
            grounds.append(sum(map(int, ground[4:-1].split(", "))))
    assert grounds[0] > 700
    assert grounds[1] < 120


def test_dark_and_light_are_chosen_as_well(browser, file):
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    with opened(browser, file, color_scheme="dark") as page:
        system = page.evaluate(ground)
        page.locator("select").and_(page.get_by_label("colours")).select_option("light")
        assert page.evaluate(ground) == "rgb(255, 255, 255)"
        page.locator("select").and_(page.get_by_label("colours")).select_option("dark")
        assert page.evaluate(ground) == system
        page.emulate_media(color_scheme="light")
        assert page.evaluate(ground) == system
        page.locator("select").and_(page.get_by_label("colours")).select_option("system")
        assert page.evaluate(ground) == "rgb(255, 255, 255)"


def test_more_than_four_checkpoints_are_shown_one_at_a_time_and_it_is_said(browser, tmp_path):
    many = [table_of((3, 4), source=f"{name}.pth", depth=2) for name in "abcde"]
    with opened(browser, pei.report(many).save(tmp_path / "many.html")) as page:
        assert page.locator(f"#{COMPARE} .field").count() == 1
        assert "5 checkpoints are more than fit" in page.inner_text(f"#{COMPARE} .view-notes")
        assert page.inner_text(f"#{COMPARE} .about").endswith(", a")


def test_a_control_that_would_do_nothing_is_left_out(browser, tmp_path):
    file = page_of(view_of(np.eye(6)[None], (2, 3))).save(tmp_path / "one.html")
    with opened(browser, file) as page:
        assert page.locator(f"#{VIEW} .controls input, #{VIEW} .controls select").count() == 0
        assert page.locator(f"#{VIEW} .controls button").inner_text() == "Two patches"


def test_nothing_is_wider_than_a_small_screen(browser, two):
    with opened(browser, two, viewport={"width": 320, "height": 640}) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        keep(page, "compare-320")


def test_a_tap_pins_and_a_second_one_joins(browser, file):
    phone = {"viewport": {"width": 360, "height": 700}, "has_touch": True}
    with opened(browser, file, **phone) as page:
        field = page.locator(f"#{VIEW} .field")
        field.scroll_into_view_if_needed()
        field.tap(position={"x": 10, "y": 10})
        page.locator(f"#{VIEW} button", has_text="Two patches").tap()
        field.scroll_into_view_if_needed()
        box = field.bounding_box()
        field.tap(position={"x": box["width"] - 10, "y": 10})
        settled(page)
        assert "row 0, column 0" in page.inner_text(f"#{VIEW} .about")
        assert "offset 0 rows, +6 columns" in page.inner_text(f"#{VIEW} .readout")


def test_without_scripts_every_view_has_its_figures(browser, two):
    with opened(browser, two, java_script_enabled=False) as page:
        assert not page.locator(".explorer:visible").count()
        for details in page.locator("details.static").all():
            assert details.locator("img").first.is_visible()
            assert not details.locator("> summary").is_visible()


def test_on_paper_figures_stand_for_views(browser, file):
    with opened(browser, file) as page:
        page.emulate_media(media="print")
        assert not page.locator(".explorer:visible").count()
        assert page.locator("details.static img").first.is_visible()
        assert page.pdf()[:5] == b"%PDF-"


def test_a_browser_that_cannot_unpack_says_so_and_shows_the_figures(browser, file):
    old = "delete window.DecompressionStream"
    with opened(browser, file, before=old) as page:
        assert "no DecompressionStream" in page.inner_text("#views-message")
        assert not page.locator(".explorer:visible").count()
        assert page.locator("details.static img").first.is_visible()


def test_one_patch_is_shown_in_every_checkpoint_on_one_scale(browser, two, pair):
    with opened(browser, two) as page:
        hover(page, COMPARE, (2, 4), (4, 6))
        abouts = page.locator(f"#{COMPARE} .field").evaluate_all(
            "all => all.map(one => one.getAttribute('aria-label'))"
        )
        assert len(abouts) == 2
        assert "row 2, column 4" in abouts[0]
        keep(page, "compare")
        found = np.load(saved(page, COMPARE, "NPY"))
        names = page.locator(f"#{COMPARE} .small-row").first.locator("span").all_inner_texts()
    exact = dict(pei.similarity(pair[0]).layers())
    assert found.shape == (2, len(names), 4, 6)
    assert len(names) >= 3
    for name, shown in zip(names, found[0]):
        assert np.abs(shown - exact[name][0, 16].reshape(4, 6)).max() <= 0.004


def test_a_difference_of_checkpoints_is_that_of_their_maps(browser, tmp_path):
    grid = (3, 5)
    pair = [table_of(grid, source="a.pth"), table_of(grid, source="b.pth", depth=4, width=9)]
    file = pei.report(pair).save(tmp_path / "report.html")
    with opened(browser, file) as page:
        page.select_option(f"#{COMPARE} label:has-text('show') select", "track:1")
        hover(page, COMPARE, (1, 3), grid)
        found = np.load(saved(page, COMPARE, "NPY"))
    a, b = (pei.similarity(pe).matrix[:, 0, 8].reshape(-1, *grid) for pe in pair)
    assert np.abs(found[0] - (a - b)).max() <= 0.008
    assert np.abs(found[1]).max() == 0


def tracks_of(values: np.ndarray, prefix: dict[str, tuple[str, ...]], **given) -> View:
    """A view of several checkpoints of one layer, 2×3 patches, some with prefix tokens."""
    tracks = []
    for name, names in prefix.items():
        some = values[:, -6 - len(names) :, -6 - len(names) :]
        frame = frame_of("blocks.0", Values(some), (2, 3), prefix=names, detail=f"as {name} has it")
        tracks.append(Track(name, (frame,)))
    plain = {"quantity": "attention bias", "limit": None, **given}
    return View("compare", COMPARE, "Maps", "layer", tuple(tracks), **plain)


def test_a_token_that_one_checkpoint_lacks_has_no_map_there(browser, tmp_path):
    values = np.random.default_rng(0).normal(size=(1, 7, 7)).astype(np.float32)
    view = tracks_of(values, {"a": ("CLS",), "b": (), "c": ("CLS",)})
    with opened(browser, page_of(view).save(tmp_path / "lacks.html")) as page:
        page.mouse.click(*middle(page, COMPARE, (1, 1), (2, 3)))
        page.locator(f"#{COMPARE} .cell").first.hover()
        settled(page)
        said = page.inner_text(f"#{COMPARE} .readout")
        assert "with CLS: " in said
        assert "b undefined" in said
        page.keyboard.press("Escape")
        page.locator(f"#{COMPARE} .cell").first.click()
        settled(page)
        found = np.load(saved(page, COMPARE, "NPY"))
        page.select_option(f"#{COMPARE} label:has-text('checkpoint') select", "1")
        settled(page)
        assert "blocks.0, b has no CLS." in page.inner_text(f"#{COMPARE} .readout")
        page.select_option(f"#{COMPARE} label:has-text('show') select", "track:1")
        settled(page)
        taken = np.load(saved(page, COMPARE, "NPY"))
    assert np.isnan(found[1]).all()
    assert np.abs(found[0, 0] - values[0, 0, 1:].reshape(2, 3)).max() <= 0.03
    assert np.isnan(taken).all()


def test_it_is_said_of_every_checkpoint_how_its_maps_come_to_be(browser, tmp_path):
    values = np.random.default_rng(0).normal(size=(1, 6, 6)).astype(np.float32)
    view = tracks_of(values, {"a": (), "b": ()})
    with opened(browser, page_of(view).save(tmp_path / "how.html")) as page:
        notes = page.inner_text(f"#{COMPARE} .view-notes")
    assert "a, blocks.0: as a has it. b, blocks.0: as b has it." in notes


def test_patches_of_a_thinned_page_are_called_as_in_the_file(browser, tmp_path):
    grid = (13, 16)
    values = np.random.default_rng(0).normal(size=(1, 208, 208)).astype(np.float32)
    (view,) = thinned([view_of(values, grid)], 12_000)
    assert view.tracks[0].frames[0].grid_size == (6, 8)
    link = "#patch=7,4&with=11,10&grid=13x16"
    with opened(browser, page_of(view).save(tmp_path / "thin.html"), link) as page:
        text = page.inner_text(f"#{VIEW} .readout").replace("−", "-")
        assert text.startswith("row 7, column 4 in blocks.0")
        value = float(text.split("with row 11, column 10: ")[1].split(" ")[0])
        assert abs(value - values[0, 7 * 16 + 4, 11 * 16 + 10]) <= 0.03
        assert "offset +4 rows, +6 columns; distance 7.21 patches" in text
        assert "rows 1–11 down, columns 0–14 across" in page.inner_text(f"#{VIEW} .edges")
        page.focus(f"#{VIEW} .field")
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(300)
        assert "patch=7,6&grid=13x16" in page.evaluate("location.hash")
        rows = saved(page, VIEW, "CSV").read_text().splitlines()
    assert [row.split(",")[2:4] for row in rows[1:4]] == [["1", "0"], ["1", "2"], ["1", "4"]]


@pytest.mark.parametrize(("grid", "count"), [((14, 14), 12), ((9, 1), 12), ((1, 9), 12)])
def test_all_layers_are_in_sight_at_once(browser, tmp_path, grid, count):
    places = grid[0] * grid[1]
    view = view_of(np.random.default_rng(0).normal(size=(1, places, places)), grid, count)
    size = {"width": 1440, "height": 1000}
    with opened(browser, page_of(view).save(tmp_path / "all.html"), viewport=size) as page:
        box = page.locator(f"#{VIEW} .small-maps")
        assert box.evaluate("one => one.scrollHeight - one.clientHeight") <= 1
        assert page.locator(f"#{VIEW}").bounding_box()["height"] < 1000


def test_patches_and_layers_are_linked_between_views(browser, two):
    with opened(browser, two) as page:
        page.focus(f"#{COMPARE} .field")
        page.keyboard.press("PageDown")
        settled(page)
        name = page.inner_text(f"#{COMPARE} .slider output")
        own = page.locator(".explorer[id$=similarity-view] .slider output").first
        assert name != "blocks.0"
        assert own.inner_text() == name
        abouts = page.locator(".explorer .about strong").all_inner_texts()
        assert abouts[:2] == ["row 2, column 3"] * 2


def test_tables_are_copied_and_saved_with_all_digits(browser, file):
    with opened(browser, file) as page:
        page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
        box = page.locator("details:has(table[data-name=similarity])")
        with page.expect_download() as download:
            box.locator("button", has_text="CSV").click()
        lines = download.value.path().read_text().splitlines()
    rows = pei.similarity(table_of((5, 7))).rows()
    cells = dict(zip(lines[0].split(","), lines[1].split(",")))
    assert download.value.suggested_filename == "similarity.csv"
    assert float(cells["mean"]) == pytest.approx(rows[0]["mean"], rel=1e-7)


def test_names_that_reorder_text_are_escaped_in_what_a_view_says(browser, tmp_path):
    view = view_of(np.eye(6)[None], (2, 3))
    frame = replace(view.tracks[0].frames[0], name="a\u202eb", detail="c\u202ed")
    view = replace(view, tracks=(Track("e\u202ef", (frame,)),))
    with opened(browser, page_of(view).save(tmp_path / "bidi.html")) as page:
        assert "\u202e" not in page.inner_text(f"#{VIEW}")
        assert "a\\u202eb" in page.inner_text(f"#{VIEW} .about")


def test_hostile_names_are_text(browser, tmp_path):
    view = replace(view_of(np.eye(6)[None], (2, 3)), title=EVIL, quantity=EVIL, notes=(EVIL,))
    frame = replace(view.tracks[0].frames[0], name=EVIL, detail=EVIL)
    tracks = (Track(EVIL, (frame,)), Track("</script><script>document.title=1</script>", (frame,)))
    file = page_of(replace(view, tracks=tracks, track_word="checkpoint")).save(tmp_path / "a.html")
    with opened(browser, file) as page:
        assert page.title() == "Views"
        assert EVIL in page.inner_text(f"#{VIEW} .about")
        assert page.locator(f"#{VIEW} img").count() == 0


@pytest.mark.parametrize(
    ("grid", "layers", "heads"),
    [((1, 1), 1, 1), ((1, 6), 2, 3), ((3, 4), 200, 1), ((2, 3), 1, 100)],
)
def test_odd_shapes_are_drawn(browser, tmp_path, grid, layers, heads):
    count = grid[0] * grid[1]
    values = np.random.default_rng(0).normal(size=(heads, count, count))
    file = page_of(view_of(values, grid, layers)).save(tmp_path / "odd.html")
    with opened(browser, file) as page:
        hover(page, VIEW, (0, 0), grid)
        assert page.locator(f"#{VIEW} .small-map").count() == layers
        found = np.load(saved(page, VIEW, "NPY"))
    assert np.abs(found[0] - values.mean(axis=0)[0].reshape(grid)).max() <= 0.03


def test_a_head_is_chosen(browser, tmp_path):
    values = np.random.default_rng(0).normal(size=(5, 12, 12))
    file = page_of(view_of(values, (3, 4))).save(tmp_path / "heads.html")
    with opened(browser, file, "#head=3&patch=2,1") as page:
        found = np.load(saved(page, VIEW, "NPY"))
    assert np.abs(found[0] - values[3, 9].reshape(3, 4)).max() <= 0.02


def test_maps_that_are_no_heads_are_chosen_by_their_names(browser, tmp_path):
    view = view_of(np.random.default_rng(0).normal(size=(2, 12, 12)), (3, 4))
    file = page_of(replace(view, head_names=("query", "value"))).save(tmp_path / "named.html")
    with opened(browser, file) as page:
        options = page.locator(f"#{VIEW} label:has-text('table') option").all_inner_texts()
        assert options == ["mean of all", "query", "value"]


def test_what_is_undefined_is_hatched_and_called_so(browser, tmp_path):
    values = np.eye(12)[None]
    values[0, 5] = values[0, :, 5] = np.nan
    file = page_of(view_of(values, (3, 4))).save(tmp_path / "nan.html")
    with opened(browser, file) as page:
        hover(page, VIEW, (1, 1), (3, 4))
        assert "undefined" in page.inner_text(f"#{VIEW} .readout")
        hover(page, VIEW, (0, 0), (3, 4))
        found = np.load(saved(page, VIEW, "NPY"))[0]
    assert np.isnan(found).tolist() == np.isnan(values[0, 0].reshape(3, 4)).tolist()


def test_a_layer_that_lacks_the_chosen_head_shows_the_mean_and_says_so(browser, tmp_path):
    values = np.random.default_rng(0).normal(size=(4, 6, 6))
    view = view_of(values, (2, 3), 2)
    frames = view.tracks[0].frames
    few = replace(frames[1], name="late", maps=frames[1].maps[:2])
    tracks = (Track("layer", (frames[0], few)),)
    file = page_of(replace(view, tracks=tracks)).save(tmp_path / "heads.html")
    with opened(browser, file, "#head=3") as page:
        told = "The mean of all heads is shown where there is no head 3: late."
        assert told in page.inner_text(f"#{VIEW} .view-notes")
        page.fill(f"#{VIEW} input[type=range]", "1")
        settled(page)
        assert told in page.inner_text(f"#{VIEW} .view-notes")


def test_the_epochs_play(browser, tmp_path):
    view = view_of(np.random.default_rng(0).normal(size=(1, 6, 6)), (2, 3), 4)
    frames = tuple(replace(f, name=f"epoch {5 * k}") for k, f in enumerate(view.tracks[0].frames))
    tracks = (Track("layer", frames),)
    file = page_of(replace(view, kind="evolution", axis="epoch", tracks=tracks)).save(
        tmp_path / "evolution.html"
    )
    with opened(browser, file, "#epoch=5") as page:
        assert page.inner_text(f"#{VIEW} output") == "epoch 5"
        page.locator(f"#{VIEW} button", has_text="Play").click()
        page.locator(f"#{VIEW} output", has_text="epoch 15").wait_for(timeout=4000)


def test_the_chosen_small_map_is_in_sight_and_the_page_stays_where_it_is(browser, tmp_path):
    view = view_of(np.random.default_rng(0).normal(size=(1, 6, 6)), (2, 3), 60)
    file = page_of(replace(view, start=59)).save(tmp_path / "many.html")
    with opened(browser, file) as page:
        for chosen in ("59", "0", "31"):
            page.fill(f"#{VIEW} input[type=range]", chosen)
            settled(page)
            item = page.locator(f"#{VIEW} .small-map[aria-pressed=true]").bounding_box()
            box = page.locator(f"#{VIEW} .small-maps").bounding_box()
            assert box["y"] <= item["y"] + 1
            assert item["y"] + item["height"] <= box["y"] + box["height"] + 1
        assert page.evaluate("scrollY") == 0


def test_a_linked_view_has_the_grid_of_the_layer_that_another_view_chose(browser, tmp_path):
    wide, small = (
        view_of(np.eye(h * w)[None], (h, w)).tracks[0].frames[0] for h, w in ((4, 6), (2, 3))
    )
    tracks = (Track("stages", (wide, replace(small, name="blocks.1"))),)
    first = replace(view_of(np.eye(6)[None], (2, 3)), tracks=tracks)
    file = page_of(first, replace(first, id="other-view")).save(tmp_path / "stages.html")
    with opened(browser, file) as page:
        page.fill(f"#{VIEW} input[type=range]", "1")
        settled(page)
        edges = page.locator(".edges").all_inner_texts()
        assert edges == ["rows 0–1 down, columns 0–2 across"] * 2


def test_of_patches_alike_the_nearest_is_named_and_the_others_are_counted(browser, tmp_path):
    values = np.zeros((1, 12, 12))
    values[0, 5, [0, 6, 11]] = 0.75
    file = page_of(view_of(values, (3, 4))).save(tmp_path / "alike.html")
    with opened(browser, file, "#patch=1,1") as page:
        text = page.inner_text(f"#{VIEW} .readout")
    assert "highest: row 1, column 2, 0.750, 1.00 patches away; as high: 2 more" in text


def test_a_large_grid_is_answered_at_once(browser, tmp_path):
    rows = np.random.default_rng(0).normal(size=(10_000, 16)).astype(np.float32)
    pe = table_of((2, 3), tables=(LayerPE("input", rows, (100, 100)),), norms=(), depth=1)
    alike = pei.similarity(pe, max_memory=3 * 10**9)
    from pe_inspect.page.frames import similarity_frames

    track = Track("large", similarity_frames(alike))
    view = View("similarity", VIEW, "Large", "layer", (track,), "cosine similarity")
    file = page_of(view).save(tmp_path / "large.html")
    assert file.stat().st_size < 1_000_000
    with opened(browser, file) as page:
        page.goto(file.as_uri() + "#patch=99,98")
        settled(page)
        found = np.load(saved(page, VIEW, "NPY"))[0].ravel()
    exact = rows @ rows[9998] / np.linalg.norm(rows, axis=1) / np.linalg.norm(rows[9998])
    assert np.abs(found - exact).max() <= 0.005
