"""The front door: what `report()` takes, asks, names, leaves out, and writes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field, replace
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import pe_inspect
from pe_inspect.errors import OutputError, UsageError
from pe_inspect.kinds.position_embedding import LayerPE
from pe_inspect.page import Definition, Fact, Report, Section, report

ROOT = Path(__file__).parents[2]


@dataclass
class Answer:
    """A result that knows what it was asked."""

    question: ClassVar[str] = "similarity"
    pe: object = None
    parameters: dict = field(default_factory=dict)

    def summary(self):
        return {}


@pytest.fixture(autouse=True)
def two_questions(monkeypatch):
    """`similarity` answers, `layernorm` refuses; the sections only repeat it."""

    def similar(pe, **options):
        return Answer(pe, options)

    def refuse(pe, **options):
        raise UsageError("no LayerNorm in this checkpoint")

    monkeypatch.setattr(
        "pe_inspect.analysis.questions", {"similarity": similar, "layernorm": refuse}
    )
    monkeypatch.setattr("pe_inspect.page.build.in_reading_order", lambda: list(SECTIONS))
    monkeypatch.setattr("pe_inspect.page.build.sections", SECTIONS)


def _repeat(word):
    def section(subject):
        result = subject.ask(word, token=(0, 0))
        facts = (Fact("answered", str(result.parameters)),)
        return Section(word, word, "?", "!", (), "", Definition(""), facts=facts)

    return section


SECTIONS = {"similarity": _repeat("similarity"), "layernorm": _repeat("layernorm")}


@pytest.mark.subprocess
@pytest.mark.parametrize(
    "first",
    [
        "import pe_inspect.page; import pe_inspect as pei",
        "import pe_inspect as pei; pei.report; import pe_inspect.page",
        "from pe_inspect.page import report; import pe_inspect as pei",
        "import pe_inspect as pei",
    ],
)
def test_the_package_is_callable_whichever_was_imported_first(first):
    code = f"{first}\nfor _ in 'twice': assert callable(pei.report)\npei.report([])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "UsageError: report() was given nothing; hand in a position embedding" in done.stderr


def test_the_front_door_makes_the_same_page(embedding):
    assert pe_inspect.report(embedding()).html == report(embedding()).html
    assert pe_inspect.page.Report is Report


@pytest.mark.subprocess
def test_importing_the_package_loads_nothing_slow():
    slow = "jinja2 matplotlib PIL pandas torch timm"
    code = f"import sys, pe_inspect.page\nprint([n for n in {slow.split()} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_an_embedding_is_asked_every_question_and_a_refusal_is_a_reason(embedding):
    page = report([embedding()])
    assert [section.stem for section in page.sections] == ["similarity"]
    (chapter,) = page.chapters
    assert [(o.stem, o.reason) for o in chapter.omissions] == [
        ("layernorm", "no LayerNorm in this checkpoint")
    ]
    assert "no LayerNorm in this checkpoint" in page.html


def test_one_embedding_needs_no_list(embedding):
    pe = embedding()
    assert report(pe).html == report([pe]).html == report(iter([pe])).html


def test_options_outrank_a_sections_own_choice(embedding):
    page = report(embedding(), options={"similarity": {"token": (2, 3), "head": 1}})
    assert page.sections[0].facts[0].value == "{'token': (2, 3), 'head': 1}"
    assert report(embedding()).sections[0].facts[0].value == "{'token': (0, 0)}"


def test_a_finished_result_is_used_instead_of_asking_again(embedding):
    pe = embedding()
    for items in ([pe, Answer(pe, {"mine": 1})], [Answer(pe, {"mine": 1}), pe]):
        page = report(items)
        assert len(page.chapters) == 1
        assert page.sections[0].facts[0].value == "{'mine': 1}"
        assert page.chapters[0].omissions


def test_a_result_alone_has_its_own_section_and_no_other(embedding):
    (chapter,) = report([Answer(embedding(), {"mine": 1})]).chapters
    assert [section.stem for section in chapter.sections] == ["similarity"]
    assert chapter.omissions == ()
    assert chapter.headline == "learned_absolute · 3×4 + 1 prefix · D=8 · 2 layers · join=lape"


def test_a_result_that_names_no_embedding_belongs_to_the_only_one(embedding):
    page = report([embedding(), Answer(None, {"mine": 1})])
    assert [section.facts[0].value for section in page.sections] == ["{'mine': 1}"]
    apart = report([embedding(), embedding(), Answer(None)], labels=["a", "b", "c"])
    assert [chapter.label for chapter in apart.chapters] == ["a", "b", "c"]
    assert report([Answer(None)]).title == "Position embedding"


def test_the_top_names_the_embedding_its_numbers_and_its_assumptions(embedding, read_page):
    top = read_page(report(embedding()).html).one("section", id_="summary").text
    for text in (
        "learned_absolute · 3×4 + 1 prefix · D=8 · 2 layers · join=lape",
        "A learned table of positions, for 3×4 patches and 1 prefix token; added in every block "
        "through a LayerNorm of its own (LaPE).",
        "Learned scalars 136",
        "grid 3×4 inferred from 12 patch rows",
    ):
        assert text in top


def test_a_bias_is_normed_inside_attention_and_one_map_of_all_heads_is_no_head(embedding):
    table = LayerPE("blocks.0", np.ones((1, 12, 12), np.float32), (3, 4))
    pe = embedding(family="relative_bias", kind="bias", tables=(table,))
    (chapter,) = report(pe).chapters
    assert "in every block through a LayerNorm of its own (LaPE), inside" in chapter.lede
    assert "added" not in chapter.lede
    assert Fact("Heads", "all", "share the same values") in chapter.facts


def test_values_that_are_not_finite_are_counted_at_the_top(embedding):
    pe = embedding()
    values = pe.tables[0].values.copy()
    values[3, 2] = float("nan")
    table = type(pe.tables[0])("input", values, (3, 4), 1)
    facts = report(embedding(tables=(table,))).summary["small"]
    assert Fact("Non-finite values", 1, "NaN or infinite; drawn as missing") in facts


def test_the_provenance_says_where_from_with_what_and_when(embedding, read_page):
    page = report(embedding(), command="pe-inspect report small.pth", now=datetime(2025, 11, 20))
    block = read_page(page.html).one("section", id_="provenance").text
    for text in (
        "Source runs/small.pth",
        "SHA-256 0123456789abcdef",
        "Keys used pos_embed blocks.0.pe_norm.weight",
        "Assumptions grid 3×4 inferred from 12 patch rows",
        "Command pe-inspect report small.pth",
        "Date 2025-11-20 00:00:00",
        f"Versions pe-inspect {pe_inspect.__version__} · Python",
    ):
        assert text in block


def test_without_a_date_none_is_printed_and_the_same_call_gives_the_same_bytes(embedding):
    pages = [report(embedding(), command="c").html for _ in range(2)]
    assert pages[0] == pages[1]
    assert "Date" not in pages[0]
    assert report(embedding(), now="2025").html != pages[0]


@pytest.mark.parametrize(
    ("sources", "labels"),
    [
        (["runs/a.pth", "runs/b.safetensors"], ["a", "b"]),
        (["x/model.safetensors", "y/model.safetensors"], ["x", "y"]),
        (["x/a.pth", "y/a.pth"], ["x/a.pth", "y/a.pth"]),
        (["C:\\x\\a.pth", "timm:vit_tiny_patch16_224"], ["a", "timm:vit_tiny_patch16_224"]),
        (["a.pe.safetensors", ""], ["a", "position embedding"]),
        (["a.pth", "a.pth"], ["a.pth · learned_absolute (1)", "a.pth · learned_absolute (2)"]),
    ],
)
def test_labels_are_as_short_as_tells_them_apart(sources, labels, embedding, read_page):
    page = report([embedding(source=source) for source in sources])
    assert [chapter.label for chapter in page.chapters] == labels
    read_page(page.html)


def test_two_schemes_of_one_checkpoint_are_told_apart_by_family(embedding):
    page = report([embedding(), embedding(family="sinusoidal_1d")])
    labels = [chapter.label for chapter in page.chapters]
    assert labels == ["small · learned_absolute", "small · sinusoidal_1d"]


def test_labels_that_make_the_same_link_still_have_anchors_of_their_own(embedding, read_page):
    page = report([embedding(), embedding(), embedding()], labels=["a b", "a_b", "位置"])
    ids = [e["id"] for e in read_page(page.html).walk() if "id" in e.attributes]
    assert len(ids) == len(set(ids))


def test_several_embeddings_are_compared_number_by_number(embedding):
    page = report([embedding(source="a.pth"), embedding(source="b.pth", join="input")])
    rows = {row[0]: row[1:] for row in page.comparison.rows}
    assert page.comparison.columns == ("quantity", "a", "b")
    assert rows["Join"] == ("lape", "input")
    assert rows["Positions"] == ("3×4 + 1", "3×4 + 1")
    assert rows["Learned scalars"] == (136, 136)


@pytest.mark.parametrize(
    ("sources", "title"),
    [
        (["a.pth"], "Position embedding of a"),
        (["a.pth", "b.pth"], "Position embeddings of a and b"),
        (["a.pth", "b.pth", "c.pth"], "Position embeddings of a, b and c"),
        (["a.pth", "b.pth", "c.pth", "d.pth"], "Position embeddings of 4 checkpoints"),
    ],
)
def test_the_title_names_the_embeddings(sources, title, embedding):
    assert report([embedding(source=source) for source in sources]).title == title
    assert report([embedding()], title="Mine").title == "Mine"


@pytest.mark.parametrize(
    ("items", "labels", "message"),
    [
        ([], None, "report() was given nothing; hand in a position embedding or a result."),
        (["x.pth"], None, "report() was given 'str'; it takes position embeddings"),
        ([Answer(), Answer()], None, "two results of 'similarity' for one embedding"),
        (
            [Answer()],
            ["a", "b"],
            "2 labels (2 different ones) for 1 embeddings; give each its own.",
        ),
    ],
)
def test_what_cannot_be_reported_on_is_refused(items, labels, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        report(items, labels=labels)


def test_an_embedding_without_tables_has_a_page_too(embedding, read_page):
    page = report(embedding(family="none", kind="function", join="none", tables=(), norms=()))
    assert "none · 2 layers · join=none" in read_page(page.html).one("section", id_="summary").text


def test_saving_writes_the_page_whole(tmp_path, embedding):
    page = report(embedding())
    path = page.save(tmp_path / "deep" / "report.html")
    assert path.read_text(encoding="utf-8") == page.html
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


def test_a_page_that_cannot_be_rendered_leaves_the_old_one(tmp_path, embedding, monkeypatch):
    path = report(embedding()).save(tmp_path / "report.html")
    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OutputError, match="No space left"):
        report(embedding(), title="new").save(path)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_a_notebook_shows_the_page_in_a_frame_of_its_own(embedding):
    class Frames(HTMLParser):
        found: ClassVar[list] = []

        def handle_starttag(self, tag, attrs):
            self.found.append((tag, dict(attrs)))

    page = report(embedding(), title="<b>\u202e\"'")
    Frames().feed(page._repr_html_())
    ((tag, attributes),) = Frames.found
    assert tag == "iframe"
    assert attributes["sandbox"] == "allow-scripts allow-downloads"  # and no allow-same-origin
    assert attributes["loading"] == "lazy"
    assert attributes["srcdoc"] == page.html
    assert attributes["title"] == "<b>\\u202e\"'"


def test_a_page_that_would_weigh_the_notebook_down_is_named_instead(embedding, monkeypatch):
    monkeypatch.setattr("pe_inspect.page.notebook.LARGEST", 1000)
    shown = report(embedding(), title="<b>")._repr_html_()
    assert "<iframe" not in shown
    assert "<strong>&lt;b&gt;</strong>" in shown
    assert '<code>.save("report.html")</code> writes it.' in shown
    assert "<li>!</li>" in shown


@pytest.mark.parametrize("max_mb", [0, 0.05, float("nan")])
def test_no_page_is_smaller_than_its_words(max_mb, embedding):
    with pytest.raises(UsageError, match=r"max_mb is .*; a page takes at least 0\.1\."):
        report(embedding(), max_mb=max_mb)


def test_the_page_knows_how_large_it_may_be(embedding):
    assert report(embedding()).max_bytes == 10_000_000
    assert report(embedding(), max_mb=0.5).max_bytes == 500_000


def test_a_page_whose_text_alone_is_too_large_is_refused(embedding):
    page = replace(report([embedding()]), max_bytes=1000)
    with pytest.raises(UsageError, match=r"takes 0\.\d+ MB without any interactive view.*pass at"):
        _ = page.html
