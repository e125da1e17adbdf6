"""Ridge regressions from tokens to places, from sums by folds alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from pe_inspect.arrays import Float, Int
from pe_inspect.traces import FoldSums

__all__ = [
    "FOLDS",
    "PENALTY",
    "Fit",
    "cell_centres",
    "fits_of_folds",
    "held_out_images",
    "held_out_places",
    "position_folds",
]

FOLDS: Final = 4
PENALTY: Final = 1e-3  # times the number of training tokens
FLAT: Final = 1e-12  # of a sum of squares: what rounding leaves where all are alike


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over the tokens of one set: their number, x, x ⊗ x, x ⊗ y, y and y²."""

    count: int
    x: np.ndarray
    xx: np.ndarray
    xy: np.ndarray
    y: np.ndarray
    yy: np.ndarray


class Fit(NamedTuple):
    """A linear map from tokens, less the centre of their sums, to targets."""

    weights: Float[np.ndarray, "channels targets"]
    free: Float[np.ndarray, " targets"]


def position_folds(patches: int) -> Int[np.ndarray, " patches"]:
    """Return the fold of each position, by default_rng(0)."""
    folds: np.ndarray = np.random.default_rng(0).permutation(patches) % FOLDS
    return folds


def cell_centres(grid_size: tuple[int, int]) -> Float[np.ndarray, "patches 2"]:
    """Return (row, column) of every patch's middle, in (−1, 1)."""
    sides = [(2 * np.arange(side) + 1) / side - 1 for side in grid_size]
    return np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 2)


def held_out_places(
    sums: FoldSums,
    targets: Float[np.ndarray, "patches targets"],
    images: tuple[int, ...],
    places: Int[np.ndarray, " patches"],
) -> Float[np.ndarray, " targets"]:
    """Return R² on images and positions that a fit has not seen, mean over folds.

    Args:
        sums: of one place in the model.
        targets: what is read out.
        images: how many there are in each fold.
        places: the fold of every position.
    """
    pairs = (
        (
            _moments(sums, targets, images, places, _but(f), _but(f)),
            _moments(sums, targets, images, places, [f], [f]),
        )
        for f in range(FOLDS)
    )
    return _mean_of([_r2(train, test) for train, test in pairs])


def held_out_images(
    sums: FoldSums,
    targets: Float[np.ndarray, "patches targets"],
    images: tuple[int, ...],
    places: Int[np.ndarray, " patches"],
) -> Float[np.ndarray, " targets"]:
    """Return R² on images that a fit has not seen, at positions that it has; mean over folds."""
    every = list(range(FOLDS))
    pairs = (
        (
            _moments(sums, targets, images, places, _but(f), every),
            _moments(sums, targets, images, places, [f], every),
        )
        for f in every
    )
    return _mean_of([_r2(train, test) for train, test in pairs])


def _mean_of(found: list[np.ndarray]) -> np.ndarray:
    """Return the mean over folds; one whose places share a row or a column says nothing of it."""
    each = np.stack(found)
    count = np.isfinite(each).sum(axis=0)
    mean: np.ndarray = np.nansum(each, axis=0) / np.where(count > 0, count, np.nan)
    return mean


def _but(fold: int) -> list[int]:
    return [f for f in range(FOLDS) if f != fold]


def _moments(
    sums: FoldSums,
    targets: np.ndarray,
    images: tuple[int, ...],
    places: np.ndarray,
    image_folds: list[int],
    place_folds: list[int],
) -> Moments:
    own = np.isin(places, place_folds)
    many = sum(images[f] for f in image_folds)
    tokens = sums.sums[image_folds].astype(np.float64).sum(axis=0)[own]
    y = targets[own]
    gram = sums.grams[np.ix_(image_folds, place_folds)].astype(np.float64).sum(axis=(0, 1))
    return Moments(
        many * int(own.sum()), tokens.sum(axis=0), gram, tokens.T @ y, many * y.sum(axis=0),
        many * (y**2).sum(axis=0),
    )  # fmt: skip


def fits_of_folds(
    sums: FoldSums,
    targets: Float[np.ndarray, "patches targets"],
    images: tuple[int, ...],
    places: Int[np.ndarray, " patches"],
) -> tuple[Fit, ...]:
    """Return the fits of `held_out_places`: fit f has seen neither images nor places of fold f."""
    return tuple(
        _fit(_moments(sums, targets, images, places, _but(f), _but(f))) for f in range(FOLDS)
    )


def _fit(train: Moments) -> Fit:
    """Return ridge regression on features that are standardised by the training set."""
    mean, y_mean = train.x / train.count, train.y / train.count
    spread = np.sqrt(np.maximum(np.diag(train.xx) / train.count - mean**2, 0.0))
    spread[spread == 0] = 1.0
    covariance = (train.xx - train.count * np.outer(mean, mean)) / np.outer(spread, spread)
    covariance[np.diag_indices_from(covariance)] += PENALTY * train.count
    shared = (train.xy - np.outer(train.x, y_mean)) / spread[:, None]
    weights = np.linalg.solve(covariance, shared) / spread[:, None]  # (channels, targets)
    return Fit(weights, y_mean - mean @ weights)


def _r2(train: Moments, test: Moments) -> np.ndarray:
    """Return R² of the test set about its own mean, one a target; NaN where all are alike."""
    weights, free = _fit(train)
    quadratic = np.einsum("ct,cd,dt->t", weights, test.xx, weights)
    wrong: np.ndarray = (
        test.yy - 2 * free * test.y - 2 * (weights * test.xy).sum(axis=0)
        + test.count * free**2 + 2 * free * (test.x @ weights) + quadratic
    )  # fmt: skip
    whole: np.ndarray = test.yy - test.y**2 / test.count
    explained: np.ndarray = 1 - wrong / np.where(whole > FLAT * test.yy, whole, np.nan)
    return explained
