"""Tables of distances become the bias that each library's own module looks up."""

from __future__ import annotations

import re

import numpy as np
import pytest
import timm
import torch

from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families import extract


def randomised(model):
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    return model


def biases_of(model):
    """The bias of each of timm's attention modules, in the model's order."""
    found = {}
    for name, module in model.named_modules():
        if hasattr(module, "attention_bias_idxs"):
            found[name] = module.attention_biases.detach()[:, module.attention_bias_idxs].numpy()
    return found


def asking(grid):
    """Which patches ask where a block halves the grid: every second row and column."""
    rows, columns = np.indices(grid)
    return ((rows % 2 == 0) & (columns % 2 == 0)).ravel()


@pytest.mark.parametrize(
    ("name", "kwargs", "grids"),
    [
        (
            "levit_128s",
            {"img_size": (96, 160), "embed_dim": (16, 16, 16), "depth": (1, 1, 1)},
            ((6, 10), (3, 5), (2, 3)),
        ),
        ("efficientformer_l1", {}, ((7, 7),)),
        ("efficientformerv2_s0", {"img_size": (96, 160)}, ((3, 5), (6, 10))),
        (
            "tiny_vit_5m_224",
            {"window_sizes": (3, 5, 4, 3), "depths": (1, 1, 1, 1)},
            ((5, 5), (4, 4), (3, 3)),
        ),
        ("efficientvit_m0", {}, ((7, 7), (4, 4))),
    ],
)
def test_the_bias_is_timm_s(make, name, kwargs, grids):
    model = randomised(timm.create_model(name, **kwargs))
    hint = {"grid_size": (6, 10)} if "img_size" in kwargs else {}

    (pe,) = extract(make.checkpoint(make.shuffled(model.state_dict()), **hint))

    wanted = biases_of(model)
    assert (pe.family, pe.kind, pe.join) == ("distance_bias", "bias", "layer")
    assert set(pe.keys) == {f"{name}.attention_biases" for name in wanted}
    for key, layer in zip(pe.keys, pe.tables, strict=True):
        bias, values = wanted[key.removesuffix(".attention_biases")], layer.values
        if bias.shape[1] != bias.shape[2]:
            values = values[:, asking(layer.grid_size)]
        np.testing.assert_array_equal(values, bias, err_msg=key)
    assert tuple(dict.fromkeys(t.grid_size for t in pe.tables)) == grids


def test_layers_come_in_the_model_s_order_and_halving_ones_are_noted(make):
    model = timm.create_model("levit_128s", depth=(1, 2, 1))

    (pe,) = extract(make.checkpoint(make.shuffled(model.state_dict())))

    assert [table.layer for table in pe.tables] == [
        "stages.0.blocks.0",
        "stages.1.downsample",
        "stages.1.blocks.0",
        "stages.1.blocks.1",
        "stages.2.downsample",
        "stages.2.blocks.0",
    ]
    assert (
        "in stages.1.downsample, stages.2.downsample only every second row and column of patches "
        "asks; the bias is given for all of them"
    ) in pe.notes
    assert "the bias depends on distance alone: left is as right, and up as down" in pe.notes


def test_the_original_levit_keeps_a_rectangular_index(make):
    state = {
        "blocks.0.m.attention_biases": make.rand(2, 16),
        "blocks.0.m.attention_bias_idxs": np.zeros((16, 16), np.int64),
        "blocks.1.attention_biases": make.rand(2, 16, seed=1),
        "blocks.1.attention_bias_idxs": np.zeros((4, 16), np.int64),
    }

    (pe,) = extract(make.checkpoint(state))

    assert [table.layer for table in pe.tables] == ["blocks.0", "blocks.1"]
    assert any(note.startswith("in blocks.1 only every second row") for note in pe.notes)


def test_distances_that_are_no_square_ask_for_a_grid(make):
    state = {"stages.0.blocks.0.attn.attention_biases": make.rand(2, 12)}

    message = (
        "stages.0.blocks.0.attn.attention_biases has 12 distances, which are no square. Each of "
        "these fits: 3×4 (--grid-size 3x4); 4×3 (--grid-size 4x3); "
    )
    with pytest.raises(AmbiguousCheckpoint, match=re.escape(message)):
        extract(make.checkpoint(state))
    (pe,) = extract(make.checkpoint(state, grid_size=(4, 3)))
    assert pe.grid_size == (4, 3)


@pytest.mark.parametrize("shape", [(4,), (2, 3, 3), ()])
def test_another_shape_is_no_table_of_distances(make, shape):
    from pe_inspect.families.distance_bias import detect
    from pe_inspect.families.trunk import Trunk

    state = {"blocks.0.attn.attention_biases": make.unread(*shape), "x.weight": make.rand(2)}
    assert not detect(Trunk(make.checkpoint(state)))
