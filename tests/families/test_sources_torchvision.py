"""torchvision's state dicts: what is read equals what the library's own object computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from closeness import assert_close
from torchvision.models import MaxVit, SwinTransformer, VisionTransformer
from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformerBlockV2

from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families import extract
from pe_inspect.loading import Hints, load

SWIN = {
    "patch_size": [4, 4],
    "embed_dim": 8,
    "depths": [2, 1],
    "num_heads": [2, 4],
    "window_size": [3, 4],
    "num_classes": 5,
}


def built(kind, **options):
    torch.manual_seed(0)
    model = kind(**options)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


@pytest.fixture
def read(tmp_path):
    def saved_and_read(model, **hints):
        torch.save(model.state_dict(), tmp_path / "x.pth")
        return extract(load(tmp_path / "x.pth", hints=Hints(**hints)))

    return saved_and_read


def eps_of(model, pe):
    """The eps that the library's norms of the same weights have."""
    norms = {
        m.weight.detach().numpy().tobytes(): m.eps
        for m in model.modules()
        if isinstance(m, torch.nn.LayerNorm)
    }
    return [norms[norm.weight.tobytes()] for norm in pe.norms]


def test_a_vit_s_table_and_norms_are_its_own(read):
    model = built(
        VisionTransformer, image_size=80, patch_size=16, num_layers=2, num_heads=2, hidden_dim=24,
        mlp_dim=32, num_classes=5,
    )  # fmt: skip

    (pe,) = read(model)

    assert (pe.grid_size, pe.num_prefix_rows, pe.num_prefix_tokens) == ((5, 5), 1, 1)
    assert np.array_equal(pe.tables[0].values, model.encoder.pos_embedding[0].detach().numpy())
    names = ["blocks.0.norm1", "blocks.0.norm2", "blocks.1.norm1", "blocks.1.norm2", "norm"]
    assert [norm.path for norm in pe.norms] == names
    assert [norm.eps for norm in pe.norms] == eps_of(model, pe)


def test_swin_s_biases_of_a_window_that_is_no_square_are_its_own(read):
    model = built(SwinTransformer, **SWIN)

    (pe,) = read(model)

    assert (pe.family, pe.grid_size) == ("relative_bias", (3, 4))
    blocks = [m for m in model.modules() if hasattr(m, "get_relative_position_bias")]
    for layer, block in zip(pe.tables, blocks, strict=True):
        theirs = block.get_relative_position_bias()[0].detach().numpy()
        assert_close(layer.values, theirs)
    assert [norm.eps for norm in pe.norms] == eps_of(model, pe)


def test_swin_v2_s_window_is_read_from_its_persisted_coordinates(read):
    model = built(
        SwinTransformer, **SWIN, block=SwinTransformerBlockV2, downsample_layer=PatchMergingV2
    )

    (pe,) = read(model)

    assert (pe.family, pe.grid_size) == ("bias_network", (3, 4))
    blocks = [m for m in model.modules() if hasattr(m, "get_relative_position_bias")]
    for layer, block in zip(pe.tables, blocks, strict=True):
        theirs = block.get_relative_position_bias()[0].detach().numpy()
        assert_close(layer.values, theirs, operations=32)


def test_maxvit_has_a_bias_for_windows_and_one_for_grids(read):
    model = built(
        MaxVit, input_size=(56, 56), stem_channels=8, partition_size=7, block_channels=[8, 16],
        block_layers=[1, 2], head_dim=8, stochastic_depth_prob=0.0, num_classes=5,
    )  # fmt: skip

    (pe,) = read(model)

    assert (pe.family, pe.grid_size, len(pe.tables)) == ("relative_bias", (7, 7), 6)
    modules = [m for m in model.modules() if hasattr(m, "get_relative_positional_bias")]
    for layer, module in zip(pe.tables, modules, strict=True):
        theirs = module.get_relative_positional_bias()[0].detach().numpy()
        assert_close(layer.values, theirs)


def test_a_table_without_a_square_reading_lists_them(read):
    model = built(
        VisionTransformer, image_size=64, patch_size=16, num_layers=1, num_heads=2, hidden_dim=24,
        mlp_dim=32, num_classes=5,
    )  # fmt: skip
    model.encoder.pos_embedding = torch.nn.Parameter(torch.zeros(1, 13, 24))

    with pytest.raises(AmbiguousCheckpoint, match="13 rows: 1 prefix \\+ 3×4, 4×3"):
        read(model)
    (pe,) = read(model, grid_size=(3, 4))
    assert pe.grid_size == (3, 4)
