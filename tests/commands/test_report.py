"""`pe-inspect report`: one page about one or several checkpoints."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import save_file

GRID = ("--grid-size", "3x4")


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

    def page(tables, **options):
        pages.append((tables, options))
        return SimpleNamespace(html="<html>")

    monkeypatch.setattr("pe_inspect.report.report", page)
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
        return SimpleNamespace(html="<html>")

    monkeypatch.setattr("pe_inspect.report.report", page)
    run("report", checkpoint, *GRID, "--res", "96x128", "--patch-size", "16", "--ln-eps", "1e-5")
    assert asked == {
        "interpolate": {"res": (96, 128), "patch_size": (16, 16)},
        "similarity": {"ln_eps": 1e-5},
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
    monkeypatch.setattr("pe_inspect.report.report", lambda *_, **__: SimpleNamespace(html=""))
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
