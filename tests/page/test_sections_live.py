"""What a page says of a live model: its sections, all heads to explore, position maps."""

from __future__ import annotations

import base64
import gzip
import json

import numpy as np
import pytest
from made_traces import made_trace

import pe_inspect as pei
from pe_inspect.analysis.common.no_answer import NoAnswer
from pe_inspect.page import head_sheets, map_frames, report
from pe_inspect.page.content import Picture
from pe_inspect.page.head_sheets import head_sheet
from pe_inspect.page.map_frames import position_map_frames
from pe_inspect.page.result_parts import table_of

WORDS = ("attention", "contribution", "probe")


PICTURE = Picture("stem", "image/webp", b"", 1, 1, "title", "caption", "alt")


@pytest.fixture
def undrawn(monkeypatch):
    """Sections without pictures, which take most of the time."""
    for word in WORDS:
        name = f"pe_inspect.page.sections.{word}.pictures"
        monkeypatch.setattr(name, lambda *_, **__: (PICTURE, PICTURE))


@pytest.fixture(scope="module")
def results():
    trace = made_trace()
    return [pei.attention(trace), pei.contribution(trace), pei.probe(trace)]


@pytest.fixture
def page(undrawn, results):
    return report(results)


def by_stem(page):
    return {section.stem: section for section in page.sections}


def test_each_question_leads_with_its_finding_and_has_a_table_and_terms(page, results):
    found = by_stem(page)
    assert tuple(found) == WORDS
    for result in results:
        section = found[result.question]
        assert section.finding == result.finding
        assert section.notes == result.notes
        assert section.tables[0].name == result.question
        assert repr(section.tables[0].rows) == repr(table_of("", result.rows()).rows)  # NaN is NaN
        assert {name for name, _ in section.definition.terms} <= set(result.definitions)
        assert ("num_images", "5") in section.parameters


def test_the_page_reads_as_html_with_its_heads_and_an_explorer(page, read_page):
    tree = read_page(page.html)
    heads = tree.one("script", class_="heads-data")
    assert heads["data-root"] == "heads"
    assert tree.one("div", id="heads")["aria-label"] == "What each head looks at, by offset"
    assert tree.one("div", id="contribution-view")
    assert len(tree.one("section", id="contribution").all("figure")) == 2


def test_a_question_without_an_answer_stands_among_the_omissions(embedding, monkeypatch):
    monkeypatch.setattr("pe_inspect.page.build.in_reading_order", lambda: list(WORDS))
    pe = embedding()
    page = report([pe, *(NoAnswer(word, f"why not {word}", pe) for word in WORDS)])
    omissions = {each.stem: each.reason for each in page.chapters[0].omissions}
    assert {word: omissions[word] for word in WORDS} == {w: f"why not {w}" for w in WORDS}


def test_the_codes_of_all_heads_are_their_logarithms(results):
    result, sheet = results[0], head_sheet(results[0])
    held = json.loads(sheet.data)
    codes = np.frombuffer(gzip.decompress(base64.b64decode(held["codes"])), np.uint8)
    profiles = result.blocks[0].offset_profile
    assert codes.shape == (profiles.size,)
    values = held["low"] * (held["high"] / held["low"]) ** (codes.reshape(profiles.shape) / 254)
    wrong = np.log(values / np.maximum(profiles, held["low"]))
    assert np.abs(wrong).max() <= np.log(held["high"] / held["low"]) / 254
    assert held["low"] == pytest.approx(0.1 / 12)
    [block] = held["blocks"]
    assert (block["name"], block["grid"], len(block["heads"])) == ("blocks.0", [5, 7], 2)


def test_a_large_sheet_keeps_the_middle_and_says_so(results, monkeypatch):
    monkeypatch.setattr(head_sheets, "MOST_CODES", 2 * 9)
    sheet = head_sheet(results[0])
    assert [block["grid"] for block in sheet.blocks] == [[3, 3]]
    assert sheet.note == "Offsets up to 1 of 3 are shown; the figures show more."


def test_position_maps_are_frames_of_cosines_thinned_where_they_are_many(results, monkeypatch):
    result = results[1]
    assert [frame.name for frame in position_map_frames(result)] == ["h0", "h1", "final"]
    monkeypatch.setattr(map_frames, "SIDE", 3)
    frame = position_map_frames(result)[1]
    assert (frame.grid_size, frame.thinned_from) == ((3, 3), (3, 4))
    assert frame.kept == ((0, 1, 2), (0, 2, 3))
    own = result.position_maps[1].reshape(3, 4, -1)[:, [0, 2, 3]].reshape(9, -1)
    np.testing.assert_allclose(frame.norms, np.linalg.norm(own, axis=1), rtol=1e-6)
