from __future__ import annotations

import pytest
import timm.models.vision_transformer
import torch
from closeness import assert_close
from torch.nn import functional

from pe_inspect.errors import UsageError
from pe_inspect.models import ViTConfig
from pe_inspect.models.vit import VisionTransformer

SHAPE = {
    "img_size": (12, 32),
    "patch_size": (4, 8),
    "num_classes": 5,
    "embed_dim": 24,
    "depth": 2,
    "num_heads": 3,
    "mlp_ratio": 2.0,
}


def vit(**changes: object) -> VisionTransformer:
    torch.manual_seed(0)
    model = VisionTransformer(ViTConfig(**{**SHAPE, **changes})).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def images(*size: int) -> torch.Tensor:
    return torch.randn(2, *size, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_a_table_at_the_input_gives_the_logits_of_timm() -> None:
    ours = vit(join="input")
    theirs = timm.models.vision_transformer.VisionTransformer(**SHAPE).eval()
    theirs.load_state_dict(ours.state_dict())
    assert_close(ours(images(3, 12, 32)), theirs(images(3, 12, 32)), operations=32)


@torch.no_grad()
def test_lape_gives_each_block_its_own_norm_of_the_norm_before() -> None:
    model = vit(join="lape")
    omega, expected = model.pos_embed, []
    for i in range(2):
        norm = model.get_submodule(f"blocks.{i}.pe_norm")
        omega = functional.layer_norm(omega, (24,), norm.weight, norm.bias, eps=1e-6)
        expected.append(omega)
    for given, wanted in zip(model.joined_positions(), expected, strict=True):
        torch.testing.assert_close(given, wanted)
    from_the_table = functional.layer_norm(model.pos_embed, (24,), norm.weight, norm.bias, eps=1e-6)
    assert not torch.allclose(expected[1], from_the_table, atol=1e-2)


@torch.no_grad()
def test_lape_adds_positions_before_attention_and_never_to_the_residual_stream() -> None:
    model = vit(join="lape")
    x = torch.cat((model.cls_token.expand(2, 1, 24), model.patch_embed(images(3, 12, 32))), dim=1)
    for block, omega in zip(model.blocks, model.joined_positions()):
        x = x + block.attn(block.norm1(x) + omega)
        x = x + block.mlp(block.norm2(x))
    expected = model.head(model.norm(x)[:, 0])
    torch.testing.assert_close(model(images(3, 12, 32)), expected)


def test_the_keys_are_those_of_timm() -> None:
    keys = set(vit(join="lape").state_dict())
    theirs = set(timm.models.vision_transformer.VisionTransformer(**SHAPE).state_dict())
    norms = {f"blocks.{i}.pe_norm.{p}" for i in range(2) for p in ("weight", "bias")}
    assert keys == theirs | norms


@pytest.mark.parametrize(
    ("embed_dim", "num_heads", "extra"), [(192, 3, 4_608), (384, 6, 9_216), (768, 12, 18_432)]
)
def test_lape_costs_deit_what_the_paper_says(embed_dim: int, num_heads: int, extra: int) -> None:
    shapes = [
        ViTConfig(embed_dim=embed_dim, num_heads=num_heads, join=j) for j in ("input", "lape")
    ]
    with torch.device("meta"):
        counts = [sum(p.numel() for p in VisionTransformer(s).parameters()) for s in shapes]
    assert counts[1] - counts[0] == extra
    assert counts == [shape.num_parameters for shape in shapes]


def test_the_position_parameters_of_deit_tiny_are_the_papers() -> None:
    assert ViTConfig(join="input").num_position_parameters == 37_824
    assert ViTConfig(join="lape").num_position_parameters == 42_432


@pytest.mark.parametrize("join", ["input", "lape"])
def test_the_count_holds_for_oblong_images_and_patches(join: str) -> None:
    model = vit(join=join, in_chans=2)
    assert model.config.grid_size == (3, 4)
    assert sum(p.numel() for p in model.parameters()) == model.config.num_parameters


def test_a_config_survives_json() -> None:
    config = ViTConfig(**{**SHAPE, "join": "lape"})
    assert ViTConfig.from_dict({**config.to_dict(), "later": 1}) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"join": "lap"}, "Unknown join 'lap'. Did you mean 'lape'?"),
        ({"scheme": "rotary"}, "Unknown scheme 'rotary'. Known: fourier, learned, none"),
        ({"depth": 0}, "depth is 0; it must be at least 1."),
        (
            {"patch_size": (5, 8)},
            "img_size 12×32 is not a whole number of 5×8 patches; choose a patch_size that",
        ),
        ({"patch_size": (24, 8)}, "img_size 12×32 is not a whole number of 24×8 patches"),
        ({"patch_size": (0, 8)}, "img_size 12×32 and patch_size 0×8 must be at least 1×1."),
        (
            {"embed_dim": 25},
            "embed_dim 25 cannot be split over num_heads 3; choose a multiple, e.g. embed_dim=24.",
        ),
        (
            {"embed_dim": 2, "num_heads": 5},
            "cannot be split over num_heads 5; choose a multiple, e.g. embed_dim=5.",
        ),
    ],
)
def test_an_impossible_shape_says_why(change: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        ViTConfig(**{**SHAPE, **change})
    assert message in str(caught.value)
