"""The interpolating cubic spline through knots at any places, as a matrix."""

from __future__ import annotations

import numpy as np

from pe_inspect.arrays import Float

__all__ = ["through_knots"]


def through_knots(
    knots: Float[np.ndarray, " knots"], wanted: Float[np.ndarray, " wanted"]
) -> Float[np.ndarray, "wanted knots"]:
    """Weights of the values at at least four knots for the spline's values at `wanted`.

    The third derivative does not jump at the second knot, nor at the last but one ("not a knot"),
    as in FITPACK and `scipy.interpolate.RectBivariateSpline(kx=3, ky=3, s=0)`.
    """
    step = np.diff(knots)
    left = np.searchsorted(knots, wanted, side="right").clip(1, len(step)) - 1
    h = step[left]
    b = (wanted - knots[left]) / h
    a = 1 - b
    bends = _bends(step)  # second derivatives at the knots, per value
    eye = np.eye(len(knots))
    straight = a[:, None] * eye[left] + b[:, None] * eye[left + 1]
    bow = (a**3 - a)[:, None] * bends[left] + (b**3 - b)[:, None] * bends[left + 1]
    matrix: np.ndarray = straight + bow * (h**2 / 6)[:, None]
    return matrix


def _bends(step: Float[np.ndarray, " steps"]) -> Float[np.ndarray, "knots knots"]:
    """The second derivatives at the knots as functions of the values there.

    Inside, slopes meet: h₋·M₋ + 2(h₋ + h₊)·M + h₊·M₊ = 6·((y₊ − y)/h₊ − (y − y₋)/h₋).
    """
    knots = len(step) + 1
    left, right = np.zeros((knots, knots)), np.zeros((knots, knots))
    for k in range(1, knots - 1):
        before, after = step[k - 1], step[k]
        left[k, k - 1 : k + 2] = before, 2 * (before + after), after
        right[k, k - 1 : k + 2] = 6 / before, -6 / before - 6 / after, 6 / after
    for row, k in ((0, 1), (knots - 1, knots - 2)):
        before, after = step[k - 1], step[k]
        left[row, k - 1 : k + 2] = after, -before - after, before
    solved: np.ndarray = np.linalg.solve(left, right)
    return solved
