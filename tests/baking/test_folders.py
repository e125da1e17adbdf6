"""A folder's configuration fits its new tables: the library that wrote it loads it and runs it."""

from __future__ import annotations

import json

import pytest
import timm
import torch
import transformers as hf
from safetensors.torch import load_file
from timm.models import save_for_hf

import pe_inspect as pei

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")

DIM = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
       "intermediate_size": 48}  # fmt: skip
VIT = {**DIM, "image_size": 64, "patch_size": 16}
ABSOLUTE = {"use_relative_position_embeddings": True, "window_block_indices": []}
SWIN = {"depths": [1, 1, 1, 1], "num_heads": [1, 2, 3, 4], "embed_dim": 24}


def random_positions(model):
    torch.manual_seed(0)
    for name, value in model.named_parameters():
        if any(word in name for word in ("position", "rel_pos", "pos_embed", "bias")):
            torch.nn.init.normal_(value, std=0.5)
    return model.eval()


def of_hf(kind, config, path, *, without=()):
    hf.logging.set_verbosity_error()
    model = random_positions(getattr(hf, kind)(config))
    model.save_pretrained(path)
    forget(path / "config.json", without)
    return model


def of_timm(name, path, **made):
    """A folder as on the hub: what is the architecture's default is not among the arguments."""
    model = random_positions(timm.create_model(name, num_classes=5, **made))
    save_for_hf(model, path)
    forget(path / "config.json", ("model_args",))
    if made:
        config = json.loads((path / "config.json").read_text())
        (path / "config.json").write_text(json.dumps({**config, "model_args": made}))
    return model


def forget(path, words):
    config = json.loads(path.read_text())
    path.write_text(
        json.dumps({name: value for name, value in config.items() if name not in words})
    )


def config_of(path):
    return json.loads((path / "config.json").read_text())


def weights_of(path):
    return torch.load(path / "pytorch_model.bin") if (path / "pytorch_model.bin").exists() else (
        load_file(path / "model.safetensors")
    )  # fmt: skip


def reloaded(kind, path):
    """What transformers makes of a folder: nothing is missing, left over or of another shape."""
    model, told = getattr(hf, kind).from_pretrained(path, output_loading_info=True)
    assert not any(told.values()), told
    return model.eval()


@pytest.mark.parametrize(
    ("ask", "said", "pixels"),
    [
        ({"res": 96, "patch_size": 8}, {"image_size": 96, "patch_size": 8}, (96, 96)),
        ({"grid": (4, 6), "patch_size": 8}, {"image_size": [32, 48], "patch_size": 8}, (32, 48)),
        ({"res": (96, 128)}, {"image_size": [96, 128], "patch_size": 16}, (96, 128)),
    ],
)
@torch.no_grad()
def test_the_image_is_as_large_as_was_asked_for_also_with_patches_of_another_size(
    ask, said, pixels, tmp_path
):
    of_hf("ViTModel", hf.ViTConfig(**VIT), tmp_path / "old")
    pei.bake(pei.load(tmp_path / "old"), tmp_path / "new", **ask)
    config = config_of(tmp_path / "new")
    assert {name: config[name] for name in said} == said
    model = reloaded("ViTModel", tmp_path / "new")
    assert model(torch.randn(1, 3, *pixels)).last_hidden_state.isfinite().all()


@torch.no_grad()
def test_sizes_that_a_hubs_config_leaves_to_its_class_are_added(tmp_path):
    wide = {**VIT, "image_size": 224, "vision_use_head": False}
    config, left_out = hf.SiglipVisionConfig(**wide), ("image_size", "patch_size")
    of_hf("SiglipVisionModel", config, tmp_path / "old", without=left_out)
    pei.bake(pei.load(tmp_path / "old"), tmp_path / "new", res=96, patch_size=8)
    model = reloaded("SiglipVisionModel", tmp_path / "new")
    assert model(torch.randn(1, 3, 96, 96)).last_hidden_state.shape == (1, 144, 32)


