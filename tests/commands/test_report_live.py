"""`report` and the live model: asked where it is soon done, else the page says why not."""

from __future__ import annotations

import pytest
from made_models import save_native

from pe_inspect.analysis.common.no_answer import NoAnswer
from pe_inspect.page import Report

WORDS = ("attention", "contribution", "probe")


class BlankPage(Report):
    """A page that takes no time to make."""

    html = "<html>"


@pytest.fixture
def page(run, here, monkeypatch):
    """Run `report` on a tiny model; return what was done, and what the page is made of."""
    items = []

    def blank(found, **_):
        items[:] = found
        return BlankPage("", ())

    monkeypatch.setattr("pe_inspect.front.report.page_of", blank)

    def make(*words, saved=save_native):
        done = run("report", saved(here), "--out", "out", *words)
        results = [item for item in items if getattr(item, "question", "") in WORDS]
        return done, {result.question: result for result in results}, items

    return make


def test_a_small_model_is_asked_on_the_images_that_are_named(page):
    done, found, (pe, *_) = page("--images", "digits", "--num-images", 5)
    assert done.code == 0, done.err
    assert tuple(found) == WORDS
    said = "digits (scikit-learn), test images, classes in turn, the first 5"
    assert all(result.parameters["images"].startswith(said) for result in found.values())
    assert all(result.pe is pe for result in found.values())
    assert len({id(result.trace) for result in found.values()}) == 1


def test_it_is_not_asked_where_nobody_wants_it(page):
    done, found, _ = page("--no-live")
    assert (done.code, found) == (0, {})


def test_what_would_take_too_long_is_left_out_and_said(page, monkeypatch):
    monkeypatch.setattr("pe_inspect.front.live.MOST_SECONDS", 0.0)
    done, found, _ = page("--num-images", 4)
    assert done.code == 0, done.err
    said = "it would take about 1 min on this machine (4 images); --live asks all the same"
    assert f"Note: attention, contribution, probe are left out: {said}" in done.err
    assert all(found[word].reason.startswith(said) for word in WORDS)


def test_it_is_asked_all_the_same_where_that_is_said(page, monkeypatch):
    monkeypatch.setattr("pe_inspect.front.live.MOST_SECONDS", 0.0)
    done, found, _ = page("--live", "--num-images", 2)
    assert done.code == 0, done.err
    assert [word for word in WORDS if isinstance(found[word], NoAnswer)] == ["probe"]
    assert found["probe"].reason.startswith("a probe takes at least 4 images")


def test_a_model_that_cannot_be_rebuilt_says_why_on_the_page(page, save_vit):
    def saved(_):
        return save_vit("a.safetensors", rows=4, columns=4)

    done, found, _ = page(saved=saved)
    assert done.code == 0, done.err
    assert all(isinstance(found[word], NoAnswer) for word in WORDS)
    assert "rebuilt" in found["probe"].reason or "architecture" in found["probe"].reason
    assert page("--live", saved=saved)[0].code == 2


def test_both_at_once_contradict_each_other(run, here):
    done = run("report", "nowhere.pth", "--live", "--no-live")
    assert done.code == 2
    assert "--live and --no-live contradict each other." in done.err
