"""`pe-inspect report`: one page about one or several checkpoints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.page import Report

GRID = ("--grid-size", "3x4")


class BlankPage(Report):
    """A page that takes no time to make."""

    html = "<html>"


@pytest.fixture(autouse=True)
def weights_alone(monkeypatch):
    """What live models add is tested by `test_report_live.py`."""
    monkeypatch.setattr("pe_inspect.front.report.live_answers", lambda *_: iter(()))


@pytest.fixture(autouse=True)
def frozen_time(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")


def test_one_page_has_its_provenance_and_the_same_bytes_twice(run, checkpoint, here):
    done = run("report", checkpoint, *GRID, "--title", "A <b>title</b>")
    assert done.code == 0
    assert done.out.splitlines()[-1] == "Wrote reports/tiny/report.html"
    page = (here / "reports/tiny/report.html").read_text(encoding="utf-8")
    run("report", checkpoint, *GRID, "--title", "A <b>title</b>")
    assert (here / "reports/tiny/report.html").read_text(encoding="utf-8") == page
    assert "A &lt;b&gt;title&lt;/b&gt;" in page
    assert "pe-inspect report" in page
    assert "3×4" in page
    assert "2023-11-14" in page


def test_several_checkpoints_share_a_page(run, save_vit, monkeypatch):
    pages = []

    def page(items, **options):
        tables = [item for item in items if isinstance(item, PositionEmbedding)]
        pages.append((tables, options))
        return BlankPage("", ())

    monkeypatch.setattr("pe_inspect.front.report.page_of", page)
    save_vit("a.safetensors", rows=4, columns=4)
    save_vit("b.safetensors", rows=3, columns=3, lape=False)
    done = run("report", "a.safetensors", "b.safetensors", "--json", "--quiet")
    assert (done.code, done.err) == (0, "")
    assert done.json["written"] == ["reports/a-and-b/report.html"]
    sources = [one["source"] for one in done.json["checkpoints"]]
    assert sources == ["a.safetensors", "b.safetensors"]
    assert all(len(one["sha256"]) == 64 for one in done.json["checkpoints"])
    [(tables, options)] = pages
    assert [pe.source for pe in tables] == sources
    assert all(len(pe.sha256) == 64 for pe in tables)
    assert options["command"] == "pe-inspect report a.safetensors b.safetensors --json --quiet"


def test_what_is_said_of_sizes_and_norms_reaches_the_questions(run, checkpoint, monkeypatch):
    asked = {}

    def page(tables, *, options, **_):
        asked.update(options)
        return BlankPage("", ())

    monkeypatch.setattr("pe_inspect.front.report.page_of", page)
    run("report", checkpoint, *GRID, "--res", "96x128", "--patch-size", "16", "--ln-eps", "1e-5")
    assert asked == {
        "interpolate": {"res": (96, 128), "patch_size": (16, 16)},
        "similarity": {"ln_eps": 1e-5},
        "structure": {"ln_eps": 1e-5},
        "layernorm": {"ln_eps": 1e-5},
    }


def test_a_foreign_page_is_left_alone(run, checkpoint, here):
    page = here / "reports/tiny/report.html"
    page.parent.mkdir(parents=True)
    page.write_text("theirs")
    done = run("report", checkpoint, *GRID)
    assert done.code == 2
    assert "report.html exists and was not made by pe-inspect" in done.err
    assert page.read_text() == "theirs"


def test_a_checkpoint_that_is_missing_stops_the_whole_page(run, checkpoint, here):
    done = run("report", checkpoint, "tyny.safetensors", *GRID)
    assert done.code == 3
    assert "Did you mean tiny.safetensors?" in done.err
    assert not (here / "reports").exists()


def test_a_size_that_fits_no_embedding_stops_before_anything_is_written(run, checkpoint, here):
    done = run("report", checkpoint, *GRID, "--res", "225", "--patch-size", "16")
    assert (done.code, done.out) == (2, "")
    assert "--res 225 is no whole number of 16-pixel patches" in done.err
    assert not (here / "reports").exists()


def test_a_size_that_fits_some_embeddings_is_noted_for_the_others(run, save_vit, here, monkeypatch):
    monkeypatch.setattr("pe_inspect.front.report.page_of", lambda *_, **__: BlankPage("", ()))
    windows = {
        f"layers.0.blocks.{block}.attn.relative_position_bias_table": np.ones((25, 2), np.float32)
        for block in range(2)
    }
    save_vit("plain.safetensors", rows=4, columns=4)
    save_file(windows, here / "swin.safetensors")
    asked = ("report", "plain.safetensors", "swin.safetensors", "--res", "96x112")
    done = run(*asked)
    assert done.code == 0
    assert "Note: --res does not say how large the windows of this bias" in done.err
    assert "Note: --res" not in run(*asked, "--quiet").err


def test_a_folder_of_checkpoints_gets_a_page_each_and_an_index(run, save_vit, here):
    (here / "zoo/c").mkdir(parents=True)
    save_vit("zoo/b 2.safetensors", rows=4, columns=4)
    save_vit("zoo/c/model.safetensors", rows=2, columns=2, lape=False)
    (here / "zoo/bad.pth").write_bytes(b"no checkpoint")
    done = run("report", "zoo", "--json")
    assert done.code == 0
    assert [one["page"] for one in done.json["checkpoints"]] == ["b_2.html", "c.html"]
    (left_out,) = done.json["left_out"]
    assert left_out["name"] == "bad.pth"
    assert "Note: bad.pth is left out: " in done.err
    assert done.json["index"] == "reports/zoo/index.html"
    assert done.json["written"] == [
        "reports/zoo/b_2.html", "reports/zoo/c.html", "reports/zoo/index.html",
    ]  # fmt: skip
    index = (here / "reports/zoo/index.html").read_text(encoding="utf-8")
    assert 'href="b_2.html"' in index
    assert "bad.pth" in index
    assert "data:image/" in index


def test_a_folder_in_which_nothing_can_be_read_ends_as_its_first_file_does(run, here):
    (here / "zoo").mkdir()
    for name in ("a.pth", "b.pth"):
        (here / "zoo" / name).write_bytes(b"no checkpoint")
    done = run("report", "zoo", "--quiet")
    assert done.code == 3
    assert "a.pth" in done.err
    assert not (here / "reports/zoo/index.html").exists()


@pytest.fixture
def asked(monkeypatch):
    """What the page was asked with, instead of a page."""
    found = {}

    def page(items, **options):
        found.update(options, items=list(items))
        return BlankPage("", ())

    monkeypatch.setattr("pe_inspect.front.report.page_of", page)
    return found


def test_the_doctors_findings_are_handed_in_with_those_of_the_file(run, save_vit, asked):
    save_vit("a.safetensors", rows=4, columns=4)
    assert run("report", "a.safetensors").code == 0
    _, diagnosis, filters = asked["items"]
    assert filters.question == "filters"
    assert diagnosis.question == "doctor"
    assert {"half-precision", "index-buffer", "constant"} <= set(diagnosis.checks)
    assert diagnosis.pe is asked["items"][0]


def test_the_snapshots_beside_a_checkpoint_are_its_history(run, asked, here):
    run_folder = Path(__file__).parents[2] / "checkpoints/digits-lape"
    assert run("report", run_folder, "--layer", "0,2", "--token", "1,2").code == 0
    history = asked["items"][-1]
    assert history.question == "evolution"
    assert history.epochs == (0, 20, 40, 60, 80, 100)
    assert history.pe is asked["items"][0]
    assert history.layer_names == ("blocks.0", "blocks.2")


def test_what_to_show_reaches_every_question_that_shows_it(run, save_vit, asked):
    save_vit("a.safetensors", rows=4, columns=4)
    words = ("--layer", "1", "--token", "2,3", "--grid", "6", "--dpi", "90", "--max-mb", "2.5")
    assert run("report", "a.safetensors", *words).code == 0
    assert asked["options"]["similarity"] == {"layer": 1, "token": (2, 3)}
    assert asked["options"]["interpolate"] == {"grid": (6, 6), "token": (2, 3)}
    assert (asked["dpi"], asked["max_mb"]) == (90, 2.5)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--layer", "9"], "--layer 9 is outside 0–1: blocks.0 … blocks.1."),
        (["--token", "4,0"], "--token 4,0 is outside the 4×4 grid"),
        (["--head", "1"], "--head 1 does not exist in blocks.0, which has one map, shared by"),
        (["--max-mb", "big"], "--max-mb big is no size of a page: pass 0.1 to 1000, e.g. 10."),
        (["--dpi", "5"], "--dpi 5 is not a whole number from 10 to 1200."),
    ],
)
def test_what_no_checkpoint_has_stops_before_anything_is_written(run, save_vit, here, words, said):
    save_vit("a.safetensors", rows=4, columns=4)
    done = run("report", "a.safetensors", *words)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert not (here / "reports").exists()
