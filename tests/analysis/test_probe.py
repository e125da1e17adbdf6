"""Can position be read out: planted ramps, controls, and scikit-learn's Ridge as oracle."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_traces import made_trace
from sklearn.linear_model import Ridge

import pe_inspect as pei
from pe_inspect.analysis import Result
from pe_inspect.errors import UsageError
from pe_inspect.live.token_sums import FoldAccumulator, TokenAccumulator
from pe_inspect.ridge import position_folds
from pe_inspect.traces import ImageSet

torch = pytest.importorskip("torch")
GRID, COUNT = (4, 6), 8
PLACES = np.stack(np.meshgrid(np.arange(4) / 2 - 0.75, (2 * np.arange(6) + 1) / 6 - 1,
                              indexing="ij"), -1).reshape(-1, 2)  # fmt: skip


def traced(x, null=None):
    """A trace of tokens (images, patches, channels) at two places."""

    def folds(values):
        sums = FoldAccumulator("h0", position_folds(24))
        for first in range(0, len(values), 3):
            sums.add(torch.from_numpy(values[first : first + 3]).float(), first)
        return sums.folded()

    tokens = TokenAccumulator("h0", GRID)
    tokens.add(torch.from_numpy(x).float())
    base = (tokens.sums(), replace(tokens.sums(), place="final"))
    held = {"base": (folds(x),) * 2} | ({} if null is None else {"null": (folds(null),) * 2})
    counts = tuple(len(range(fold, len(x), 4)) for fold in range(4))
    return replace(
        made_trace(), images=ImageSet("made", len(x)), states={"base": base}, folds=held,
        image_fold_counts=counts, position_folds=position_folds(24), grid_size=GRID,
    )  # fmt: skip


def noise(channels=5, seed=0, images=COUNT):
    return np.random.default_rng(seed).normal(size=(images, 24, channels))


def planted(seed=0):
    x = noise(6, seed)
    x[..., 2], x[..., 4] = 10 + 3 * PLACES[:, 0], -2 * PLACES[:, 1]
    return x


def test_planted_ramps_are_read_and_permuted_places_are_not():
    result = pei.probe(traced(planted(), noise(6)))
    np.testing.assert_allclose(result.r2[0], 1, atol=1e-3)
    assert (result.r2_permuted[0] < 0.1).all()
    assert (result.r2_null[0] < 0.1).all()
    assert {channel for channel, _ in result.ramp_channels(0, 2)} == {2, 4}
    assert result.plane_share[0][2] == pytest.approx(1, abs=1e-6)
    assert result.plane_share[0][0] < 0.1


@pytest.mark.parametrize("seed", [0, 1])
def test_r2_is_that_of_scikit_learns_ridge(seed):
    x = noise(7, seed) + np.random.default_rng(seed + 9).normal(size=(1, 24, 7))
    folds = np.random.default_rng(0).permutation(24) % 4
    scores = []
    for fold in range(4):
        inside, own = np.arange(COUNT) % 4 == fold, folds == fold
        train, test = x[~inside][:, ~own].reshape(-1, 7), x[inside][:, own].reshape(-1, 7)
        mean, spread = train.mean(0), train.std(0)
        y_train = np.tile(PLACES[~own], (int((~inside).sum()), 1))
        y_test = np.tile(PLACES[own], (int(inside.sum()), 1))
        ridge = Ridge(alpha=1e-3 * len(train)).fit((train - mean) / spread, y_train)
        wrong = ((y_test - ridge.predict((test - mean) / spread)) ** 2).sum(0)
        scores.append(1 - wrong / ((y_test - y_test.mean(0)) ** 2).sum(0))
    np.testing.assert_allclose(pei.probe(traced(x)).r2[0], np.mean(scores, 0), atol=1e-4)


def test_held_out_images_alone_flatter_a_fingerprint_of_places():
    """Positions that were seen can be learnt by heart; others cannot."""
    x = 0.05 * noise(40) + np.random.default_rng(4).normal(size=(1, 24, 40))
    result = pei.probe(traced(x))
    assert (result.r2_images[0] > 0.9).all()
    assert (result.r2[0] < 0.5).all()


def test_its_arrays_table_and_finding():
    result = pei.probe(traced(planted()))
    assert isinstance(result, Result)
    arrays = result.arrays()
    assert arrays["r2"].shape == arrays["r2_null"].shape == (2, 2)
    assert arrays["plane_share"].shape == (2, 6)
    assert np.isnan(arrays["r2_null"]).all()
    assert list(result.to_frame()["place"]) == ["h0", "final"]
    assert result.finding.startswith("Position can be read linearly as far as final: R² 1.00")
    assert result.notes[-1] == "8 images are few for late layers: 64 are enough"


def test_too_few_images_and_missing_sums_are_refused():
    with pytest.raises(UsageError, match=r"takes at least 4 images, and 64 for .* has 3"):
        pei.probe(traced(noise(images=3)))
    with pytest.raises(UsageError, match="holds no sums for probes"):
        pei.probe(replace(made_trace(), folds={}))


def test_rows_and_columns_that_end_elsewhere_are_told_apart():
    found = pei.probe(made_trace())
    apart = replace(found, r2=np.array([[0.9, 0.2], [0.8, 0.1], [0.7, -0.4]]))
    assert apart.finding.startswith(
        "Rows can be read linearly as far as final (R² 0.90 at h0, 0.70 at final), columns nowhere "
        "(R² 0.20 at h0, −0.40 at final), on images"
    )
    alike = replace(found, r2=np.array([[0.9, 0.7], [0.8, 0.6], [0.3, 0.1]]))
    assert alike.finding.startswith("Position can be read linearly as far as h1: R² 0.80 at h0")
