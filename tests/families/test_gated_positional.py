"""ConViT's positional attention: timm's on its square grid, a loop's on others."""

from __future__ import annotations

import re

import numpy as np
import pytest
import timm
import torch
from closeness import assert_close
from timm.models.convit import GPSA

from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families import extract


def gpsa(heads=4, seed=0):
    torch.manual_seed(seed)
    module = GPSA(8, num_heads=heads).eval()
    torch.nn.init.normal_(module.pos_proj.weight)
    torch.nn.init.normal_(module.gating_param)
    return module


def under(module, block=0):
    return {f"blocks.{block}.attn.{key}": value for key, value in module.state_dict().items()}


def test_on_a_square_grid_it_is_timm_s(make):
    module = gpsa()

    (pe,) = extract(make.checkpoint(under(module), grid_size=(5, 5)))

    scores = module.pos_proj(module.get_rel_indices(25)).permute(0, 3, 1, 2)
    assert (pe.family, pe.kind, pe.join) == ("gated_positional", "function", "layer")
    assert (pe.num_heads, pe.num_prefix_rows) == (4, 0)
    assert_close(pe.tables[0].values, scores.softmax(-1)[0].detach().numpy())


def test_on_another_grid_it_is_the_paper_s(make):
    module = gpsa(heads=2)
    weight, bias = (p.detach().numpy() for p in (module.pos_proj.weight, module.pos_proj.bias))

    (pe,) = extract(make.checkpoint(under(module), grid_size=(3, 4)))

    for head in range(2):
        for query, (y, x) in enumerate(np.ndindex(3, 4)):
            offsets = [(b - x, a - y) for a, b in np.ndindex(3, 4)]
            scores = [weight[head] @ (i, j, i * i + j * j) + bias[head] for i, j in offsets]
            shares = np.exp(scores) / np.exp(scores).sum()
            assert_close(pe.tables[0].values[head, query], shares)


def test_the_gates_are_noted_as_shares(make):
    module = gpsa()

    (pe,) = extract(make.checkpoint(under(module), grid_size=(3, 4)))

    share = torch.sigmoid(module.gating_param).mean().item()
    assert any(note.endswith(f"mean over heads: blocks.0 {share:.2f}") for note in pe.notes)
    assert pe.num_parameters == 4 * 3 + 4 + 4


def test_convit_has_a_table_too_and_its_grid_is_taken(make):
    model = timm.create_model("convit_tiny", img_size=96)

    table, pe = extract(make.checkpoint(model.state_dict()))

    assert (table.family, pe.family) == ("learned_absolute", "gated_positional")
    assert (pe.grid_size, pe.num_prefix_tokens, len(pe.tables)) == ((6, 6), 1, 10)
    assert "grid 6×6 as in pos_embed" in pe.notes
    expected = model.blocks[9].attn
    scores = expected.pos_proj(expected.get_rel_indices(36)).permute(0, 3, 1, 2).softmax(-1)
    assert_close(pe.tables[9].values, scores[0].detach().numpy())


def test_without_a_grid_it_is_refused(make):
    message = "says no grid. Pass --grid-size HxW (14x14 for 224 px at patch 16)."
    with pytest.raises(AmbiguousCheckpoint, match=re.escape(message)):
        extract(make.checkpoint(under(gpsa())))


def test_a_block_without_its_gate_is_half_a_file(make):
    state = under(gpsa())
    del state["blocks.0.attn.gating_param"]

    with pytest.raises(
        AmbiguousCheckpoint, match=r"has no blocks\.0\.attn\.gating_param beside it"
    ):
        extract(make.checkpoint(state, grid_size=(3, 4)))
