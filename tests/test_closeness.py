"""The tests' own rulers: how close is close, and when an oracle may be doubted."""

from __future__ import annotations

from importlib import metadata

import numpy as np
import oracles
import pytest
import torch
from closeness import EPSILON, assert_close, float32_tolerance


def test_the_tolerance_grows_with_the_values_and_the_operations():
    assert float32_tolerance([3.0, -16.0, np.nan, np.inf]) == 16 * float32_tolerance(1.0)
    assert float32_tolerance(1.0, operations=16) == 2 * float32_tolerance(1.0)


@pytest.mark.parametrize("like", [np.asarray, torch.tensor])
def test_a_difference_beyond_rounding_is_told(like):
    expected = like([0.5, -16.0])

    assert_close(expected * (1 + 8 * EPSILON), expected)
    with pytest.raises(AssertionError):
        assert_close(expected * (1 + 64 * EPSILON), expected)


@pytest.fixture
def known(monkeypatch):
    """A function that sets the version of numpy that is known to answer."""
    return lambda version: monkeypatch.setattr(
        oracles, "known_versions", lambda: {"numpy": version}
    )


def test_an_oracle_of_the_known_version_has_to_agree(known):
    known(metadata.version("numpy"))
    with pytest.raises(AssertionError):
        oracles.agree("numpy", lambda: 1.0, 2.0)
    with pytest.raises(ZeroDivisionError):
        oracles.agree("numpy", lambda: 1 / 0, 2.0)


@pytest.mark.parametrize("ask", [lambda: 1.0, lambda: 1 / 0])
def test_one_of_another_version_that_disagrees_is_skipped_with_a_line(known, ask):
    known("0.1")
    with pytest.raises(pytest.skip.Exception, match=r"constraints.txt names \(0.1\)"):
        oracles.agree("numpy", ask, 2.0)


def test_one_of_another_version_that_agrees_is_not_skipped(known):
    known("0.1")
    asked = []
    oracles.agree("numpy", lambda: asked.append(1) or 2.0, 2.0)
    assert asked == [1]
