"""Baking of what is stored inside attention, and of transformers' folders."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from closeness import assert_close
from safetensors.torch import load_file, save_file
from timm.layers import resample_abs_pos_embed

import pe_inspect as pei
from pe_inspect.models.config import ViTConfig
from pe_inspect.models.vit import VisionTransformer

PLAIN = {"img_size": (12, 16), "patch_size": (4, 4), "embed_dim": 32, "depth": 2, "num_heads": 2,
         "num_classes": 5}  # fmt: skip
TINY = {"image_size": 32, "patch_size": 8, "hidden_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "intermediate_size": 48}  # fmt: skip


def folder(path, model, config):
    path.mkdir()
    save_file(
        {k: v.contiguous() for k, v in model.state_dict().items()}, path / "model.safetensors"
    )
    settings = {**config, **{k: list(v) for k, v in config.items() if isinstance(v, tuple)}}
    (path / "config.json").write_text(json.dumps({"model": settings}))


@pytest.mark.parametrize(
    ("scheme", "join"),
    [
        ("learned", "input"), ("learned", "lape"), ("learned", "share"), ("learned", "unshare"),
        ("sincos2d", "input"), ("sincos1d", "lape"), ("rel_bias_2d", "layer"),
        ("rel_bias_1d", "layer"), ("rope_axial", "layer"),
    ],
)  # fmt: skip
@torch.no_grad()
def test_our_own_schemes_load_at_the_new_size(scheme, join, tmp_path):
    torch.manual_seed(0)
    config = {**PLAIN, "scheme": scheme, "join": join}
    live = VisionTransformer(ViTConfig(**config))
    for name, value in live.named_parameters():
        if "relative" in name:
            torch.nn.init.normal_(value)
    folder(tmp_path / "old", live, config)
    ask = {"grid": (5, 7)}
    made = pei.bake(pei.load(tmp_path / "old"), tmp_path / "new", **ask)
    assert made.path is not None
    model = pei.rebuild(pei.load(tmp_path / "new"))
    assert model(torch.randn(2, 3, 20, 28)).isfinite().all()


@torch.no_grad()
def test_a_bias_along_the_sequence_has_one_rule_in_the_model_interpolate_and_the_baked_file(
    tmp_path,
):
    torch.manual_seed(0)
    config = {**PLAIN, "scheme": "rel_bias_1d", "join": "layer"}
    live = VisionTransformer(ViTConfig(**config))
    for block in live.blocks:
        torch.nn.init.normal_(block.attn.relative_position_bias_table)
    folder(tmp_path / "old", live, config)
    checkpoint = pei.load(tmp_path / "old")
    (pe,) = pei.extract(checkpoint)
    for grid in ((5, 7), (2, 6), (3, 9)):
        expected = torch.stack([block.attn.bias(grid) for block in live.blocks])
        result = pei.interpolate(pe, grid=grid)
        assert result.native == "sequence"
        assert_close(result.values(), expected, operations=32)
    pei.bake(checkpoint, tmp_path / "new", grid=(5, 7))
    baked = pei.rebuild(pei.load(tmp_path / "new"))
    for block, old in zip(baked.blocks, live.blocks):
        assert_close(block.attn.bias((5, 7)), old.attn.bias((5, 7)), operations=32)


def test_the_rule_along_the_sequence_is_refused_for_a_bias_of_rows_and_columns(tmp_path):
    config = {**PLAIN, "scheme": "rel_bias_2d", "join": "layer"}
    model = VisionTransformer(ViTConfig(**config))
    for block in model.blocks:
        torch.nn.init.normal_(block.attn.relative_position_bias_table)
    folder(tmp_path / "old", model, config)
    (pe,) = pei.extract(pei.load(tmp_path / "old"))
    with pytest.raises(pei.UsageError, match=r"tells rows from columns\. Use --method swin"):
        pei.interpolate(pe, grid=(5, 7), method="sequence")


@pytest.mark.parametrize("scheme", ["peg", "rope_mixed", "relative", "rel_bias_mlp"])
def test_our_schemes_that_need_nothing_say_so(scheme, tmp_path):
    config = {**PLAIN, "scheme": scheme, "join": "layer"}
    model = VisionTransformer(ViTConfig(**config))
    folder(tmp_path / "old", model, config)
    made = pei.bake(pei.load(tmp_path / "old"), tmp_path / "new", grid=(5, 7))
    assert made.path is None
    assert not (tmp_path / "new").exists()


def schh(path, grid, kind):
    """s-chh's buffers of one block: CLS first, positions from 1."""
    y, x = (axis.ravel() for axis in np.indices(grid))
    state = {"embedding.cls_token": np.zeros((1, 1, 8)), "encoder.0.norm1.weight": np.ones(8)}
    if kind == "relative":
        for axis, place in (("x", x), ("y", y)):
            clipped = (place[None] - place[:, None]).clip(-2, 2) + 3
            for part in ("query", "value"):
                stem = f"encoder.0.attention.{part}_pos_embedding."
                state[f"{stem}{axis}_relative_embedding_table.weight"] = np.ones((6, 4))
                state[f"{stem}{axis}_distances"] = np.pad(clipped, ((1, 0), (1, 0)))
    else:
        theta = 100.0 ** -np.arange(2)
        for axis, place in (("x", x), ("y", y)):
            angles = np.repeat(np.r_[0, place + 1][:, None] * theta, 2, axis=1)
            for part, turn in (("cos", np.cos), ("sin", np.sin)):
                key = f"encoder.0.attention.rotary_embedding.{axis}_{part}"
                state[key] = turn(angles)[None, None]
    exact = {k: torch.tensor(v) for k, v in state.items()}
    torch.save({k: v.float() if v.is_floating_point() else v for k, v in exact.items()}, path)


