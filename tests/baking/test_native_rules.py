"""`--write` without a method: the logits are those of the library whose file it is."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
import transformers
from safetensors.torch import load_file, save_file
from timm_cases import Case, baked, ids, images

import pe_inspect as pei

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")

TIMM_S_KEYS = [
    Case("test_coatnet", 160, 192, {"grid": (12, 12)}),
    Case("test_maxvit", 160, 192, {"grid": (6, 6)}),
    Case("maxvit_tiny_tf_224", 64, 96, {"grid": (3, 3)}, {}, {"depths": (1, 1, 1, 1)}),
]
TINY = {"image_size": 64, "patch_size": 16, "hidden_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 3, "intermediate_size": 64}  # fmt: skip
DECODER = {"decoder_hidden_size": 32, "decoder_num_hidden_layers": 1,
           "decoder_num_attention_heads": 2, "decoder_intermediate_size": 32}  # fmt: skip


def spread(model, word):
    """Tables of some size, so that another rule gives other logits."""
    for name, value in model.named_parameters():
        if word in name:
            torch.nn.init.normal_(value, std=0.5)


@pytest.mark.parametrize("case", TIMM_S_KEYS, ids=ids(TIMM_S_KEYS))
@torch.no_grad()
def test_coatnet_s_and_maxvit_s_tables_follow_timm_whose_names_they_have(case, tmp_path):
    before, state, model, made = baked(case, tmp_path, method="native")
    assert any("relative_bias: resampled by the rule of timm" in note for note in made.notes)
    model.load_state_dict(state, strict=True)
    theirs = timm.create_model(
        case.name, img_size=case.new, num_classes=5, pretrained=True,
        pretrained_cfg_overlay={"state_dict": before.state_dict(), "num_classes": 5}, **case.made,
    ).eval()  # fmt: skip
    x = images(case)
    torch.testing.assert_close(model(x), theirs(x), atol=1e-4, rtol=0)


SMALL = {"depth": 2, "embed_dim": 48, "num_heads": 3}
SWIN = {"depths": (1, 1, 1, 1), "window_size": 4, "embed_dim": 24, "num_heads": (1, 2, 3, 3)}
FOLDERS = [
    Case("vit_small_patch14_dinov2", (56, 84), (84, 140), {"res": (84, 140)}, {}, SMALL),
    Case("deit_tiny_patch16_224", (64, 96), (48, 64), {"res": (48, 64)}, {}, SMALL),
    Case("deit3_small_patch16_224", (64, 96), (96, 160), {"res": (96, 160)}, {}, SMALL),
    Case("beit_base_patch16_224", (64, 64), (96, 128), {"res": (96, 128)}, {}, SMALL),
    Case("swin_tiny_patch4_window7_224", 64, 96, {"grid": (6, 6)}, {}, SWIN, {"window_size": 6}),
]


@pytest.mark.parametrize("case", FOLDERS, ids=ids(FOLDERS))
@torch.no_grad()
def test_a_folder_of_timm_s_follows_timm_whosever_model_it_was(case, tmp_path):
    before = case.model(case.old, {})
    spread(before, "pos_embed")
    spread(before, "bias_table")
    arguments = {"img_size": case.old, **case.made}
    timm.models.save_for_hf(before, tmp_path / "a", model_args=arguments, safe_serialization=True)
    pei.bake(pei.load(tmp_path / "a"), tmp_path / "b", **case.ask)
    model = case.model(case.new, case.remade)
    model.load_state_dict(load_file(tmp_path / "b" / "model.safetensors"), strict=True)
    theirs = timm.create_model(
        case.name, img_size=case.new, num_classes=5, pretrained=True,
        pretrained_cfg_overlay={"state_dict": before.state_dict(), "num_classes": 5,
                                "input_size": (3, *before.patch_embed.img_size)},
        **{**case.made, **case.remade},
    ).eval()  # fmt: skip
    x = images(case)
    torch.testing.assert_close(model(x), theirs(x), atol=1e-4, rtol=0)


@torch.no_grad()
def test_arch_of_timm_says_that_the_file_is_timm_s(tmp_path):
    name = "deit_tiny_patch16_224"
    load = {"grid_size": (4, 6), "arch": f"timm:{name}"}
    case = Case(name, (64, 96), (48, 64), {"res": (48, 64)}, load)
    before, state, model, _ = baked(case, tmp_path, method="native")
    model.load_state_dict(state, strict=True)
    before = copy.deepcopy(before)
    before.set_input_size(img_size=case.new)
    x = images(case)
    torch.testing.assert_close(model(x), before(x), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("name", "size", "more", "grid"),
    [
        ("swin_tiny_patch4_window7_224", 64,
         {"depths": (1, 1, 1, 1), "window_size": 4, "embed_dim": 24, "num_heads": (1, 2, 3, 3)},
         (6, 6)),
        ("beit_base_patch16_224", (64, 96), {"depth": 2, "embed_dim": 48, "num_heads": 3}, (6, 8)),
    ],
)  # fmt: skip
def test_a_bare_swin_or_beit_keeps_its_authors_rule_and_names_timm_s(
    name, size, more, grid, tmp_path
):
    model = timm.create_model(name, img_size=size, num_classes=5, **more)
    spread(model, "bias_table")
    save_file(model.state_dict(), tmp_path / "a.safetensors")
    checkpoint = pei.load(tmp_path / "a.safetensors", **(
        {"grid_size": (4, 6)} if name.startswith("beit") else {}
    ))  # fmt: skip
    made = pei.bake(checkpoint, tmp_path / "b.safetensors", grid=grid)
    (rule,) = (note for note in made.notes if note.startswith("relative_bias: "))
    library = name.partition("_")[0]
    assert rule.startswith(f"relative_bias: resampled by the rule of {library} (")
    assert rule.endswith("; timm's files have the same names: for timm's own path, --method timm")


@pytest.mark.parametrize("kind", ["Beit", "Data2VecVision"])
@torch.no_grad()
def test_transformers_biases_follow_transformers(kind, tmp_path):
    torch.manual_seed(0)
    config, cls = (getattr(transformers, f"{kind}{part}") for part in ("Config", "Model"))
    model = cls(config(**TINY, use_relative_position_bias=True)).eval()
    spread(model, "bias_table")
    model.save_pretrained(tmp_path / "old")
    made = pei.bake(pei.load(tmp_path / "old"), tmp_path / "new", res=96)
    assert any("the rule of hf (bilinear-swapped)" in note for note in made.notes)
    x = torch.randn(2, 3, 96, 96)
    ours = cls.from_pretrained(tmp_path / "new").eval()(x).last_hidden_state
    theirs = model(x, interpolate_pos_encoding=True).last_hidden_state
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


@torch.no_grad()
def test_transformers_mae_decoder_has_a_rule_of_its_own(tmp_path):
    torch.manual_seed(0)
    cls = transformers.ViTMAEForPreTraining
    model = cls(transformers.ViTMAEConfig(**TINY, **DECODER, mask_ratio=0.5)).eval()
    spread(model, "pos")
    model.save_pretrained(tmp_path / "old")
    made = pei.bake(pei.load(tmp_path / "old"), tmp_path / "new", res=96)
    assert "decoder.decoder_pos_embed: resampled by mae-decoder" in made.notes
    x, noise = torch.randn(2, 3, 96, 96), torch.rand(2, 36)
    ours = cls.from_pretrained(tmp_path / "new").eval()(x, noise=noise).logits
    theirs = model(x, noise=noise, interpolate_pos_encoding=True).logits
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


def test_another_method_is_for_mae_s_decoder_too(tmp_path):
    model = transformers.ViTMAEForPreTraining(transformers.ViTMAEConfig(**TINY, **DECODER))
    spread(model, "pos")
    model.save_pretrained(tmp_path / "old")
    pei.bake(pei.load(tmp_path / "old"), tmp_path / "new", grid=(6, 6), method="nearest")
    key = "decoder.decoder_pos_embed"
    old, new = (load_file(tmp_path / name / "model.safetensors")[key] for name in ("old", "new"))
    rows = torch.nn.functional.interpolate(
        old[:, 1:].reshape(1, 4, 4, -1).permute(0, 3, 1, 2), size=(6, 6), mode="nearest"
    )
    torch.testing.assert_close(new[0, 1:], rows.permute(0, 2, 3, 1).reshape(36, -1))


@pytest.mark.parametrize("name", ["qwen3_vit_88m_enc", "qwen3_vit_88m"])
def test_qwen3_s_table_stays_as_it_is(name, tmp_path):
    more = {"depth": 1, "embed_dim": 48, "num_heads": 3}
    source = tmp_path / "a.safetensors"
    if name.endswith("enc"):
        save_file(timm.create_model(name, **more).state_dict(), source)
    else:  # without a merger its config.json alone tells it
        source = tmp_path / "a"
        timm.models.save_for_hf(timm.create_model(name, **more), source, model_args=more)
    made = pei.bake(pei.load(source), tmp_path / f"b{source.suffix}", res=(288, 320))
    assert made.path is None
    assert any("the model resizes it for every image" in note for note in made.notes)
