"""How much of a layer is position: against the definition, written out in NumPy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_traces import made_trace

import pe_inspect as pei
from pe_inspect.analysis import Result
from pe_inspect.errors import UsageError
from pe_inspect.live.token_sums import TokenAccumulator
from pe_inspect.traces import ImageSet

torch = pytest.importorskip("torch")
GRID = (2, 3)


def place(x, name="h0", prefix=1):
    sums = TokenAccumulator(name, GRID)
    lead = np.zeros((len(x), prefix, x.shape[-1]))
    for part in torch.from_numpy(np.concatenate((lead, x), axis=1)).float().split(2):
        sums.add(part)
    return sums.sums()


def traced(x, **changes):
    states = {"base": (place(x, "h0"), place(x, "final"))}
    images = ImageSet("made", len(x))
    return replace(
        made_trace(), images=images, states=states, normed=(), edits=(), mean_colour=(), folds={},
        grid_size=GRID, **changes,
    )  # fmt: skip


def planted(position, images=7, channels=5, noise=1.0):
    random = np.random.default_rng(0)
    shape = (images, 6, channels)
    return position * random.normal(size=(1, 6, channels)) + noise * random.normal(size=shape)


def test_omega_squared_is_its_definition():
    x = planted(1.0)
    x = x.astype(np.float32).astype(np.float64)
    n, patches = x.shape[:2]
    mu = x.mean((0, 1))
    a, b = x.mean(0) - mu, x.mean(1) - mu
    r = x - mu - a[None] - b[:, None]
    error = (r**2).sum() / ((n - 1) * (patches - 1))
    expected = (n * (a**2).sum() - (patches - 1) * error) / (((x - mu) ** 2).sum() + error)
    result = pei.contribution(traced(x))
    assert result.omega2[0] == pytest.approx(expected, abs=1e-5)
    assert result.eta2[0] == pytest.approx(n * (a**2).sum() / ((x - mu) ** 2).sum(), abs=1e-5)
    np.testing.assert_allclose(result.position_maps[0], a, atol=1e-6)


def test_without_position_it_is_about_nothing_where_eta_squared_is_not():
    draws = [pei.contribution(traced(planted(0.0, images=4)))]
    assert abs(draws[0].omega2[0]) < 0.12
    assert draws[0].eta2[0] > draws[0].omega2[0]


def test_position_alone_is_all_of_it():
    result = pei.contribution(traced(planted(1.0, noise=1e-4)))
    assert result.omega2[0] == pytest.approx(1, abs=1e-4)
    said = "Position is 100\N{NO-BREAK SPACE}% of the variance of patch tokens at h0"
    assert said in result.finding


def test_one_image_has_no_share():
    result = pei.contribution(traced(planted(1.0, images=1)))
    assert np.isnan(result.omega2).all()
    assert "undefined" in result.finding
    assert "ω² is undefined for one image" in result.notes


def test_its_arrays_and_table_have_every_place():
    result = pei.contribution(made_trace())
    assert isinstance(result, Result)
    arrays = result.arrays()
    assert arrays["omega2"].shape == arrays["omega2_null"].shape == (3,)
    assert arrays["lambda"].shape == (1, 2)
    assert arrays["position_maps"].shape == (3, 12, 4)
    assert arrays["causal_names"].tolist() == ["zero"]
    assert arrays["causal_cls_cosine"].shape == arrays["causal_patch_cosine"].shape == (1, 3)
    assert list(result.to_frame()["place"]) == ["h0", "h1", "final"]
    assert result.summary()["cls_cosine_zero"] == 0.5


def test_mean_colour_is_like_its_own_map():
    trace = traced(planted(1.0))
    own = tuple(sums.mean for sums in trace.states["base"])
    result = pei.contribution(replace(trace, mean_colour=own))
    np.testing.assert_allclose(result.mean_colour_cka, 1, atol=1e-9)


def test_a_trace_without_a_base_run_is_refused():
    with pytest.raises(UsageError, match="holds no base run"):
        pei.contribution(replace(made_trace(), states={}))