@pytest.mark.parametrize("kind", ["relative", "rope"])
def test_schhs_buffers_are_those_that_it_would_make(kind, tmp_path):
    schh(tmp_path / "a.pt", (3, 4), kind)
    schh(tmp_path / "wanted.pt", (5, 7), kind)
    pei.bake(
        pei.load(tmp_path / "a.pt"), tmp_path / "b.pt", grid=(5, 7),
        **({"method": "extrapolate"} if kind == "rope" else {}),
    )  # fmt: skip
    found, wanted = (torch.load(tmp_path / f"{name}.pt") for name in ("b", "wanted"))
    for key, value in wanted.items():
        assert found[key].dtype == value.dtype
        assert_close(found[key], value)


def hf(kind):
    import transformers as t

    t.logging.set_verbosity_error()
    made = {
        "vit": (t.ViTConfig, t.ViTModel, {}),
        "dinov2": (t.Dinov2Config, t.Dinov2Model, {}),
        "clip": (t.CLIPVisionConfig, t.CLIPVisionModel, {}),
        "siglip": (t.SiglipVisionConfig, t.SiglipVisionModel, {"vision_use_head": False}),
    }
    config, model, more = made[kind]
    return config(**TINY, **more), model


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("kind", ["vit", "dinov2", "clip", "siglip"])
@torch.no_grad()
def test_transformers_loads_the_folder_and_gives_its_own_answer(kind, tmp_path):
    torch.manual_seed(0)
    config, cls = hf(kind)
    model = cls(config).eval()
    for name, value in model.named_parameters():
        if "position" in name:
            torch.nn.init.normal_(value, std=0.5)
    model.save_pretrained(tmp_path / "old")
    (tmp_path / "old" / "preprocessor_config.json").write_text(
        json.dumps({"size": {"height": 32, "width": 32}, "image_mean": [0.5]})
    )
    made = pei.bake(pei.load(tmp_path / "old"), tmp_path / "new", res=48, method="bicubic")
    assert made.grid_size == (6, 6)
    assert json.loads((tmp_path / "new" / "config.json").read_text())["image_size"] == 48
    processor = json.loads((tmp_path / "new" / "preprocessor_config.json").read_text())
    assert processor["size"] == {"height": 48, "width": 48}
    x = torch.randn(2, 3, 48, 48)
    baked = cls.from_pretrained(tmp_path / "new").eval()
    ours = baked(x).last_hidden_state
    theirs = model(x, interpolate_pos_encoding=True).last_hidden_state
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_shards_and_their_index_are_written_together(tmp_path):
    config, cls = hf("vit")
    cls(config).save_pretrained(tmp_path / "old", max_shard_size="20KB")
    shards = sorted(path.name for path in (tmp_path / "old").glob("*.safetensors"))
    assert len(shards) > 1
    made = pei.bake(pei.load(tmp_path / "old"), tmp_path / "new", grid=(6, 6))
    index = json.loads((made.path / "model.safetensors.index.json").read_text())
    sizes = [load_file(made.path / name) for name in shards]
    total = sum(v.numel() * v.element_size() for each in sizes for v in each.values())
    assert index["metadata"]["total_size"] == total
    (pe,) = pei.extract(pei.load(made.path))
    assert pe.grid_size == (6, 6)


