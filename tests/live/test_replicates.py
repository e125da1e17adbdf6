"""Intervals over images, light traces and controls: against the same drawn outright."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModel, models

import pe_inspect as pei
from pe_inspect.analysis.common.replicate_intervals import interval_of
from pe_inspect.analysis.contribution.variance import omega2_interval, shares_of
from pe_inspect.live.host import host_of
from pe_inspect.live.replicates import REPLICATES, weights_of
from pe_inspect.live.replicates import VarianceAccumulator as Variance
from pe_inspect.live.token_sums import TokenAccumulator
from pe_inspect.live.trace import trace

COUNT, RES = 6, (24, 40)


@pytest.fixture(scope="module")
def model():
    config = models.dinov2.Dinov2Config(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=48,
        image_size=32, patch_size=8,
    )  # fmt: skip
    random, made = torch.Generator().manual_seed(0), AutoModel.from_config(config)
    for parameter in made.parameters():
        parameter.data += torch.randn(parameter.shape, generator=random) * 0.15
    return made.eval()


@pytest.fixture(scope="module")
def images():
    return torch.randn(COUNT, 3, *RES, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def traced(model, images):
    return trace(model, images, res=RES, batch_size=4, untrained=True)


def test_weights_depend_on_the_image_and_not_on_the_batch():
    whole = weights_of(0, 5, 7)
    assert whole.shape == (REPLICATES, 5)
    assert torch.equal(whole[:, 3:], weights_of(3, 2, 7))
    assert float(whole.mean()) == pytest.approx(1, abs=0.2)


def test_the_interval_of_omega2_has_the_width_of_a_bootstrap_of_images():
    random = np.random.default_rng(0)
    strength = random.uniform(0, 2, (40, 1, 1))  # position matters more in some images
    x = strength * random.normal(size=(1, 6, 64)) + random.normal(size=(40, 6, 64))
    sums = TokenAccumulator("h0", (2, 3), Variance(0))
    for first in range(0, 40, 8):
        sums.add(torch.from_numpy(x[first : first + 8]), weights_of(first, 8, 0))
    low, high = omega2_interval(sums.sums(), 40)

    def omega2(chosen):
        again = TokenAccumulator("h0", (2, 3))
        again.add(torch.from_numpy(chosen))
        return shares_of(again.sums(), len(chosen)).omega2

    drawn = [omega2(x[random.integers(0, 40, 40)]) for _ in range(100)]
    expected = np.subtract(*np.quantile(drawn, (0.975, 0.025)))
    assert high - low == pytest.approx(expected, rel=0.5)
    assert low < omega2(x) < high


def test_an_interval_lies_about_its_value():
    low, high = interval_of(1.0, np.linspace(4, 6, 101))
    assert (low, high) == pytest.approx((0.05, 1.95), abs=1e-9)
    assert np.isnan(interval_of(1.0, None)).all()


def test_distances_and_probes_have_intervals(traced):
    heads = pei.attention(traced).heads
    assert all(h.distance_low <= h.distance_renormalised <= h.distance_high for h in heads)
    probe = pei.probe(traced)
    assert probe.r2_interval.shape == (4, 2, 2)
    ends = probe.r2_interval
    assert ((ends[..., 0] <= probe.r2) & (probe.r2 <= ends[..., 1])).all()


def test_errors_of_images_sum_to_the_probes_r2(traced):
    """Of replicates with about every image once, R² is near the one of all images."""
    sums = traced.folds["base"][1]
    assert np.nanmedian(sums.r2_replicates[:, 0]) == pytest.approx(
        pei.probe(traced).r2[1, 0], abs=0.35
    )


def test_an_untrained_model_stands_beside(traced):
    fresh = traced.untrained
    assert fresh.runs == ("base",)
    assert fresh.images.sha256 == traced.images.sha256
    assert np.isfinite(pei.contribution(traced).omega2_untrained).all()
    assert np.isfinite(pei.probe(traced).r2_untrained).all()
    assert "untrained" in traced.runs


def test_a_light_trace_has_the_same_distances_and_profiles(model, images, traced):
    light = trace(model, images, res=RES, batch_size=4, questions=["attention"], light=True)
    for one, other in zip(traced.attention, light.attention, strict=True):
        np.testing.assert_allclose(one.distance_raw, other.distance_raw, rtol=1e-5)
        np.testing.assert_allclose(one.offset_profile, other.offset_profile, atol=1e-6)
        assert other.logits is None
        assert np.isnan(other.entropy_of_mean).all()
    assert np.isnan([head.position_nats for head in pei.attention(light).heads]).all()


def test_without_an_image_attention_is_that_of_normed_positions(model, traced):
    """LN(ω) W_q W_kᵀ LN(ω)ᵀ, written out for one head of the first block."""
    first, block = traced.position_attention[0], host_of(model, ()).anatomy.blocks[0]
    with torch.no_grad():
        table = model.embeddings.interpolate_pos_encoding(torch.zeros(1, 16, 24), *RES)[0, 1:]
        normed = block.norm(table)
        linear = [m for m in block.block.modules() if isinstance(m, torch.nn.Linear)]
        query, key = (each.weight for each in linear[:2])
        q, k = (normed @ weight.T for weight in (query, key))
        maps = (q[:, 8:16] @ k[:, 8:16].T / 8**0.5).softmax(-1).double().numpy()
    rows, columns = np.divmod(np.arange(15), 5)
    apart = np.hypot(rows[:, None] - rows, columns[:, None] - columns)
    assert first.distance_raw[1] == pytest.approx((maps * apart).sum(-1).mean(), abs=1e-4)
    assert first.offset_profile[1, 2, 5] == pytest.approx(
        np.mean([maps[i, i + 1] for i in range(15) if i % 5 < 4]), abs=1e-4
    )


def test_zero_patches_leave_positions_alone(model, traced):
    table = model.embeddings.interpolate_pos_encoding(torch.zeros(1, 16, 24), *RES)[0, 1:]
    np.testing.assert_allclose(traced.zero_patch[0][1:], table.detach().numpy(), atol=1e-5)
