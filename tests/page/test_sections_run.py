"""Sections beside one question of one embedding: health, a run, several side by side."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace

import numpy as np
import pytest

from pe_inspect.analysis.evolution import evolution
from pe_inspect.analysis.similarity import similarity
from pe_inspect.diagnosis.doctor import doctor
from pe_inspect.finding import Finding
from pe_inspect.kinds.position_embedding import LayerPE
from pe_inspect.page import Picture, report

FOUND = Finding(
    "half-precision", "pos_embed", "pos_embed is float16: <b>.", "It rounds.", "pe-inspect info x"
)


@pytest.fixture
def undrawn(monkeypatch):
    """Leave the figures blank: drawing takes nine tenths of the time, and is tested elsewhere."""

    def blank(figure, stem, *, alt, **_):
        return Picture(stem, "image/png", b"", 1, 1, stem, "", alt)

    monkeypatch.setattr("pe_inspect.page.result_parts.picture", blank)
    monkeypatch.setattr("pe_inspect.page.compare.picture", blank)


def noisy(embedding, seed, **changes):
    values = np.random.default_rng(seed).normal(size=(13, 8))
    return embedding(tables=(LayerPE("input", values, (3, 4), 1),), **changes)


@pytest.fixture(scope="module")
def run(embedding):
    return evolution([noisy(embedding, k) for k in range(3)], epochs=[0, 5, 10])


def by_stem(page):
    return {section.stem: section for section in page.sections}


@pytest.mark.usefixtures("undrawn")
def test_a_healthy_embedding_says_how_many_checks_found_nothing(embedding):
    pe = embedding()
    healthy = replace(doctor(pe), findings=(), checks=("a", "b"))
    page = report([pe, healthy])
    assert by_stem(page)["doctor"].finding == "Healthy: 2 checks found nothing."
    assert page.chapters[0].health.verdict == "Healthy: 2 checks found nothing."


@pytest.mark.usefixtures("undrawn")
def test_findings_of_the_file_come_with_the_result_and_stand_at_the_top(embedding, read_page):
    pe = embedding()
    page = report([pe, replace(doctor(pe), findings=(FOUND,), checks=("half-precision",))])
    section = by_stem(page)["doctor"]
    assert section.finding == (
        "1 finding in 1 check: half-precision. pos_embed is float16: <b>. To do: pe-inspect info x"
    )
    assert section.tables[0].rows == (
        ("half-precision", "warning", "pos_embed", FOUND.message, FOUND.why, FOUND.mend),
    )
    top = read_page(page.html).one("section", id_="summary")
    assert "Health. 1 finding in 1 check: half-precision." in top.text
    assert "half-precision: pos_embed is float16: <b>." in top.text
    assert "#doctor" in [link["href"] for link in top.all("a")]


@pytest.mark.usefixtures("undrawn")
def test_a_run_has_its_section_only_where_it_was_handed_in(embedding, run):
    assert "evolution" not in by_stem(report(embedding()))
    pe = noisy(embedding, 2)
    page = report([pe, replace(run, pe=pe)])
    assert [section.stem for section in page.sections][-2:] == ["evolution", "doctor"]
    assert len(page.chapters) == 1


@pytest.mark.usefixtures("undrawn")
def test_the_finding_of_a_run_has_its_numbers(run):
    (section,) = report([run]).sections
    numbers = run.summary()
    found = [float(x.replace("−", "-")) for x in re.findall(r"−?\d+\.\d+", section.finding)]
    assert found[0] == round(numbers["neighbours_first"], 2)
    assert found[1] == round(numbers["neighbours_last"], 2)
    assert float(f"{numbers['norm_last']:.3g}") in found
    assert section.finding.startswith("Over 3 snapshots, epochs 0 to 10, the cosine similarity of")
    assert "from epoch 10 on at 0.95 or more." in section.finding
    assert [figure.stem for figure in section.figures] == [
        "evolution",
        "evolution_maps",
        "evolution_structure",
    ]
    assert section.definition.text
    assert section.definition.source
    assert section.caveats


@pytest.mark.usefixtures("undrawn")
def test_a_run_plays_a_track_a_layer_and_a_frame_an_epoch(run):
    (view,) = report([run]).sections[0].views
    assert (view.kind, view.axis, view.track_word) == ("evolution", "epoch", "layer")
    assert [track.label for track in view.tracks] == ["blocks.0", "blocks.1"]
    frames = view.tracks[0].frames
    assert [frame.name for frame in frames] == ["epoch 0", "epoch 5", "epoch 10"]
    assert view.start == 2
    assert view.notes == ()


@pytest.mark.usefixtures("undrawn")
def test_only_a_table_of_random_rows_is_said_to_begin_without_a_pattern(embedding, run):
    (learned,) = report([run]).sections
    assert learned.how_to_read.startswith("A random table has maps without a pattern")
    ruled = [noisy(embedding, k, family="sinusoidal_2d") for k in range(2)]
    (section,) = report([evolution(ruled, epochs=[0, 1])]).sections
    assert "random" not in section.how_to_read
    assert "a pattern before any training, because a rule gives it" in section.how_to_read
    assert "the slider goes over snapshots" in section.how_to_read


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("family", ["relative_bias", "bias_network", "shaw_relative"])
def test_no_rule_is_said_to_give_what_begins_as_random_numbers(family, embedding):
    learned = [noisy(embedding, k, family=family) for k in range(2)]
    (section,) = report([evolution(learned, epochs=[0, 1])]).sections
    assert "a rule gives it" not in section.how_to_read
    assert "usually begins as random numbers or zeros" in section.how_to_read
    assert "only the patch itself stands out" not in section.how_to_read


@pytest.mark.usefixtures("undrawn")
def test_a_long_run_is_thinned_evenly_and_says_so(embedding):
    long = evolution([noisy(embedding, k) for k in range(60)], epochs=range(60))
    (view,) = report([long]).sections[0].views
    frames = view.tracks[0].frames
    assert len(frames) == 24
    assert (frames[0].name, frames[-1].name) == ("epoch 0", "epoch 59")
    assert view.notes == (
        "24 of 60 snapshots are in the view, evenly spaced",
        "pe-inspect evolution DIR --save-data writes the numbers and one patch's maps of all",
    )


@pytest.mark.usefixtures("undrawn")
def test_similarity_and_interpolation_have_views_with_a_frame_a_layer_and_a_grid(embedding):
    sections = by_stem(report(embedding()))
    (layers,) = sections["similarity"].views
    assert [frame.name for frame in layers.tracks[0].frames] == ["blocks.0", "blocks.1"]
    assert layers.tracks[0].frames[0].prefix == ("CLS",)
    (grids,) = sections["interpolate"].views
    assert [track.label for track in grids.tracks] == ["native", "bilinear", "bicubic"]
    names = [frame.name for frame in grids.tracks[0].frames]
    assert names == ["3×4", "4×6", "5×7", "6×8"]
    assert names[grids.start] == "5×7"


@pytest.mark.usefixtures("undrawn")
def test_views_of_several_chapters_have_ids_of_their_own(embedding):
    page = report([embedding(source="a.pth"), noisy(embedding, 1, source="b.pth")])
    ids = [view.id for view in page.views]
    assert len(ids) == len(set(ids)) == 5
    assert ids[0] == "compare-view"
    assert all(re.fullmatch(r"[a-z0-9-]+", one) for one in ids)


@pytest.mark.usefixtures("undrawn")
def test_several_embeddings_are_compared_in_words_numbers_and_one_view(embedding):
    pes = [noisy(embedding, seed, source=f"{name}.pth") for seed, name in enumerate("abc")]
    section = report(pes).compared
    values = [similarity(pe).matrix[:, 0] for pe in pes]
    off = ~np.eye(12, dtype=bool)
    expected = {
        (i, j): np.mean([np.corrcoef(x[off], y[off])[0, 1] for x, y in zip(values[i], values[j])])
        for i, j in ((0, 1), (0, 2), (1, 2))
    }
    table = section.tables[0]
    assert table.columns[:6] == ("a", "b", "correlation", "difference", "CKA", "CKA, unbiased")
    for row in table.rows:
        pair = tuple("abc".index(name) for name in row[:2])
        assert row[2] == pytest.approx(expected[pair], abs=1e-5)
    most, least = max(expected, key=expected.get), min(expected, key=expected.get)
    assert section.finding.startswith(f"Most alike: the maps of {'abc'[most[0]]} and ")
    assert f"least: {'abc'[least[0]]} and {'abc'[least[1]]}, at" in section.finding
    (view,) = section.views
    assert [track.label for track in view.tracks] == ["a", "b", "c"]
    assert section.tables[1].columns == ("number", "unit", "a", "b: Δ", "c: Δ")
    assert section.tables[2].columns[:4] == ("depth", "a: layer", "a: neighbours", "a: far")
    assert section.tables[2].rows[1][:3] == (
        2,
        "blocks.1",
        similarity(pes[0]).rows()[1]["neighbours"],
    )


@pytest.mark.usefixtures("undrawn")
def test_frames_that_stand_in_two_views_are_the_same_objects(embedding):
    page = report([embedding(source="a.pth"), noisy(embedding, 1, source="b.pth")])
    own = page.chapters[0].sections[0].views[0].tracks[0].frames
    assert all(one is other for one, other in zip(own, page.compared.views[0].tracks[0].frames))


@pytest.mark.usefixtures("undrawn")
def test_another_grid_is_resampled_and_said_so_on_the_page(embedding, read_page):
    values = np.random.default_rng(3).normal(size=(1 + 20, 8))
    other = embedding(source="b.pth", tables=(LayerPE("input", values, (4, 5), 1),))
    page = report([embedding(source="a.pth"), other])
    note = "b was resampled from 4×5 to 3×4 patches by its own library's rule"
    assert note in page.compared.notes
    assert note in read_page(page.html).one("section", id_="compare").text
    assert page.compared.caveats[1].startswith("A resampled embedding has been smoothed")


@pytest.mark.usefixtures("undrawn")
def test_what_has_no_range_in_common_is_compared_in_numbers_and_has_no_view(embedding, per_layer):
    bias = per_layer("bias", [np.ones((2, 12, 12))], (3, 4), source="b.pth")
    page = report([embedding(source="a.pth"), bias])
    assert page.compared.views == ()
    assert any("on no scale with the others" in note for note in page.compared.notes)
    assert page.comparison is not None


@pytest.mark.usefixtures("undrawn")
def test_tables_are_offered_whole_with_all_their_digits(embedding):
    (table,) = by_stem(report(embedding()))["similarity"].tables
    assert table.name == "similarity"
    rows = list(csv.DictReader(io.StringIO(table.csv)))
    exact = similarity(embedding()).rows()
    assert [float(row["neighbours"]) for row in rows] == [row["neighbours"] for row in exact]
    assert rows[0]["correlation_to_previous"] == ""


@pytest.mark.parametrize(
    ("grid", "depth"), [((1, 1), 2), ((1, 6), 2), ((6, 1), 1), ((3, 4), 60), ((40, 3), 2)]
)
def test_odd_grids_and_depths_have_whole_pages(grid, depth, embedding, read_page):
    draw = np.random.default_rng(0)
    first = embedding().norms[1]
    norms = tuple(replace(first, layer=f"blocks.{k}") for k in range(depth))
    values = draw.normal(size=(grid[0] * grid[1], 8))
    table = LayerPE("input", values, grid)
    pe = embedding(tables=(table,), norms=norms, depth=depth, num_prefix_tokens=0)
    page = report([similarity(pe), evolution([pe, pe], epochs=[1, 2], of=pe)])
    assert not any("nan" in section.finding for section in page.sections)
    assert set(by_stem(page)) == {"similarity", "evolution"}
    read_page(page.html)


def test_a_hundred_heads_have_a_page(per_layer, read_page):
    draw = np.random.default_rng(0)
    pe = per_layer("bias", [draw.normal(size=(100, 6, 6))], (2, 3), source="x")
    page = report(pe)
    assert len(by_stem(page)["similarity"].views[0].tracks[0].frames[0].maps) == 100
    read_page(page.html)


def test_maps_full_of_nan_have_a_comparison_and_a_run(embedding, read_page):
    empty = embedding(tables=(LayerPE("input", np.full((13, 8), np.nan), (3, 4), 1),))
    page = report([empty, replace(empty, source="b.pth"), evolution([empty, empty], of=empty)])
    assert page.compared.finding == (
        "No two of the embeddings have maps whose correlation is defined."
    )
    assert not any("nan" in section.finding for section in page.sections)
    read_page(page.html)


def test_hostile_names_in_a_checkpoint_are_text_everywhere(embedding, read_page):
    def page_of(word):
        pe = embedding(
            source=f"{word}.pth", keys=(word,), notes=(word,), architecture=word, family=word
        )
        found = replace(FOUND, where=word, message=word, mend=word)
        diagnosis = replace(doctor(pe), findings=(found,))
        other = noisy(embedding, 1, source="b.pth")
        page = report([similarity(pe), diagnosis, similarity(other)], title=word)
        return page.html

    text = "'\"><img src=x onerror=alert(1)><script>alert(1)</script>{{ 7*7 }}\u202e\x00"
    page = page_of(text)
    plain, hostile = read_page(page_of("plain")), read_page(page)
    assert [e.tag for e in hostile.walk()] == [e.tag for e in plain.walk()]
    assert not {"\x00", "\u202e"} & set(page)
    assert "49" not in hostile.one("h1").text
