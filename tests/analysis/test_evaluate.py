"""What was counted, put in order: shares, errors, fragility, curves."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pe_inspect.analysis.evaluate import COLUMNS, EvaluationRow, evaluate
from pe_inspect.errors import UsageError


def row(condition="plain", correct=60, res=(12, 20), **more):
    grid = (res[0] // 4, res[1] // 4)
    return EvaluationRow(
        condition, res, grid, correct, 90 if correct <= 90 else 100, 123.0, 100, **more
    )


@pytest.fixture
def result():
    rows = [
        row(),
        row("scaled", 55, alpha=0.5),
        row("shuffled", 30),
        row("removed", 15, alpha=0.0),
        row("permuted", 24),
        row(correct=50, res=(24, 40)),
        row(correct=52, res=(24, 40), method="jax", rule="bilinear-align-corners"),
        row(correct=40, res=(8, 12)),
    ]
    return evaluate(rows, dataset="noise", num_classes=10, parameters={"seed": 0}, notes=("a", "a"))


def test_shares_are_of_the_images(result):
    plain = result.plain
    assert (plain.top1, plain.top5, plain.loss) == (0.6, 0.9, 1.23)
    assert plain.standard_error == pytest.approx(math.sqrt(0.6 * 0.4 / 100))
    assert math.isnan(EvaluationRow("plain", (8, 8), (2, 2), 1, None, 0.5, 2).top5)


@given(st.integers(1, 400), st.floats(0, 1))
def test_the_error_is_that_of_a_binomial_share(count, share):
    correct = round(share * count)
    one = EvaluationRow("plain", (4, 8), (1, 2), correct, None, 0.0, count)
    hits = np.array([1.0] * correct + [0.0] * (count - correct))
    assert one.standard_error == pytest.approx(hits.std() / math.sqrt(count))


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_the_error_of_a_difference_is_that_of_the_mean_over_pairs(gained, lost, same):
    count = gained + lost + same + 1
    one = EvaluationRow("plain", (4, 8), (1, 2), gained, None, 0.0, count, gained=gained, lost=lost)
    pairs = np.array([1.0] * gained + [-1.0] * lost + [0.0] * (same + 1))
    assert one.over_plain.difference == pytest.approx(pairs.mean())
    assert one.over_plain.standard_error == pytest.approx(pairs.std() / math.sqrt(count))


def test_fragility_is_one_minus_the_share_that_is_left(result):
    by_name = {each.name: result.fragility(each) for each in result.ablations}
    assert math.isnan(by_name.pop("plain"))
    assert by_name == pytest.approx(
        {"scaled by 0.5": 1 - 55 / 60, "shuffled": 0.5, "removed": 0.75, "patches permuted": 0.6}
    )
    nothing = evaluate([row(correct=0), row("removed", 3)], dataset="noise", num_classes=10)
    assert math.isnan(nothing.fragility(nothing.rows[1]))


def test_curves_go_from_small_to_large(result):
    assert result.sizes == ((8, 12), (12, 20), (24, 40))
    assert [each.correct for each in result.curve()] == [40, 60, 50]
    assert [each.correct for each in result.curve("jax")] == [52]
    assert result.methods == ("native", "jax")
    with pytest.raises(UsageError, match="'deit' was not evaluated; this result holds native, jax"):
        result.curve("deit")


def test_the_summary_names_every_condition(result):
    assert result.summary() == pytest.approx(
        {
            "top1": 0.6, "top1_standard_error": 0.0489898, "top1_low": 0.5020026,
            "top1_high": 0.6905987, "top5": 0.9, "loss": 1.23, "num_images": 100,
            "top1_alpha_0.5": 0.55, "top1_shuffled": 0.3, "top1_removed": 0.15,
            "top1_permuted": 0.24, "fragility_permuted": 0.6, "top1_at_24x40": 0.5,
            "top1_at_8x12": 0.4,
        }
    )  # fmt: skip


def test_the_frame_has_a_row_a_condition_under_the_documented_columns(result):
    frame = result.to_frame()
    assert list(frame.columns) == list(COLUMNS) == list(result.definitions)
    assert len(frame) == len(result.rows)
    jax = frame[frame.method == "jax"].iloc[0]
    assert (jax.height, jax.width, jax["rows"], jax["columns"]) == (24, 40, 6, 10)
    assert frame.difference.isna().tolist() == [True] + [False] * 7
    assert (jax.rule, jax.top1, jax["count"]) == ("bilinear-align-corners", 0.52, 100)


def test_the_plain_model_comes_first_and_notes_once():
    found = evaluate([row("removed", 10), row()], dataset="noise", num_classes=10, notes=("b", "b"))
    assert [each.condition for each in found.rows] == ["plain", "removed"]
    assert found.notes == ("b",)
    assert repr(found) == "EvaluationResult(noise, top1=0.6000, 2 rows)"


def test_without_the_plain_model_there_is_nothing_to_compare_with():
    with pytest.raises(UsageError, match="No row is of the plain model"):
        evaluate([row("removed", 10)], dataset="noise", num_classes=10)


@pytest.mark.usefixtures("unchecked")
def test_an_embedding_alone_has_no_accuracy(vectors):
    with pytest.raises(UsageError, match="An embedding alone has no accuracy"):
        evaluate(vectors(), dataset="noise", num_classes=10)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("change", "message"),
    [({"condition": "plane"}, "condition is 'plane'"), ({"correct": 101}, "101 of 100 images")],
)
def test_impossible_counts_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        row(**change)
