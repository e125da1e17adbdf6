"""What every question found, in one sentence."""

from __future__ import annotations

import pytest

from pe_inspect.analysis import Result, questions
from pe_inspect.analysis.common.sentences import listed, number_text, percent_text, sentence
from pe_inspect.analysis.evolution import evolution


@pytest.mark.parametrize("word", ["similarity", "layernorm", "interpolate"])
def test_a_result_says_in_one_sentence_what_it_found(vectors, word):
    asked = {"grid": (7, 4)} if word == "interpolate" else {}
    result = questions[word](vectors(depth=3), **asked)
    assert isinstance(result, Result)
    assert result.finding.endswith(".")
    assert "\n" not in result.finding
    assert any(character.isdigit() for character in result.finding)


def test_the_finding_of_similarity_has_its_numbers(vectors):
    result = questions["similarity"](vectors(depth=3))
    near = number_text(result.summary()["neighbours"])
    assert f"share an edge is {near} on average" in result.finding
    assert f"from {result.layer_names[0]} to {result.layer_names[-1]}" in result.finding


def test_the_finding_of_a_run_names_its_epochs(vectors):
    result = evolution([vectors(depth=2, seed=k) for k in range(3)], epochs=(0, 5, 9))
    assert result.finding.startswith("Over 3 snapshots, epochs 0 to 9, ")


def test_numbers_in_sentences():
    assert number_text(-0.001) == "0.00"
    assert number_text(-0.5) == "−0.50"
    assert number_text(1234.5, on_a_scale=False) == "1.23e+03"
    assert percent_text(0.972) == "97.2\N{NO-BREAK SPACE}%"


def test_parts_of_a_sentence():
    assert sentence(["one", "", "two"]) == "one; two."
    assert [listed(names) for names in (["a"], ["a", "b"], ["a", "b", "c"])] == [
        "a", "a and b", "a, b and c"
    ]  # fmt: skip