@pytest.mark.parametrize(
    ("kind", "config", "ask", "pixels"),
    [
        ("LevitModel", lambda: hf.LevitConfig(depths=[1, 1, 1]), {"grid": 16}, (256, 256)),
        ("SwinModel", lambda: hf.SwinConfig(**SWIN), {"grid": 8}, (256, 256)),
        ("DeiTModel", lambda: hf.DeiTConfig(**VIT), {"res": (96, 64)}, (96, 64)),
        ("BeitModel", lambda: hf.BeitConfig(**VIT, use_relative_position_bias=True),
         {"res": (96, 64)}, (96, 64)),
        ("HieraModel", lambda: hf.HieraConfig(embed_dim=8, image_size=[64, 96], num_heads=[1, 2],
         depths=[1, 1], num_query_pool=1), {"res": (96, 128)}, (96, 128)),
        ("VitDetModel", lambda: hf.VitDetConfig(**VIT, pretrain_image_size=64, **ABSOLUTE),
         {"res": (96, 128)}, (96, 128)),
        ("VitDetModel", lambda: hf.VitDetConfig(**{**VIT, "image_size": 128},
         pretrain_image_size=64, **ABSOLUTE), {"res": 192}, (192, 192)),
        ("VitDetModel", lambda: hf.VitDetConfig(**{**VIT, "image_size": 128},
         pretrain_image_size=64, **ABSOLUTE), {"grid": (9, 12)}, (144, 192)),
        ("VitDetModel", lambda: hf.VitDetConfig(**VIT, pretrain_image_size=64, **ABSOLUTE),
         {"res": (96, 48), "patch_size": 8}, (96, 48)),
        ("Dinov2Model", lambda: hf.Dinov2Config(**VIT), {"res": 96}, (96, 96)),
        ("CLIPVisionModel", lambda: hf.CLIPVisionConfig(**VIT), {"res": 96}, (96, 96)),
    ],
)  # fmt: skip
@torch.no_grad()
def test_transformers_loads_the_new_tables_and_runs_them(kind, config, ask, pixels, tmp_path):
    of_hf(kind, config(), tmp_path / "old")
    made = pei.bake(pei.load(tmp_path / "old"), tmp_path / "new", **ask)
    model = reloaded(kind, tmp_path / "new")
    model.save_pretrained(tmp_path / "again")  # by the names of the file, not of the modules
    loaded, stored = (weights_of(tmp_path / name) for name in ("again", "new"))
    for key in made.changed:
        assert torch.equal(loaded[key], stored[key]), key
    assert model(torch.randn(1, 3, *pixels))[0].isfinite().all()


@torch.no_grad()
def test_a_spectrograms_frames_and_frequencies_follow_its_patches(tmp_path):
    config = hf.ASTConfig(**DIM, max_length=128, num_mel_bins=64)
    of_hf("ASTModel", config, tmp_path / "old")
    (tmp_path / "old" / "preprocessor_config.json").write_text(
        json.dumps({"max_length": 128, "num_mel_bins": 64, "padding_value": 0.0})
    )
    pei.bake(pei.load(tmp_path / "old"), tmp_path / "new", grid=(7, 20))
    model = reloaded("ASTModel", tmp_path / "new")
    frames, bins = model.config.max_length, model.config.num_mel_bins
    assert model(torch.randn(1, frames, bins)).last_hidden_state.shape == (1, 2 + 140, 32)
    processor = json.loads((tmp_path / "new" / "preprocessor_config.json").read_text())
    assert processor == {"max_length": frames, "num_mel_bins": bins, "padding_value": 0.0}


@pytest.mark.parametrize(
    ("kind", "config", "ask", "why"),
    [
        ("Dinov2Model", lambda: hf.Dinov2Config(**VIT), {"res": (96, 128)}, "as if the table were"),
        ("Dinov2Model", lambda: hf.Dinov2Config(**VIT), {"res": (32, 128)}, "as if the table were"),
        ("Dinov2WithRegistersModel", lambda: hf.Dinov2WithRegistersConfig(**VIT), {"res": (96, 64)},
         "as if the table were"),
        ("BeitModel", lambda: hf.BeitConfig(**VIT, use_absolute_position_embeddings=True),
         {"res": (96, 64)}, "as if the table were"),
        ("CLIPVisionModel", lambda: hf.CLIPVisionConfig(**VIT), {"res": (96, 64)}, "one number"),
        ("SiglipVisionModel", lambda: hf.SiglipVisionConfig(**VIT, vision_use_head=False),
         {"res": (96, 64)}, "one number"),
        ("LevitModel", lambda: hf.LevitConfig(depths=[1, 1, 1]), {"grid": (12, 16)}, "one number"),
        ("SwinModel", lambda: hf.SwinConfig(**SWIN), {"grid": (6, 8)}, "one number"),
    ],
)  # fmt: skip
def test_a_shape_that_transformers_own_code_does_not_take_is_refused(
    kind, config, ask, why, tmp_path
):
    of_hf(kind, config(), tmp_path / "old")
    with pytest.raises(pei.UsageError, match=rf"{why}.*Pass a square size.*the weight file"):
        pei.bake(pei.load(tmp_path / "old"), tmp_path / "new", **ask)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("kind", "config", "pixels"),
    [
        ("Dinov2Model", hf.Dinov2Config, (96, 128)),
        ("CLIPVisionModel", hf.CLIPVisionConfig, (96, 64)),
    ],
)
@torch.no_grad()
def test_what_is_refused_does_fail_in_transformers(kind, config, pixels):
    with pytest.raises((TypeError, RuntimeError, ValueError)):
        getattr(hf, kind)(config(**{**VIT, "image_size": list(pixels)}))(torch.ones(1, 3, *pixels))


