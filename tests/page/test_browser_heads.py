"""All heads of a model in a real browser: the one that is pointed at is shown large."""

from __future__ import annotations

import pytest
from made_traces import made_trace
from page.browser import opened, running

import pe_inspect as pei
from pe_inspect.page import report

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    place = tmp_path_factory.mktemp("heads") / "report.html"
    return report([pei.attention(made_trace())]).save(place)


@pytest.fixture(scope="module")
def browser():
    with running() as found:
        yield found


def test_pointer_and_keys_choose_the_head_that_is_shown_large(browser, file):
    with opened(browser, file) as page:
        name, said = page.locator(".heads .about"), page.locator(".heads .hint")
        heads = page.locator(".heads .small-map")
        assert heads.count() == 2
        heads.nth(1).hover()
        assert name.text_content() == "blocks.0 head 1"
        heads.nth(1).focus()
        page.keyboard.press("ArrowLeft")
        assert name.text_content() == "blocks.0 head 0"
        assert heads.nth(0).get_attribute("aria-pressed") == "true"
        box = page.locator(".head-field").bounding_box()
        page.mouse.move(box["x"] + box["width"] * 6.5 / 7, box["y"] + box["height"] / 10)
        assert said.text_content().startswith("2 up, 3 right: ")


def test_a_head_that_was_clicked_stays(browser, file):
    with opened(browser, file) as page:
        heads = page.locator(".heads .small-map")
        heads.nth(1).click()
        heads.nth(0).hover()
        assert page.locator(".heads .about").text_content() == "blocks.0 head 1"


def test_on_a_phone_nothing_is_wider_than_the_page(browser, file):
    with opened(browser, file, viewport={"width": 360, "height": 700}) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
