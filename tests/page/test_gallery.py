"""The index of many pages: what it says, what it links to, and that it runs its own script only."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pe_inspect.analysis.similarity import similarity
from pe_inspect.diagnosis.doctor import doctor
from pe_inspect.page import Fact, report
from pe_inspect.page.content import Health
from pe_inspect.page.gallery import Exhibit, Gallery, Refusal, exhibits_of, thumbnail

SCRIPT = Path(__file__).parents[2] / "pe_inspect" / "page" / "gallery.js"
CHROMIUM = shutil.which("chromium") or ""


@pytest.fixture(scope="module")
def exhibits(embedding):
    pe = embedding()
    result = similarity(pe)
    page = report([result, doctor(pe)])
    image = thumbnail(result, "Maps of small")
    return exhibits_of(page, "small model.html", [image], [Fact("Test accuracy", 0.81)])


def exhibit(label, **values):
    return Exhibit(label, f"{label}.html", "", "", tuple(Fact(k, v) for k, v in values.items()))


def test_an_exhibit_holds_the_key_numbers_of_its_page(exhibits):
    (one,) = exhibits
    assert one.label == "small"
    assert one.link == "small%20model.html"
    assert one.values["Join"] == "lape"
    assert one.values["Test accuracy"] == 0.81
    assert isinstance(one.values["Findings"], int)
    assert one.values["Likeness of neighbours"] == similarity_of(one)
    assert one.thumbnail.data
    assert one.thumbnail.media_type.startswith("image/")
    assert max(one.thumbnail.width, one.thumbnail.height) <= 96
    assert len(one.thumbnail.data) < 6000


def similarity_of(one):
    return next(fact.value for fact in one.facts if fact.name == "Likeness of neighbours")


def test_the_index_is_a_table_that_needs_no_script(exhibits, read_page):
    page = read_page(Gallery("Many", exhibits, (Refusal("bad.pth", "is damaged"),)).html)
    table = page.one("table", class_="index")
    heads = [cell.text for cell in table.one("thead").all("th")]
    assert heads[:4] == ["Maps", "Checkpoint", "Scheme", "Join"]
    (row,) = table.one("tbody").all("tr")
    assert row.one("a")["href"] == "small%20model.html"
    assert row.one("img")["alt"] == "Maps of small"
    cells = dict(zip(heads, row.children))
    assert cells["Join"].text == "lape"
    assert float(cells["Likeness of neighbours"]["data-value"]) == similarity_of(exhibits[0])
    refused = page.one("section", id_="refused")
    assert (refused.one("dt").text, refused.one("dd").text) == ("bad.pth", "is damaged")
    tools = page.one("div", class_="tools")
    assert "hidden" in tools.attributes
    assert page.one("label", for_="filter").text == "Filter"


def test_the_policy_allows_the_two_texts_of_the_index_alone(exhibits, read_page):
    page = read_page(Gallery("Many", exhibits).html)
    policy = page.one("meta", **{"http-equiv": "Content-Security-Policy"})["content"]
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        text = "".join(page.one(tag).texts)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{rule} 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert not re.search(r"https?:", Gallery("Many", exhibits).html)


def test_columns_are_the_union_and_what_one_lacks_is_a_dash(read_page):
    many = (exhibit("a", Grid="3×4"), exhibit("b", Grid="5×7", Accuracy=0.5))
    gallery = Gallery("Two", many)
    assert gallery.columns == ("Grid", "Accuracy")
    assert gallery.numeric == {"Grid": False, "Accuracy": True}
    rows = read_page(gallery.html).one("table", class_="index").one("tbody").all("tr")
    assert [row.children[-1].text for row in rows] == ["–", "0.5"]
    assert rows[0].children[-1]["data-value"] == ""


def test_the_key_numbers_come_first_and_the_others_on_demand(exhibits, read_page):
    gallery = Gallery("One", exhibits)
    kept = set(gallery.columns) - gallery.more
    assert kept == {
        "Scheme", "Join", "Positions", "Learned scalars", "Test accuracy", "Findings",
        "Likeness of neighbours", "Likeness far apart",
    }  # fmt: skip
    row = read_page(gallery.html).one("table", class_="index").one("tbody").one("tr")
    marked = [cell for cell in row.children if "more" in (cell.attributes.get("class") or "")]
    assert len(marked) == len(gallery.more) > 0
    assert not Gallery("Two", (exhibit("a", Grid="3×4"),)).more


def test_findings_are_a_column():
    health = Health((), "Healthy.")
    assert Exhibit("a", "a.html", "", "", (), health=health).values == {"Findings": 0}


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", "'\"><img src=x onerror=a>", "\u202e"]
)
def test_hostile_names_stay_text_and_lead_nowhere_else(text, read_page):
    plain = read_page(Gallery("t", (exhibit("x", y=1),), (Refusal("x", "x"),)).html)
    page = Gallery(
        text, (Exhibit(text, text, "", "", (Fact(text, text),)),), (Refusal(text, text),)
    )
    hostile = read_page(page.html)
    assert [e.tag for e in hostile.walk()] == [e.tag for e in plain.walk()]
    assert "\u202e" not in page.html
    links = [a["href"] for a in hostile.one("table", class_="index").all("a")]
    assert not any(re.search(r"[<>\"' :]", link) for link in links)


def test_the_index_is_written_whole(tmp_path, exhibits):
    gallery = Gallery("Many", exhibits)
    assert gallery.save(tmp_path / "index.html").read_text(encoding="utf-8") == gallery.html
    assert gallery.html == Gallery("Many", exhibits).html


@pytest.mark.subprocess
@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_rows_sort_by_value_with_what_is_missing_last_and_search_takes_any_order():
    code = f"""
    const {{ sorted, matches }} = require({json.dumps(str(SCRIPT))});
    const rows = [["b10", "0.5"], ["b9", ""], ["a", "-2"], ["c", "10"]];
    console.log(JSON.stringify([
      sorted(rows, 0, false), sorted(rows, 1, false), sorted(rows, 1, true),
      matches(["digits-lape", "3×4"], "LAPE dig"), matches(["digits-lape"], "input"),
      matches(["a"], ""),
    ]));
    """
    done = subprocess.run(["node", "-e", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [
        [2, 1, 0, 3], [2, 0, 3, 1], [3, 0, 2, 1], True, False, True,
    ]  # fmt: skip


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed")
def test_in_a_browser_the_index_sorts_filters_and_loads_nothing(tmp_path):
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    many = tuple(exhibit(f"model {k}", Accuracy=value) for k, value in enumerate((0.5, 0.9, 0.1)))
    path = Gallery("Many", many).save(tmp_path / "index.html")
    with sync.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        said, asked = [], []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        order = lambda: page.locator("table.index tbody tr:visible a").all_inner_texts()  # noqa: E731
        page.get_by_role("button", name="Accuracy").focus()
        page.keyboard.press("Enter")
        assert order() == ["model 2", "model 0", "model 1"]
        page.keyboard.press("Enter")
        assert order() == ["model 1", "model 0", "model 2"]
        assert page.locator("th[aria-sort=descending]").inner_text().startswith("Accuracy")
        assert page.get_by_role("button", name="All columns").count() == 0
        page.get_by_label("Filter").fill("2 model")
        assert order() == ["model 2"]
        assert page.locator("#shown").inner_text() == "1 of 3 shown"
        page.set_viewport_size({"width": 320, "height": 600})
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        browser.close()
    assert (said, asked) == ([], [path.as_uri()])


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed")
def test_a_button_brings_the_columns_that_do_not_fit(tmp_path, exhibits):
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = Gallery("Many", exhibits).save(tmp_path / "index.html")
    with sync.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 700})
        page.goto(path.as_uri())
        box = page.locator(".gallery")
        assert box.evaluate("box => box.scrollWidth <= box.clientWidth")
        assert not page.get_by_role("button", name="Channels").count()
        button = page.get_by_role("button", name="All columns")
        assert button.get_attribute("aria-pressed") == "false"
        button.click()
        assert page.get_by_role("button", name="Channels").is_visible()
        assert button.get_attribute("aria-pressed") == "true"
        browser.close()
