"""The page as HTML: one file, loads nothing, runs nothing, and reads well without being seen."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pe_inspect.page import (
    Chapter,
    Definition,
    Entry,
    Fact,
    Omission,
    Picture,
    Report,
    Section,
    Table,
)
from pe_inspect.page.text import visible

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style></title></textarea><svg onload=alert(1)>",
    "&lt;b&gt; &#60;i> {{ 7 * 7 }} {% raw %} ]]> -->",
    "javascript:alert(1)",
    "null\x00byte \x1b[31m \ud800 \u202egnp.exe\u2066 \u200b\ufeff",
)


def section(word: str = "similarity", text: str = "plain") -> Section:
    words = {name: f"{name} {text}" for name in ("title", "caption", "alt")}
    picture = Picture(word, "image/png", b"\x89PNG", 672, 480, **words)
    return Section(
        stem=word,
        title=f"Title {text}",
        question=f"Question {text}?",
        finding=f"Finding {text}.",
        figures=(picture,),
        how_to_read=f"Reading {text}.",
        definition=Definition(f"definition {text}", f"a = b {text}", f"source {text}"),
        tables=(Table(f"table {text}", (f"column {text}", "x"), ((f"cell {text}", 0.12345678),)),),
        facts=(Fact(f"fact {text}", 42432, f"meaning {text}"),),
        caveats=(f"caveat {text}",),
        notes=(f"note {text}",),
    )


def chapter(label: str = "small", anchor: str = "", text: str = "plain") -> Chapter:
    return Chapter(
        label=label,
        anchor=anchor,
        sections=(section("similarity", text), section("layernorm", text)),
        omissions=(Omission("interpolate", f"because {text}"),),
        headline=f"headline {text}",
        lede=f"lede {text}",
        traits=(Fact("Join", "lape"),),
        facts=(Fact("Grid", f"3×4 {text}"),),
        notes=(f"assumed {text}",),
        provenance=(Entry("Source", (f"source {text}",)), Entry("Keys used", (f"key {text}",))),
    )


def one(text: str = "plain") -> Report:
    return Report(f"Title of {text}", (chapter(text=text),), None, (Entry("Command", (text,)),))


def two() -> Report:
    side = Table("Side by side", ("quantity", "a", "b"), (("Grid", "3×4", "5×7"),))
    return Report("Two", (chapter("a", "a"), chapter("b", "b")), side)


@pytest.fixture(params=[one, two], ids=["one", "two"])
def page(request, read_page):
    return read_page(request.param().html)


def test_the_page_begins_with_its_doctype():
    assert one().html.startswith("<!doctype html>\n<html")


def test_the_page_is_one_well_formed_document(page):
    assert [child.tag for child in page.children] == ["html"]
    assert page.one("html")["lang"] == "en"
    assert page.one("meta", charset="utf-8")
    assert "width=device-width" in page.one("meta", name="viewport")["content"]


def test_no_id_is_used_twice_and_every_reference_leads_somewhere(page):
    ids = [e["id"] for e in page.walk() if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[a-z0-9-]+", name) for name in ids)
    links = [a["href"] for a in page.all("a")]
    assert links
    assert all(link.startswith("#") and link[1:] in ids for link in links)
    labels = [e["aria-labelledby"] for e in page.walk() if "aria-labelledby" in e.attributes]
    assert {one for several in labels for one in several.split()} <= set(ids)


def test_the_page_loads_nothing_and_runs_one_script_of_its_own(page):
    assert [e.attributes for e in page.all("script")] == [{}]
    loading = {"src", "srcset", "href", "action", "data", "poster", "background", "ping"}
    for element in page.walk():
        assert element.tag not in {"iframe", "object", "embed", "base", "form"}
        assert not [name for name in element.attributes if name.startswith("on")]
        assert "style" not in element.attributes
        for name in loading & set(element.attributes):
            assert element[name].startswith(("data:", "#")), (element.tag, element[name])
    for tag in ("style", "script"):
        assert not re.search(r"url\(|@import|https?:|//[a-z]+\.", page.one(tag).text)


def test_the_policy_forbids_the_network_and_allows_its_own_style_and_script_alone(page):
    policy = page.one("meta", **{"http-equiv": "Content-Security-Policy"})["content"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    texts = {tag: "".join(page.one(tag).texts) for tag in ("style", "script")}
    digests = {
        tag: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for tag, text in texts.items()
    }
    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "script-src": f"'sha256-{digests['script']}'",
        "style-src": f"'sha256-{digests['style']}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_the_policy_comes_before_anything_that_it_governs(page):
    head = page.one("head").children
    names = [child.attributes.get("http-equiv", child.tag) for child in head]
    assert names.index("Content-Security-Policy") < min(names.index("link"), names.index("style"))


def test_a_reader_without_eyes_finds_the_way(page):
    for tag in ("header", "main", "footer", "h1"):
        assert page.one(tag)
    assert page.all("nav")[0].attributes["aria-labelledby"]
    levels = [int(e.tag[1]) for e in page.walk() if re.fullmatch(r"h[1-6]", e.tag)]
    assert levels[0] == 1
    assert all(later - earlier <= 1 for earlier, later in pairwise(levels))
    assert all(image["alt"] for image in page.all("img"))
    assert all(
        box["role"] == "group" and box["aria-label"] for box in page.all("div", tabindex="0")
    )
    assert all(table.one("caption").text for table in page.all("table"))
    assert all(cell["scope"] in ("col", "row") for cell in page.all("th"))


def test_images_reserve_their_place(read_page):
    image = read_page(one().html).all("img")[0]
    assert (image["width"], image["height"]) == ("672", "480")
    assert base64.b64decode(image["src"].removeprefix("data:image/png;base64,")) == b"\x89PNG"


def test_every_part_of_a_section_is_on_the_page(read_page):
    found = read_page(one().html).one("section", id_="similarity")
    for text in (
        "Title plain", "Question plain?", "Finding plain.", "title plain.", "caption plain",
        "Reading plain.", "definition plain", "a = b plain", "Source: source plain",
        "caveat plain", "note plain", "table plain", "column plain", "cell plain", "0.1235",
    ):  # fmt: skip
        assert text in found.text, text


def test_the_top_says_what_it_is_what_was_assumed_and_what_is_missing(read_page):
    top = read_page(one().html).one("section", id_="summary").text
    for text in ("headline plain", "lede plain", "42,432", "meaning plain", "assumed plain"):
        assert text in top
    assert "interpolate: because plain" in top


def test_the_provenance_block_lists_source_keys_and_command(read_page):
    block = read_page(one().html).one("section", id_="provenance").text
    for text in ("source plain", "key plain", "Command plain"):
        assert text in block


def test_several_embeddings_have_a_table_side_by_side_and_a_chapter_each(read_page):
    page = read_page(two().html)
    (head, row) = page.one("section", id_="summary").all("tr")
    assert [cell.text for cell in head.children] == ["quantity", "a", "b"]
    assert [cell.text for cell in row.children] == ["Grid", "3×4", "5×7"]
    for name in ("a", "b"):
        assert page.one("section", id_=f"{name}-similarity").parent.attributes["id"] == name


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_shown_and_never_becomes_markup(text, read_page):
    page = one(text).html
    assert not {"\x00", "\u202e", "\u2066"} & set(page)
    plain, hostile = read_page(one().html), read_page(page)
    assert [e.tag for e in hostile.walk()] == [e.tag for e in plain.walk()]
    for before, after in zip(plain.walk(), hostile.walk()):
        assert set(before.attributes) == set(after.attributes)
    shown = " ".join(visible(text).split())
    for place in ("title", "h1", "main", "section"):
        assert all(shown in element.text for element in hostile.all(place))
    page.encode("utf-8")


@settings(
    max_examples=15,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(text=st.text())
def test_any_text_leaves_the_page_well_formed(read_page, text):
    page = one(text).html.encode("utf-8").decode("utf-8")
    assert len(list(read_page(page).walk())) == len(list(read_page(one().html).walk()))


def test_the_same_report_gives_the_same_bytes():
    assert one().html == one().html
    assert replace(one(), title="Other").html != one().html


def test_a_table_row_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match="table 't': a row has 1 cells for 2 columns"):
        Table("t", ("a", "b"), ((1,),))


@pytest.mark.parametrize(
    ("given_text", "shown"),
    [
        ("plain ×", "plain ×"),
        ("a\u202eb", "a\\u202eb"),
        ("a\x00b", "a\\x00b"),
        ("\udcff", "\\udcff"),
        ("two\nlines\tand tabs", "two\nlines\tand tabs"),
        ("مرحبا", "مرحبا"),
    ],
)
def test_characters_that_hide_are_written_out(given_text, shown):
    assert visible(given_text) == shown