def eva02(path, grid, pretrained):
    """EVA-02's own file: a table, and the cosines and sines of its rotation, channels in pairs."""
    rng = np.random.default_rng(0)
    rates = 10000.0 ** -(np.arange(0, 8, 2) / 8)
    places = [np.arange(new) / new * old for new, old in zip(grid, pretrained)]
    y, x = (np.repeat(place[:, None] * rates, 2, axis=1) for place in places)
    whole = (*grid, 8)
    angles = np.concatenate([np.broadcast_to(y[:, None], whole), np.broadcast_to(x, whole)], -1)
    turns = {"cos": np.cos(angles), "sin": np.sin(angles)}
    state = {
        "cls_token": rng.normal(size=(1, 1, 48)),
        "pos_embed": rng.normal(size=(1, 13, 48)),
        "patch_embed.proj.weight": rng.normal(size=(48, 3, 4, 4)),
        "blocks.0.norm1.weight": np.ones(48),
        "blocks.0.attn.q_bias": np.zeros(48),
        **{f"rope.freqs_{name}": turn.reshape(-1, 16) for name, turn in turns.items()},
    }
    torch.save({"model": {k: torch.tensor(v, dtype=torch.float32) for k, v in state.items()}}, path)


def test_eva02s_table_and_its_rotation_are_both_on_the_new_grid(tmp_path):
    """Source: baaivision/EVA, EVA-02: VisionRotaryEmbeddingFast(pt_seq_len, ft_seq_len)."""
    eva02(tmp_path / "a.pt", (3, 4), (3, 4))
    eva02(tmp_path / "wanted.pt", (5, 7), (3, 4))
    checkpoint = pei.load(tmp_path / "a.pt", grid_size=(3, 4), num_heads=3)
    made = pei.bake(checkpoint, tmp_path / "b.pt", res=(20, 28))
    assert sorted(made.changed) == ["pos_embed", "rope.freqs_cos", "rope.freqs_sin"]
    found, wanted, old = (
        torch.load(tmp_path / f"{name}.pt")["model"] for name in ("b", "wanted", "a")
    )
    for name in ("rope.freqs_cos", "rope.freqs_sin"):
        assert_close(found[name], wanted[name])
    theirs = resample_abs_pos_embed(old["pos_embed"], [5, 7], [3, 4], num_prefix_tokens=1)
    assert_close(found["pos_embed"], theirs)


def test_convit_is_refused_a_grid_that_its_code_cannot_have(tmp_path):
    state = {
        "pos_embed": torch.randn(1, 16, 8),
        "patch_embed.proj.weight": torch.randn(8, 3, 4, 4),
        "blocks.0.attn.pos_proj.weight": torch.randn(2, 3),
        "blocks.0.attn.pos_proj.bias": torch.randn(2),
        "blocks.0.attn.gating_param": torch.randn(2),
        "blocks.0.norm1.weight": torch.ones(8),
    }
    save_file(state, tmp_path / "a.safetensors")
    with pytest.raises(pei.UsageError, match=r"A ConViT of 5×7 patches would not run"):
        pei.bake(pei.load(tmp_path / "a.safetensors"), tmp_path / "b.safetensors", grid=(5, 7))
    assert not (tmp_path / "b.safetensors").exists()
