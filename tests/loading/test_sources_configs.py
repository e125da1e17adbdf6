"""What the configurations of many libraries say, and of whom."""

from __future__ import annotations

import pytest

from pe_inspect.loading import Hints
from pe_inspect.loading.hints import hints_from, outranked

CLIP = {
    "image_size": 7,
    "vision_config": {
        "image_size": 64,
        "patch_size": 16,
        "hidden_size": 24,
        "layer_norm_eps": 1e-5,
    },
    "text_config": {"hidden_size": 12, "num_hidden_layers": 3},
}
LLAVA = {
    "hidden_size": 4096, "num_hidden_layers": 32, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
    "vision_config": {"hidden_size": 1024, "num_hidden_layers": 24, "image_size": 336},
}  # fmt: skip


def test_of_two_towers_each_has_its_own_settings():
    vision, text = hints_from(CLIP, "config.json"), hints_from(CLIP, "config.json", "text")
    assert (vision.img_size, vision.patch_size, vision.embed_dim) == ((64, 64), (16, 16), 24)
    assert (text.img_size, text.embed_dim, text.depth) == (None, 12, 3)


def test_a_language_model_s_settings_are_none_of_the_vision_tower_s():
    hints = hints_from(LLAVA, "config.json")
    assert (hints.embed_dim, hints.depth, hints.img_size) == (1024, 24, (336, 336))
    assert (hints.ln_eps, hints.rope_theta) == (None, None)


@pytest.mark.parametrize(
    "path",
    [
        ("vision_config",),
        ("thinker_config", "vision_config"),
        ("model_cfg", "vision_cfg"),
        ("vision_cfg",),
        ("backbone_config",),
        ("encoder",),
        ("model",),
        ("model_args",),
        (),
    ],
)
def test_settings_are_found_wherever_libraries_nest_them(path):
    settings = {"image_size": [48, 64], "patch_size": [8, 16]}
    for name in reversed(path):
        settings = {name: settings}
    hints = hints_from(settings, "config.json")
    assert (hints.img_size, hints.patch_size) == ((48, 64), (8, 16))


@pytest.mark.parametrize(
    "key", ["layer_norm_eps", "rms_norm_eps", "norm_eps", "layernorm_eps", "ln_eps"]
)
def test_an_eps_has_many_names(key):
    assert hints_from({key: 1e-5}, "config.json").ln_eps == 1e-5


def test_the_real_width_is_meant_where_another_is_called_hidden_size():
    qwen = {"vision_config": {"embed_dim": 1280, "hidden_size": 3584, "depth": 32}}
    assert hints_from(qwen, "config.json").embed_dim == 1280


@pytest.mark.parametrize(
    ("settings", "grid"),
    [
        (
            {
                "model_type": "audio-spectrogram-transformer", "num_mel_bins": 128,
                "max_length": 1024, "patch_size": 16, "frequency_stride": 10, "time_stride": 10,
            },
            (12, 101),
        ),
        (
            {
                "model_type": "hiera", "image_size": [224, 192], "patch_size": [7, 7],
                "patch_stride": [4, 4], "patch_padding": [3, 3],
            },
            (56, 48),
        ),
        (
            {"model_type": "vitdet", "pretrain_image_size": 224, "patch_size": 16, "img_size": 64},
            (14, 14),
        ),
        ({"model_type": "siglip2_vision_model", "num_patches": 256}, (16, 16)),
        ({"model_type": "siglip2_vision_model", "num_patches": 255}, None),
        ({"model_type": "hiera", "image_size": 224}, None),
        ({"model_type": "hiera", "image_size": None, "patch_stride": "x"}, None),
        ({"model_type": "vitdet", "pretrain_image_size": 8, "patch_size": 16}, None),
        ({"model_type": ["vitdet"]}, None),
        ({"image_size": 224, "patch_size": 16}, None),
    ],
)  # fmt: skip
def test_a_grid_that_image_and_patch_do_not_tell_follows_the_library_s_rule(settings, grid):
    assert hints_from(settings, "config.json").grid_size == grid


def test_who_is_outranked_is_told():
    flags = Hints(ln_eps=1e-5, grid_size=(3, 4), origins={"ln_eps": "--ln-eps"})
    config = Hints(ln_eps=1e-6, grid_size=(5, 7), join="share", origins={"ln_eps": "config.json"})
    assert outranked(flags, config) == [
        "grid_size 3×4 from --grid-size; --grid-size says 5×7",
        "ln_eps 1e-05 from --ln-eps; config.json says 1e-06",
    ]
    assert outranked(flags, flags) == []
    assert outranked(Hints(), config) == []


def test_an_architecture_that_outranks_another_is_told():
    config = Hints(arch="vit_tiny_patch16_224", origins={"arch": "config.json"})
    assert outranked(Hints(arch="timm:eva02_tiny_patch14_224"), config) == [
        "arch timm:eva02_tiny_patch14_224 from --arch; config.json says vit_tiny_patch16_224"
    ]
    assert outranked(Hints(arch="timm:vit_tiny_patch16_224"), config) == []
