"""Intervals that hold where the normal approximation has none: at 0, at N, and without a change."""

from __future__ import annotations

from math import comb, sqrt

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import binom

from pe_inspect.analysis.evaluate.intervals import newcombe, wilson

Z = 1.959963984540054


@pytest.mark.parametrize(("correct", "count"), [(0, 16), (16, 16), (1, 16), (60, 100), (7, 9)])
def test_wilsons_ends_are_the_shares_whose_score_is_the_quantile(correct, count):
    """It is made of the shares p with |p̂ − p| ≤ z·√(p(1 − p)/N)."""
    share = correct / count

    def score(p):
        return (share - p) ** 2 - Z**2 * p * (1 - p) / count

    near = 1e-9  # at 0 and at 1 the score of that share itself is 0
    low = brentq(score, 0, min(share, 1 - near)) if correct else 0.0
    high = brentq(score, max(share, near), 1) if correct < count else 1.0
    assert wilson(correct, count) == pytest.approx((low, high), abs=1e-9)


def test_sixteen_of_sixteen_is_not_certain():
    low, high = wilson(16, 16)
    assert (round(low, 4), high) == (0.8064, 1.0)  # 16/(16 + z²)
    assert newcombe(16, 0, 0, 0)[0] < 0 < newcombe(16, 0, 0, 0)[1]


def test_a_published_interval_of_pairs():
    """Airway responsiveness of 21 children before and after: 1, 1, 7 and 12 pairs.

    Source: M. W. Fagerland et al., Statist. Med. 33 (2014) 2850, Table VI (square-and-add).
    """
    assert newcombe(1, 1, 7, 12) == pytest.approx((-0.507, -0.026), abs=5e-4)


@pytest.mark.parametrize("pairs", [(3, 2, 1, 4), (0, 5, 0, 0), (6, 0, 0, 0), (40, 3, 9, 5)])
def test_the_other_way_round_the_interval_of_pairs_is_mirrored(pairs):
    both, gained, lost, neither = pairs
    low, high = newcombe(both, gained, lost, neither)
    assert newcombe(both, lost, gained, neither) == pytest.approx((-high, -low))
    assert -1 <= low <= (gained - lost) / sum(pairs) <= high <= 1


@pytest.mark.parametrize("share", [0.5, 0.9, 0.98])
@pytest.mark.parametrize("count", [16, 100])
def test_wilsons_interval_covers_the_share_about_as_often_as_it_says(count, share):
    """Exactly, over all counts; where Wald's falls to 28 % (16 images, 98 % correct)."""
    covered = [k for k in range(count + 1) if wilson(k, count)[0] <= share <= wilson(k, count)[1]]
    assert binom.pmf(covered, count, share).sum() > 0.92


@pytest.mark.parametrize(
    ("both", "gained", "lost"),
    [(0.6, 0.1, 0.05), (0.9, 0.02, 0.02), (0.3, 0.3, 0.1), (0.95, 0.01, 0.0), (0.5, 0.05, 0.25)],
)
def test_the_interval_of_pairs_covers_the_difference_at_least_so_often(both, gained, lost):
    """Exactly, over all tables of 16 images."""
    count, neither, covered = 16, 1 - both - gained - lost, 0.0
    for a, b, c in np.ndindex((count + 1,) * 3):
        d = count - a - b - c
        if d < 0:
            continue
        low, high = newcombe(a, b, c, d)
        if low - 1e-12 <= gained - lost <= high + 1e-12:
            ways = comb(count, a) * comb(count - a, b) * comb(count - a - b, c)
            covered += ways * both**a * gained**b * lost**c * neither**d
    assert covered > 0.94


def test_of_many_images_it_comes_to_the_usual_one():
    gained, lost, count = 400, 250, 10_000
    low, high = newcombe(6_000, gained, lost, count - 6_000 - gained - lost)
    error = sqrt(gained + lost - (gained - lost) ** 2 / count) / count
    usual = (gained - lost) / count + Z * error * np.array([-1, 1])
    assert (low, high) == pytest.approx(tuple(usual), abs=0.1 * error)
