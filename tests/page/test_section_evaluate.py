"""The section of accuracy: only where a result was handed in."""

from __future__ import annotations

import pytest

from pe_inspect.analysis.evaluate import EvaluationRow, evaluate
from pe_inspect.page import report


def row(condition="plain", correct=60, res=(12, 20), **more):
    return EvaluationRow(condition, res, (res[0] // 4, res[1] // 4), correct, 90, 9.0, 100, **more)


@pytest.fixture
def answered(embedding):
    """An embedding and its accuracy."""
    pe = embedding()
    rows = [
        row(),
        row("removed", 15, alpha=0.0),
        row("permuted", 24),
        row(correct=50, res=(24, 24)),
    ]
    return pe, evaluate(rows, dataset="<b>noise</b>", num_classes=10, pe=pe, notes=("drawn",))


def section_of(page):
    return next((section for section in page.sections if section.stem == "evaluate"), None)


def test_an_embedding_alone_has_no_accuracy_and_the_page_does_not_miss_it(embedding):
    page = report(embedding())
    assert section_of(page) is None
    assert "evaluate" not in [omission.stem for omission in page.chapters[0].omissions]


def test_a_result_stands_beside_its_embedding_with_its_numbers(answered):
    page = report(answered)
    assert len(page.chapters) == 1
    section = section_of(page)
    assert section.finding == (
        "Top-1 is 60.0\N{NO-BREAK SPACE}% (95 % interval 50.2 to 69.1) on 100 test images of "
        "<b>noise</b>; with positions changed it is 15.0\N{NO-BREAK SPACE}% removed and "
        "24.0\N{NO-BREAK SPACE}% patches permuted; by the model's own rule it is "
        "50.0\N{NO-BREAK SPACE}% at 24×24."
    )
    assert [picture.stem for picture in section.figures] == ["evaluate", "evaluate_ablations"]
    assert section.notes == ("drawn",)
    assert ("Top-1", "60.0\N{NO-BREAK SPACE}%") in [
        (fact.name, fact.value) for fact in section.facts
    ]
    assert ("Top-1 without positions", "15.0\N{NO-BREAK SPACE}%") in [
        (f.name, f.value) for f in section.facts
    ]


def test_its_table_and_terms_are_the_columns_of_the_csv(answered):
    section = section_of(report(answered))
    (table,) = section.tables
    assert table.columns == tuple(answered[1].definitions)
    assert len(table.rows) == 4
    assert "fs = 1 − A_shift/A_normal" in section.definition.formula


def test_names_of_datasets_are_text(answered):
    html = report(answered).html
    assert "<b>noise</b>" not in html
    assert "&lt;b&gt;noise&lt;/b&gt;" in html
