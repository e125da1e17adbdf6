"""How tables join, each against its definition; and what they cost."""

from __future__ import annotations

import pytest
import timm.models.deit
import timm.models.vision_transformer
import torch
from closeness import assert_close

from pe_inspect.models import ViTConfig
from pe_inspect.models.vit import VisionTransformer

SCHH = {
    "img_size": (32, 32),
    "patch_size": (4, 4),
    "num_classes": 10,
    "embed_dim": 128,
    "depth": 6,
    "num_heads": 4,
    "mlp_ratio": 2.0,
    "ln_eps": 1e-5,
    "no_embed_class": True,
}


@pytest.mark.parametrize(
    ("scheme", "count"),
    [
        ("none", 802_826),
        ("learned", 811_018),
        ("sincos2d", 802_826),
        ("relative", 805_130),
        ("rope_axial", 802_826),
    ],
)
def test_schhs_five_kinds_have_the_parameters_of_its_own(scheme: str, count: int) -> None:
    config = ViTConfig(scheme=scheme, **SCHH)
    with torch.device("meta"):
        model = VisionTransformer(config)
    assert config.num_parameters == sum(p.numel() for p in model.parameters()) == count


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({"join": "input"}, 37_824),
        ({"join": "lape"}, 37_824 + 4_608),
        ({"join": "unshare"}, 453_888),
        ({"join": "share"}, 37_824),
        ({"scheme": "rel_bias_2d"}, 26_244),
        ({"scheme": "peg"}, 1_728 + 192),
    ],
)
def test_deit_tiny_pays_for_positions_what_the_papers_say(changes: dict, count: int) -> None:
    assert ViTConfig(**changes).num_position_parameters == count


@torch.no_grad()
def test_every_join_is_its_definition(vit, images) -> None:
    for join in ("input", "share", "unshare", "lape", "pvg", "mpvg"):
        model = vit(join=join, depth=3)
        assert_close(model(images()), by_definition(model, join, images()), operations=32)


def by_definition(model: VisionTransformer, join: str, picture: torch.Tensor) -> torch.Tensor:
    x = torch.cat((model.cls_token.expand(2, 1, 24), model.patch_embed(picture)), dim=1)
    if join in ("input", "pvg", "mpvg"):
        x = x + model.pos_embed
    omega = None if join == "unshare" else model.pos_embed
    for i, block in enumerate(model.blocks):
        if join == "share":
            x = x + model.pos_embed
        if join == "unshare":
            x = x + getattr(model, f"pos_embed{i}")
        if join == "lape" or (join in ("pvg", "mpvg") and i > 0):
            omega = block.pe_norm(omega)
            x = x + block.attn(block.norm1(x) + omega)
        else:
            assert block.pe_norm is None
            x = x + block.attn(block.norm1(x))
        x = x + block.mlp(block.norm2(x))
    x = model.norm(x)
    if join == "mpvg":
        x = x + model.pe_norm(model.pos_embed)
    return model.head(x[:, 0])


@torch.no_grad()
def test_a_table_without_prefix_rows_leaves_the_prefix_alone(vit, images) -> None:
    model = vit(join="lape", no_embed_class=True, reg_tokens=2)
    for omega in model.joined_positions():
        assert omega.shape == (1, 15, 24)
        assert not omega[:, :3].any()
        assert omega[:, 3:].any()


@pytest.mark.parametrize(
    "tokens",
    [
        {"reg_tokens": 2},
        {"no_embed_class": True, "reg_tokens": 2},
        {"class_token": False, "global_pool": "avg", "fc_norm": False},
        {"init_values": 0.5},
    ],
)
@torch.no_grad()
def test_tokens_and_pooling_are_those_of_timm(tokens: dict, vit, images) -> None:
    shared = {k: v for k, v in tokens.items() if k != "fc_norm"}
    ours = vit(**shared)
    shape = {k: getattr(ours.config, k) for k in ("img_size", "patch_size", "num_classes")}
    theirs = timm.models.vision_transformer.VisionTransformer(
        embed_dim=24, depth=2, num_heads=3, mlp_ratio=2.0, **shape, **tokens
    ).eval()
    theirs.load_state_dict(ours.state_dict())
    assert_close(ours(images()), theirs(images()), operations=32)


@torch.no_grad()
def test_a_distilled_model_is_timms_and_averages_its_heads(vit, images) -> None:
    ours = vit(distilled=True)
    theirs = timm.models.deit.VisionTransformerDistilled(
        img_size=(12, 32), patch_size=(4, 8), embed_dim=24, depth=2, num_heads=3, mlp_ratio=2.0,
        num_classes=5,
    ).eval()  # fmt: skip
    theirs.load_state_dict(ours.state_dict())
    own, distilled = ours.head_logits(images())
    torch.testing.assert_close(ours(images()), (own + distilled) / 2)
    assert_close(ours(images()), theirs(images()), operations=32)


@torch.no_grad()
def test_drop_rates_act_in_training_only(vit, images) -> None:
    rates = {"pos_drop_rate": 0.3, "proj_drop_rate": 0.3, "attn_drop_rate": 0.3}
    for more in ({"scheme": "relative"}, {"scheme": "rope_axial", "drop_path_rate": 0.9}):
        plain, dropping = vit(**more | {"drop_path_rate": 0.0}), vit(**rates, **more)
        torch.testing.assert_close(dropping(images()), plain(images()), atol=0, rtol=0)
        dropping.train()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            assert not torch.allclose(dropping(images()), plain(images()))
