"""Stable Diffusion 3's stored table against diffusers' own object, where that is installed."""

from __future__ import annotations

import pytest
import torch
from closeness import assert_close

import pe_inspect as pei

embeddings = pytest.importorskip("diffusers.models.embeddings")

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("grid", [(5, 8), (6, 3)])
def test_sd3_s_table_is_cut_from_the_middle(grid):
    own = embeddings.PatchEmbed(
        height=16, width=16, patch_size=2, embed_dim=16, pos_embed_max_size=12
    )
    torch.nn.init.normal_(own.pos_embed)
    state = {
        "pos_embed.pos_embed": own.pos_embed,
        "pos_embed.proj.weight": own.proj.weight.detach(),
        "transformer_blocks.0.attn.to_q.weight": torch.randn(16, 16),
    }
    checkpoint = pei.Checkpoint.from_state_dict(
        state, source="sd3", hints=pei.Hints(grid_size=(12, 12), num_prefix_tokens=0)
    )
    checkpoint.metadata["config"] = {"_class_name": "SD3Transformer2DModel"}
    (pe,) = pei.extract(checkpoint)

    result = pei.interpolate(pe, grid=grid)

    theirs = own.cropped_pos_embed(2 * grid[0], 2 * grid[1])[0].numpy()
    assert (result.native, result.origin.is_known) == ("sd3", True)
    assert_close(result.values()[0], theirs)
