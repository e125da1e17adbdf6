"""The figures of accuracy: their artists."""

from __future__ import annotations

import numpy as np
import pytest

from pe_inspect.analysis.evaluate import EvaluationRow, evaluate
from pe_inspect.figures import drawings, figure

SIZES = {(8, 12): 40, (24, 40): 50}


def row(condition="plain", correct=60, res=(12, 20), **more):
    return EvaluationRow(condition, res, (res[0] // 4, res[1] // 4), correct, 90, 9.0, 100, **more)


def answered(*, sizes=True, changes=True, methods=("jax", "deit")):
    rows = [row()]
    if changes:
        rows += [row("shuffled", 30), row("removed", 15, alpha=0.0)]
    for res, correct in SIZES.items() if sizes else ():
        rows += [row(correct=correct, res=res)]
        rows += [row(correct=correct - k, res=res, method=m) for k, m in enumerate(methods, 1)]
    return evaluate(rows, dataset="noise", num_classes=10)


def texts(drawn):
    return " ".join(text.get_text() for text in drawn.texts).replace("\n", " ")


@pytest.mark.parametrize(
    ("asked", "stems"),
    [
        ({}, ["evaluate", "evaluate_ablations"]),
        ({"changes": False}, ["evaluate"]),
        ({"sizes": False}, ["evaluate"]),
        ({"sizes": False, "changes": False}, ["evaluate"]),
    ],
)
def test_there_is_a_figure_for_what_was_asked(asked, stems):
    assert list(drawings["evaluate"](answered(**asked))) == stems


def test_curves_pass_through_the_models_own_size():
    left, right = figure(answered()).axes
    own, jax = (
        next(k for k in left.lines if k.get_label() == n) for n in ("native (own rule)", "jax")
    )
    places = np.sqrt([96, 240, 960])
    np.testing.assert_allclose(own.get_xdata(), places)
    np.testing.assert_allclose(own.get_ydata(), [40, 60, 50])
    np.testing.assert_allclose(jax.get_ydata(), [39, 60, 49])
    beside = next(k for k in right.lines if k.get_label() == "deit")
    np.testing.assert_allclose(beside.get_ydata(), [-2, 0, -2], atol=1e-9)


def test_axes_are_labelled_and_sizes_named():
    drawn = figure(answered())
    left, right = drawn.axes
    assert (left.get_xlabel(), left.get_ylabel()) == ("image size (pixels)", "top-1 (%)")
    assert right.get_ylabel() == "over the model's own rule (points)"
    assert {tick.get_text() for tick in left.get_xticklabels()} == {"8×12", "12×20", "24×40"}
    assert [text.get_text() for text in drawn.subfigs[0].legends[0].texts] == [
        "native (own rule)", "jax", "deit"
    ]  # fmt: skip


def test_many_methods_are_told_apart_without_colour():
    many = tuple(f"method {k}" for k in range(17))
    left, _ = figure(answered(methods=many)).axes
    looks = {
        (k.get_color(), k.get_linestyle(), k.get_marker(), str(k._unscaled_dash_pattern))
        for k in left.lines
        if k.get_label().startswith("method")
    }
    assert len(looks) == 17


def test_bars_have_whiskers_their_number_and_the_plain_model_dashed():
    drawn = drawings["evaluate"](answered())["evaluate_ablations"]
    (axes,) = drawn.axes
    assert [bar.get_width() for bar in axes.patches] == [60, 30, 15]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["plain", "shuffled", "removed"]
    assert [text.get_text() for text in axes.texts] == ["60.0%", "30.0%", "15.0%"]
    assert axes.get_xlim() == (0, 100)
    chance = [line for line in axes.lines if line.get_gid() == "chance"]
    assert [line.get_xdata()[0] for line in chance] == [10]


@pytest.mark.parametrize("stem", ["evaluate", "evaluate_ablations"])
def test_captions_say_what_was_measured_and_how(stem):
    drawn = drawings["evaluate"](answered())[stem]
    assert "100 test images of noise" in texts(drawn)
    assert "95 % interval" in texts(drawn)


def test_without_the_own_rule_the_difference_has_no_line():
    rows = [row(), row(correct=50, res=(24, 40), method="jax")]
    _, right = figure(evaluate(rows, dataset="noise", num_classes=10)).axes
    jax = next(k for k in right.lines if k.get_label() == "jax")
    np.testing.assert_array_equal(np.isnan(jax.get_ydata()), [False, True])
