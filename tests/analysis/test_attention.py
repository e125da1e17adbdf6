"""Which heads attend by position: on planted sums, whose answers are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_traces import made_trace

import pe_inspect as pei
from pe_inspect.analysis import Result
from pe_inspect.errors import UsageError
from pe_inspect.live.attention_sums import AttentionAccumulator
from pe_inspect.live.interception import Attended

torch = pytest.importorskip("torch")
GRID = (3, 5)


def summed(attention, prefix=1):
    """Sum attention maps (images, heads, tokens, tokens) as a block's."""
    sums = AttentionAccumulator("blocks.0", GRID, prefix, has_cls=prefix > 0, is_window=False)
    logits = torch.from_numpy(attention).clamp_min(1e-30).log()
    for part in logits.split(2):
        sums.add(Attended(None, None, None, 1.0, part))
    return sums.sums()


def answered(attention, prefix=1, patch=4):
    sums = summed(attention, prefix)
    trace = replace(
        made_trace(), attention=(sums,), grid_size=GRID, patch_size=(patch, patch), normed=()
    )
    return pei.attention(trace)


def looking(dy, dx):
    """Attention of every patch to the neighbour (dy, dx), to itself at the border."""
    weights = np.full((15, 15), 1e-4)
    for query in range(15):
        row, column = query // 5 + dy, query % 5 + dx
        is_inside = 0 <= row < 3 and 0 <= column < 5
        weights[query, row * 5 + column if is_inside else query] = 1
    return with_cls(weights / weights.sum(-1, keepdims=True))


def with_cls(patches, share=0.25):
    whole = np.zeros((16, 16))
    whole[1:, 1:], whole[1:, 0] = patches * (1 - share), share
    whole[0] = 1 / 16
    return whole


def test_a_head_that_looks_at_one_neighbour_is_found_as_such():
    maps = np.stack([looking(0, 1), looking(-1, 0), with_cls(np.full((15, 15), 1 / 15))])
    result = answered(np.stack([maps] * 3))
    right, up, uniform = result.heads
    assert [head.word for head in result.heads] == ["offset", "offset", ""]
    assert (right.top_dy, right.top_dx) == (0, 1)
    assert up.neighbour == (-1, 0)
    assert right.top_attention == pytest.approx(1, abs=2e-3)
    assert right.offset_share > 0.8
    assert uniform.distance_of_uniform == pytest.approx(1, abs=1e-5)
    assert uniform.position_nats == pytest.approx(0, abs=1e-6)
    assert "2 of 3 heads look mostly at one neighbour: blocks.0 head" in result.finding
    assert "right (1.00)" in result.finding


def test_the_budget_sums_to_the_logarithm_of_the_patches():
    random = np.random.default_rng(0)
    maps = random.dirichlet(np.ones(16), size=(6, 2, 16))
    for head in answered(maps).heads:
        assert head.position_nats + head.content_nats + head.spread_nats == pytest.approx(
            np.log(15), abs=1e-12
        )
        assert 0 < head.content_nats <= np.log(6)


def test_uniform_attention_is_as_far_as_its_definition_says():
    """On 14×14 patches of 16 pixels: 116.4922 px; .469 of it strictly above on 16×16."""
    rows, columns = np.divmod(np.arange(196), 14)
    sums = AttentionAccumulator("blocks.0", (14, 14), 0, has_cls=False, is_window=False)
    sums.add(Attended(None, None, None, 1.0, torch.zeros(1, 1, 196, 196)))
    trace = replace(
        made_trace(), attention=(sums.sums(),), grid_size=(14, 14), patch_size=(16, 16), normed=()
    )
    [head] = pei.attention(trace).heads
    assert head.distance_pixels == pytest.approx(116.4922, abs=1e-3)
    assert rows.max() == columns.max() == 13
    assert head.up == pytest.approx((1 - 1 / 14) / 2, abs=1e-6)
    assert head.near == pytest.approx((3 * 12 + 4) ** 2 / 196**2, abs=1e-6)


def test_prefix_keys_count_in_one_convention_and_not_in_the_other():
    [head] = answered(np.stack([looking(0, 1)[None]])).heads
    assert head.prefix_share == pytest.approx(0.25, abs=1e-6)
    assert head.distance_raw == pytest.approx(0.75 * head.distance_renormalised, rel=1e-5)
    assert head.entropy_all_keys > head.entropy_renormalised


def test_a_half_plane_head_is_no_offset_head():
    below = np.triu(np.ones((15, 15)))
    below /= below.sum(-1, keepdims=True)
    [head] = answered(np.stack([with_cls(below)[None]])).heads
    assert head.word == ("half-plane" if max(head.down, head.right) >= 0.75 else "")
    assert head.down > head.up


def test_its_arrays_table_and_summary_hold_every_head():
    result = answered(np.stack([np.stack([looking(0, 1), looking(1, 0)])] * 2))
    assert isinstance(result, Result)
    arrays = result.arrays()
    assert arrays["distance_raw"].shape == (1, 2)
    assert arrays["offset_profile"].shape == (1, 2, 5, 9)
    assert arrays["cls_map"].shape == (1, 2, 15)
    assert list(result.to_frame()["head"]) == [0, 1]
    assert result.summary()["num_offset_heads"] == 2
    assert result.notes[-1] == "content is at most ln 5 nats: few images flatter position"


def test_logit_shares_are_terms_over_the_square():
    result = pei.attention(replace(made_trace(), grid_size=(3, 4)))
    assert result.arrays()["logit_share"].shape == (1, 2, 3, 3)
    logits = result.blocks[0].logits
    np.testing.assert_allclose(result.logit_share_block[0], logits.terms.sum(0) / 2)


def test_a_trace_without_attention_is_refused():
    with pytest.raises(UsageError, match="holds no attention"):
        pei.attention(replace(made_trace(), attention=()))