TIMM = [
    ("vit_tiny_patch16_224", {"depth": 1}, {"res": 224, "patch_size": 8},
     {"img_size": 224, "patch_size": 8}),
    ("vit_tiny_patch16_224", {"depth": 1}, {"res": (160, 224)}, {"img_size": [160, 224]}),
    ("levit_128s", {}, {"grid": (12, 16)}, {"img_size": [192, 256]}),
    ("swin_tiny_patch4_window7_224", {}, {"grid": 12}, {"img_size": 384, "window_size": 12}),
    ("swin_tiny_patch4_window7_224", {}, {"grid": (6, 8)},
     {"img_size": [192, 256], "window_size": [6, 8]}),
    ("maxvit_nano_rw_256", {}, {"grid": 6}, {"img_size": 192}),
    ("efficientvit_m0", {}, {"grid": 12}, {"img_size": 384, "window_size": [12, 12, 6]}),
    ("volo_d1_224", {}, {"res": 288}, {"img_size": 288}),
    ("hiera_tiny_224", {}, {"res": (96, 128)}, {"img_size": [96, 128]}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "made", "ask", "said"), TIMM, ids=[case[0] for case in TIMM])
@torch.no_grad()
def test_timm_loads_the_new_tables_from_the_folder_and_runs_them(name, made, ask, said, tmp_path):
    of_timm(name, tmp_path / "old", **made)
    baked = pei.bake(pei.load(tmp_path / "old"), tmp_path / "new", **ask)
    config = config_of(tmp_path / "new")
    assert config["model_args"] == {**made, **said}
    model = timm.create_model(f"local-dir:{tmp_path / 'new'}", pretrained=True).eval()
    state, stored = model.state_dict(), weights_of(tmp_path / "new")
    for key in baked.changed:
        assert torch.equal(state[key], stored[key]), key
    size = timm.data.resolve_model_data_config(model)["input_size"]
    assert list(size) == config["pretrained_cfg"]["input_size"]
    assert model(torch.randn(1, *size)).isfinite().all()


def test_windows_that_timm_does_not_build_by_that_name_are_refused(tmp_path):
    of_timm("tiny_vit_5m_224", tmp_path / "old")
    with pytest.raises(pei.UsageError, match=r"timm builds no tiny_vit_5m_224 .*the weight file"):
        pei.bake(pei.load(tmp_path / "old"), tmp_path / "new", grid=24)
    assert not (tmp_path / "new").exists()


def test_an_index_tells_the_new_numbers_of_bytes_and_of_parameters(tmp_path):
    model = hf.ViTModel(hf.ViTConfig(**VIT))
    model.save_pretrained(tmp_path / "old", max_shard_size="20KB")
    pei.bake(pei.load(tmp_path / "old"), tmp_path / "new", grid=(6, 5))
    told = json.loads((tmp_path / "new" / "model.safetensors.index.json").read_text())["metadata"]
    stored = [load_file(path) for path in (tmp_path / "new").glob("*.safetensors")]
    tensors = [tensor for each in stored for tensor in each.values()]
    assert told["total_parameters"] == sum(tensor.numel() for tensor in tensors)
    assert told["total_size"] == sum(tensor.nbytes for tensor in tensors)


def open_clip_folder(path, **tower):
    import open_clip
    from safetensors.torch import save_file

    vision = {"image_size": 64, "patch_size": 16, "layers": 1, "width": 64, **tower}
    text = {"context_length": 8, "vocab_size": 50, "width": 64, "heads": 1, "layers": 1}
    config = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}
    path.mkdir()
    said = {"model_cfg": config, "preprocess_cfg": {"size": [64, 64], "mean": [0.5] * 3}}
    (path / "open_clip_config.json").write_text(json.dumps(said))
    own = {name: value for name, value in vision.items() if name != "timm_model_name"}
    model = open_clip.CLIP(16, own, text)
    save_file(model.state_dict(), path / "open_clip_model.safetensors")


@torch.no_grad()
def test_open_clips_model_and_preprocessing_are_of_the_new_size(tmp_path):
    import open_clip

    open_clip_folder(tmp_path / "old")
    pei.bake(pei.load(tmp_path / "old"), tmp_path / "new", res=96, patch_size=8)
    told = json.loads((tmp_path / "new" / "open_clip_config.json").read_text())
    assert told["preprocess_cfg"] == {"size": [96, 96], "mean": [0.5] * 3}
    model = open_clip.CLIP(16, told["model_cfg"]["vision_cfg"], told["model_cfg"]["text_cfg"])
    model.load_state_dict(load_file(tmp_path / "new" / "open_clip_model.safetensors"))
    assert model.encode_image(torch.randn(1, 3, 96, 96)).shape == (1, 16)


def test_patches_of_a_tower_that_open_clip_builds_by_name_stay(tmp_path):
    open_clip_folder(tmp_path / "old", timm_model_name="vit_tiny_patch16_224")
    with pytest.raises(pei.UsageError, match=r"by its name.*Leave --patch-size out"):
        pei.bake(pei.load(tmp_path / "old"), tmp_path / "new", res=96, patch_size=8)
    assert not (tmp_path / "new").exists()
