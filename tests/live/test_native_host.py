"""Positions inside our own ViT: put in, scaled, shuffled and removed, for every scheme."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from closeness import assert_close

from pe_inspect.analysis.interpolate import interpolate
from pe_inspect.evaluation.images import permute_patches
from pe_inspect.families import extract
from pe_inspect.live.change import Change, NotApplicable
from pe_inspect.live.host import host_of
from pe_inspect.models.config import SCHEMES

PAIRS = [(s, j) for s, joins in SCHEMES.items() for j in joins if s != "none"]
HELD = [pair for pair in PAIRS if pair[0] != "peg"]
WITH_TABLES = [p for p in PAIRS if p[0] not in ("relative", "peg", "fourier", "rel_bias_mlp")]
OWN = (12, 20)
SEED = 3


@pytest.fixture
def hosted(lively, as_checkpoint):
    """A function from scheme and join to (model, host, its embeddings)."""

    def make(scheme, join, **changes):
        model = lively(scheme, join, **changes)
        tables = extract(as_checkpoint(model), with_sha256=False)
        return model, host_of(model, tables), tables

    return make


def images(height=12, width=20):
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def logits(model, under=None, size=OWN):
    with under or nullcontext():
        return model(images(*size))


@pytest.mark.parametrize(("scheme", "join"), WITH_TABLES)
def test_the_arrays_of_the_file_put_into_the_model_change_nothing(hosted, scheme, join):
    model, host, tables = hosted(scheme, join)
    same = interpolate(tables[0], grid=(3, 5), method="native")
    torch.testing.assert_close(
        logits(model, host.put(same.pe, same.embedding("native"))), logits(model)
    )
    assert vars(model).keys() == vars(hosted(scheme, join)[0]).keys()


@pytest.mark.parametrize(
    ("scheme", "join", "method"),
    [("learned", join, "timm") for join in SCHEMES["learned"]]
    + [("rel_bias_2d", "layer", "swin"), ("rope_axial", "layer", "extrapolate"),
       ("rope_mixed", "layer", "extrapolate")],
)  # fmt: skip
@pytest.mark.parametrize("grid", [(5, 4), (2, 7)])
def test_a_librarys_rule_put_in_gives_the_logits_of_the_models_own(
    hosted, scheme, join, method, grid
):
    model, host, tables = hosted(scheme, join)
    size = (4 * grid[0], 4 * grid[1])
    found = interpolate(tables[0], grid=host.at(size).grid_of(tables[0]), method=method)
    put = logits(model, host.put(found.pe, found.embedding(method)), size)
    torch.testing.assert_close(put, logits(model, size=size), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("scheme", "join"), PAIRS)
def test_a_factor_of_one_changes_nothing_and_one_of_a_half_does(hosted, scheme, join):
    model, host, _ = hosted(scheme, join)
    own = logits(model)
    assert_close(logits(model, host.change(Change(1.0))), own, operations=32)
    assert (logits(model, host.change(Change(0.5))) - own).abs().max() > 1e-4
    assert torch.equal(logits(model), own)


@pytest.mark.parametrize(("scheme", "join"), HELD)
def test_shuffled_positions_are_patches_that_trade_places(hosted, scheme, join):
    """Attention sees a set: telling patch i that it is at π(i) is moving it there."""
    model, host, _ = hosted(scheme, join)
    order = torch.from_numpy(np.random.default_rng(SEED).permutation(15))
    moved = permute_patches(images(), (4, 4), order.argsort().expand(2, -1))
    with torch.no_grad():
        expected = model(moved)
    shuffled = logits(model, host.change(Change(seed=SEED)))
    torch.testing.assert_close(shuffled, expected, rtol=1e-4, atol=1e-4)
    assert (shuffled - logits(model)).abs().max() > 1e-3


@pytest.mark.parametrize(("scheme", "join"), HELD)
def test_without_positions_the_patches_are_a_set(hosted, scheme, join):
    model, host, _ = hosted(scheme, join, reg_tokens=0, no_embed_class=True)
    turned = permute_patches(images(), (4, 4), torch.arange(15).flip(0).expand(2, -1))
    with torch.no_grad(), host.change(Change(0.0)):
        torch.testing.assert_close(model(turned), model(images()), rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        assert (model(turned) - model(images())).abs().max() > 1e-3


def scaled_weights(model, names, alpha):
    """The four-line oracle: the same model with those weights multiplied."""
    state = {
        key: value * alpha if any(key.endswith(name) for name in names) else value
        for key, value in model.state_dict().items()
    }
    model.load_state_dict(state)
    return model


@pytest.mark.parametrize(
    ("scheme", "join", "names"),
    [
        ("learned", "input", ["pos_embed"]),
        ("learned", "share", ["pos_embed"]),
        ("learned", "unshare", ["pos_embed0", "pos_embed1"]),
        ("sincos2d", "input", ["pos_embed"]),
        ("fourier", "input", ["token_projection.weight", "token_projection.bias"]),
        ("rel_bias_1d", "layer", ["relative_position_bias_table"]),
        ("rel_bias_2d", "layer", ["relative_position_bias_table"]),
        ("rel_bias_2d", "lape", ["attn.pe_norm.weight", "attn.pe_norm.bias"]),
        ("rope_mixed", "layer", ["rope.freqs"]),
        ("peg", "layer", ["pos_block.0.proj.0.weight", "pos_block.0.proj.0.bias"]),
    ],
)
def test_scaling_is_what_scaling_the_weights_would_be(hosted, lively, scheme, join, names):
    shape = {"reg_tokens": 0, "no_embed_class": True}
    model, host, _ = hosted(scheme, join, **shape)
    expected = scaled_weights(lively(scheme, join, **shape), names, 0.5)
    got = logits(model, host.change(Change(0.5)))
    torch.testing.assert_close(got, logits(expected), rtol=1e-4, atol=1e-4)


def test_fixed_rotations_are_scaled_as_angles(hosted, lively):
    model, host, tables = hosted("rope_axial", "layer")
    slow = lively("rope_axial", "layer")
    angles = torch.from_numpy(np.array(tables[0].tables[0].values[0])).repeat_interleave(2, dim=1)
    slow.rope.freqs_cos.copy_((angles / 2).cos())
    slow.rope.freqs_sin.copy_((angles / 2).sin())
    got = logits(model, host.change(Change(0.5)))
    torch.testing.assert_close(got, logits(slow), rtol=1e-4, atol=1e-4)


def test_relative_vectors_are_scaled_but_for_the_row_of_prefix_tokens(hosted, lively):
    model, host, _ = hosted("relative", "layer")
    smaller = lively("relative", "layer")
    for name, parameter in smaller.named_parameters():
        if "_relative_embedding_table" in name:
            parameter.data[1:] *= 0.5
    torch.testing.assert_close(logits(model, host.change(Change(0.5))), logits(smaller))


@pytest.mark.parametrize("join", ["lape", "pvg"])
def test_under_lape_what_each_block_adds_is_scaled_and_not_the_table(hosted, join):
    """The norm would undo a factor on the table; prefix rows keep theirs."""
    model, host, _ = hosted("learned", join)
    own = model.joined_positions()
    added = []
    with host.change(Change(0.5)):
        added = model.joined_positions()
    for before, after in zip(own, added):
        if before is not None:
            torch.testing.assert_close(after[:, 2:], before[:, 2:] / 2)
            torch.testing.assert_close(after[:, :2], before[:, :2])


def test_a_convolution_has_nothing_to_shuffle(hosted):
    model, host, _ = hosted("peg", "layer")
    with pytest.raises(NotApplicable, match="--permute-patches shuffles that arrangement"):
        logits(model, host.change(Change(seed=0)))


def test_a_model_without_positions_has_nothing_to_change(lively):
    model = lively("none")
    with pytest.raises(NotApplicable, match="this model has no position embedding"):
        logits(model, host_of(model, ()).change(Change(0.0)))


@pytest.mark.parametrize("scheme", ["rel_bias_1d", "rel_bias_2d"])
def test_lapes_norm_over_a_bias_stays_at_its_own_size(hosted, scheme):
    _, host, _ = hosted(scheme, "lape")
    assert host.at(OWN).res == OWN
    with pytest.raises(NotApplicable, match="one feature a patch of the model's own grid"):
        host.at((20, 12))
