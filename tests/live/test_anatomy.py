"""The parts of a live model, and what its attention receives, whatever library built it."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from pe_inspect.families import extract
from pe_inspect.live.anatomy import anatomy_of
from pe_inspect.live.host import Host, host_of
from pe_inspect.live.interception import listening


def heard(run):
    found = []
    with listening(found.append), torch.no_grad():
        run()
    return found


def timm_vit(name="vit_tiny_patch16_224", **changes):
    torch.manual_seed(0)
    arguments = {"img_size": (48, 80), "depth": 2, "num_classes": 0, **changes}
    return timm.create_model(name, **arguments).eval()


@pytest.mark.parametrize(
    ("scheme", "join"), [("learned", "lape"), ("rope_axial", "layer"), ("relative", "layer")]
)
def test_our_own_blocks_are_found_with_their_norms(lively, as_checkpoint, scheme, join):
    model = lively(scheme, join)
    tables = extract(as_checkpoint(model), with_sha256=False)
    host = host_of(model, tables)
    assert isinstance(host, Host)
    blocks = list(model.each_block())
    assert [part.block for part in host.anatomy.blocks] == blocks
    assert [part.norm for part in host.anatomy.blocks] == [block.norm1 for block in blocks]
    assert [part.attention for part in host.anatomy.blocks] == [block.attn for block in blocks]
    names = [part.name for part in host.anatomy.blocks]
    assert names == [f"blocks.{i}" for i in range(len(blocks))]
    assert host.anatomy.final_norm is model.norm
    assert (host.library, host.grid_size, host.num_prefix_tokens) == ("native", (3, 5), 2)
    assert host.has_cls


def test_windows_and_stages_have_their_grids():
    torch.manual_seed(0)
    model = timm.create_model(
        "swin_tiny_patch4_window7_224", img_size=(56, 112), window_size=7, num_classes=0,
        depths=(2, 2), num_heads=(2, 4), embed_dim=16,
    ).eval()  # fmt: skip
    found = anatomy_of(model, lambda: model(torch.zeros(1, 3, 56, 112)))
    assert [part.grid_size for part in found.blocks] == [(14, 28), (14, 28), (7, 14), (7, 14)]
    assert found.blocks[2].path == "layers.1.blocks.0"
    assert found.final_norm is model.norm


@pytest.mark.parametrize("is_fused", [True, False])
def test_what_attention_receives_gives_timms_own_weights(is_fused):
    model = timm_vit(qk_norm=True)
    for block in model.blocks:
        block.attn.fused_attn = is_fused
    images = torch.randn(2, 3, 48, 80)
    calls = heard(lambda: model(images))
    assert len(calls) == 2
    with torch.no_grad():
        x = model.blocks[0].norm1(model._pos_embed(model.patch_embed(images)))
        attention = model.blocks[0].attn
        q, k, _ = attention.qkv(x).reshape(2, 16, 3, 3, 64).permute(2, 0, 3, 1, 4)
        q, k = attention.q_norm(q), attention.k_norm(k)
        expected = (q * 64**-0.5 @ k.transpose(-2, -1)).softmax(dim=-1)
    torch.testing.assert_close(calls[0].logits().softmax(-1), expected, rtol=0, atol=1e-6)


def test_listening_leaves_torch_and_the_model_as_they_were():
    model, images = timm_vit(), torch.randn(1, 3, 48, 80)
    own = (nn.functional.scaled_dot_product_attention, torch.softmax, torch.Tensor.softmax)
    before = model(images)
    heard(lambda: model(images))
    after = (nn.functional.scaled_dot_product_attention, torch.softmax, torch.Tensor.softmax)
    assert own == after
    assert torch.equal(model(images), before)


def test_torchs_own_attention_is_heard_too():
    attention = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    x = torch.randn(3, 5, 8)
    with torch.no_grad():
        _, expected = attention(x, x, x, average_attn_weights=False)
    calls = heard(lambda: attention(x, x, x, need_weights=False))
    assert [call.shape for call in calls] == [(3, 2, 5, 5)]
    torch.testing.assert_close(calls[0].logits().softmax(-1), expected, rtol=0, atol=1e-6)


def test_masks_and_shared_keys_are_taken_as_they_are():
    q, k = torch.randn(2, 4, 5, 8), torch.randn(2, 2, 5, 8)
    allowed = torch.ones(5, 5, dtype=torch.bool).tril()
    calls = heard(
        lambda: nn.functional.scaled_dot_product_attention(
            q, k, k, attn_mask=allowed, enable_gqa=True, scale=0.5
        )
    )
    weights = calls[0].logits().softmax(-1)
    assert weights[..., ~allowed].eq(0).all()
    expected = (0.5 * q[:, 3] @ k[:, 1].mT).masked_fill(~allowed, -torch.inf).softmax(-1)
    torch.testing.assert_close(weights[:, 3], expected)
    only = heard(lambda: nn.functional.scaled_dot_product_attention(q, q, q, is_causal=True))
    assert only[0].logits()[0, 0, 0, 1] == -torch.inf
