"""Hosts of every library: rebuilt as the library has them, and their positions changed alike."""

from __future__ import annotations

import json

import open_clip
import pytest
import timm
import torch
from safetensors.torch import save_file
from torchvision.models import swin_transformer, vision_transformer
from transformers import AutoModel, models

import pe_inspect as pei
from pe_inspect.live.change import Change, NotApplicable
from pe_inspect.live.fresh import freshened
from pe_inspect.live.host import host_of
from pe_inspect.live.rebuild import CannotRebuild, rebuild
from pe_inspect.live.token_order import check_order
from pe_inspect.live.trace import trace

CLIP = {
    "embed_dim": 16, "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 24, "head_width": 8, "patch_size": 8},
}  # fmt: skip
TEXT = {"context_length": 8, "vocab_size": 50, "width": 16, "heads": 2, "layers": 1}
SMALL = {"depth": 2, "embed_dim": 24, "num_heads": 3, "img_size": 32, "patch_size": 8}
V2 = {
    "block": swin_transformer.SwinTransformerBlockV2,
    "downsample_layer": swin_transformer.PatchMergingV2,
}


def drawn(model, seed=0):
    random = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.data += torch.randn(parameter.shape, generator=random) * 0.1
    return model.eval()


def torchvision_vit():
    return vision_transformer.VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=3, hidden_dim=24, mlp_dim=48,
        num_classes=5,
    )  # fmt: skip


def torchvision_swin(**second):
    return swin_transformer.SwinTransformer(
        patch_size=[4, 4], embed_dim=12, depths=[2, 2], num_heads=[2, 4], window_size=[4, 4],
        num_classes=5, **second,
    )  # fmt: skip


def clip():
    return open_clip.model.CLIP(CLIP["embed_dim"], CLIP["vision_cfg"], TEXT, quick_gelu=True)


def timm_swin2():
    return timm.create_model(
        "swinv2_tiny_window8_256", img_size=32, window_size=4, embed_dim=12, depths=(2, 2),
        num_heads=(2, 4), num_classes=5,
    )  # fmt: skip


GLOBAL = {
    "torchvision": torchvision_vit,
    "open_clip": clip,
    "timm relative": lambda: timm.create_model("vit_relpos_small_patch16_224", **SMALL),
    "timm rotary": lambda: timm.create_model("vit_small_patch16_dinov3", **SMALL),
    "timm mixed": lambda: timm.create_model("vit_small_patch16_rope_mixed_224", **SMALL),
}
WINDOWED = {
    "torchvision": torchvision_swin,
    "torchvision 2": lambda: torchvision_swin(**V2),
    "timm 2": timm_swin2,
    "transformers 2": lambda: AutoModel.from_config(
        models.swinv2.Swinv2Config(
            image_size=32, patch_size=2, embed_dim=12, depths=[2, 2], num_heads=[2, 4],
            window_size=4,
        )
    ),
    "transformers donut": lambda: AutoModel.from_config(
        models.donut.DonutSwinConfig(
            image_size=32, patch_size=2, embed_dim=12, depths=[2, 2], num_heads=[2, 4],
            window_size=4,
        )
    ),
}  # fmt: skip


def hosted(make):
    host = host_of(drawn(make()), ())
    is_swin = host.library == "torchvision" and host.res != (32, 32)
    return host.at((32, 32)) if is_swin else host


def picture(*size):
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))


def features(host, images):
    """What leaves the last block."""
    from pe_inspect.live.capture import captured

    return captured(host, images).states[-2]


@pytest.mark.parametrize("kind", GLOBAL)
def test_the_null_leaves_nothing_that_knows_where_a_patch_is(kind):
    host, images = hosted(GLOBAL[kind]), picture(32, 32)
    blocks = images.unfold(2, 8, 8).unfold(3, 8, 8)
    turned = blocks.transpose(2, 3).permute(0, 1, 2, 4, 3, 5).reshape(2, 3, 32, 32)
    order = torch.arange(16).reshape(4, 4).T.flatten()
    prefix, own = host.num_prefix_tokens, features(host, images)
    with host.change(Change(mean=True)):
        one, other = features(host, images), features(host, turned)
    torch.testing.assert_close(one[:, prefix:][:, order], other[:, prefix:], rtol=0, atol=1e-4)
    assert (own[:, prefix:][:, order] - other[:, prefix:]).abs().max() > 1e-3
    with host.change(Change()):
        torch.testing.assert_close(features(host, images), own, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", WINDOWED)
def test_a_mean_bias_is_none_where_attention_is_a_softmax(kind):
    """One value for all pairs of a window changes no softmax: the mean and zero are the same."""
    host, images = hosted(WINDOWED[kind]), picture(32, 32)
    own = features(host, images)
    with host.change(Change(mean=True)):
        mean = features(host, images)
    with host.change(Change(0.0)):
        torch.testing.assert_close(features(host, images), mean, rtol=0, atol=1e-4)
    assert (mean - own).abs().max() > 1e-4
    with host.change(Change(seed=3)):
        assert (features(host, images) - own).abs().max() > 1e-4
    assert torch.equal(features(host, images), own)


def test_a_network_of_biases_gives_none_of_16_or_more():
    host = hosted(WINDOWED["timm 2"])
    with pytest.raises(NotApplicable, match="gives no bias of 16 or more"), host.change(Change(2)):
        features(host, picture(32, 32))


@pytest.mark.parametrize(
    "make", [torchvision_vit, torchvision_swin, lambda: torchvision_swin(**V2)]
)
def test_torchvisions_models_are_rebuilt_from_their_tensors(make, tmp_path):
    model = drawn(make())
    torch.save(model.state_dict(), tmp_path / "x.pth")
    live = rebuild(pei.load(tmp_path / "x.pth", num_heads=3))
    with torch.no_grad():
        torch.testing.assert_close(live(picture(32, 32)), model(picture(32, 32)), rtol=0, atol=1e-5)


def test_a_vit_of_another_width_than_torchvisions_must_say_its_heads(tmp_path):
    torch.save(torchvision_vit().state_dict(), tmp_path / "x.pth")
    with pytest.raises(CannotRebuild, match=r"no ViT of width 24\. Pass --num-heads N"):
        rebuild(pei.load(tmp_path / "x.pth"))


def test_a_tower_of_open_clip_is_rebuilt_as_its_configuration_says(tmp_path):
    model = drawn(clip())
    save_file(model.state_dict(), tmp_path / "open_clip_model.safetensors")
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": CLIP}))
    live = rebuild(pei.load(tmp_path))
    with torch.no_grad():
        expected = model.visual(picture(32, 32))
        torch.testing.assert_close(live(picture(32, 32)), expected, rtol=0, atol=1e-5)
    wrong = {**CLIP, "vision_cfg": {**CLIP["vision_cfg"], "no_such": 1}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": wrong}))
    with pytest.raises(CannotRebuild, match="open_clip does not build the vision_cfg"):
        rebuild(pei.load(tmp_path))


def test_other_sizes_are_by_each_librarys_own_rule():
    vit, tower = hosted(torchvision_vit), hosted(clip)
    assert features(vit.at((40, 40)), picture(40, 40)).shape == (2, 26, 24)
    assert features(tower.at((24, 40)), picture(24, 40)).shape == (2, 16, 24)
    assert tower.at((24, 40)).grid_size == (3, 5)
    with pytest.raises(NotApplicable, match="takes square images of whole patches of 8 pixels"):
        vit.at((24, 40))
    with pytest.raises(NotApplicable, match="30×32 pixels are no whole number of patches"):
        tower.at((30, 32))
    with torch.no_grad():
        same = vit.at((40, 40)).at((40, 40)).run(picture(40, 40))
    assert same.shape == (2, 5)


def test_spectrograms_are_traced_along_frequency_and_time():
    config = models.audio_spectrogram_transformer.ASTConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=48,
        max_length=64, num_mel_bins=32,
    )  # fmt: skip
    model = drawn(AutoModel.from_config(config))
    sounds = torch.randn(4, 1, 32, 64, generator=torch.Generator().manual_seed(2))
    found = trace(model, sounds, questions=["attention", "contribution"])
    assert found.grid_size == (2, 5)
    assert found.num_prefix_tokens == 2
    assert len(found.attention) == len(found.shares) == 2
    with pytest.raises(NotApplicable, match="takes 32 mel bins × 64 frames alone"):
        host_of(model, ()).at((32, 32))


def test_a_module_of_no_library_is_traced_where_it_says_its_sizes():
    class Own(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.image_size, self.proj = 32, torch.nn.Conv2d(3, 24, 8, 8)
            self.pos_embed = torch.nn.Parameter(torch.randn(1, 16, 24))
            layer = torch.nn.TransformerEncoderLayer(24, 3, 48, batch_first=True, norm_first=True)
            self.encoder = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

        def forward(self, images):
            return self.encoder(self.proj(images).flatten(2).transpose(1, 2) + self.pos_embed)

    found = trace(drawn(Own()), picture(32, 32), questions=["attention", "contribution"])
    assert len(found.attention) == len(found.shares) == 2
    assert found.attention[0].logits is not None
    with pytest.raises(NotApplicable, match="Encoder does not say how large its images"):
        host_of(drawn(Own()).encoder, ())


def test_tokens_in_another_order_than_rows_are_refused():
    config = models.hiera.HieraConfig(
        image_size=[64, 64], embed_dim=12, depths=[1, 1, 2, 1], num_heads=[1, 2, 4, 8],
    )  # fmt: skip
    with pytest.raises(NotApplicable, match="HieraModel does not keep its patches row by row"):
        trace(AutoModel.from_config(config).eval(), picture(64, 64))
    check_order(hosted(torchvision_vit))


@pytest.mark.usefixtures("unchecked")
def test_a_model_that_does_not_take_images_is_refused():
    config = models.videomae.VideoMAEConfig(
        hidden_size=24, num_hidden_layers=1, num_attention_heads=3, intermediate_size=48,
        image_size=32, patch_size=8,
    )  # fmt: skip
    with pytest.raises(NotApplicable, match="VideoMAEModel does not run on an image of 32×32 pix"):
        trace(AutoModel.from_config(config).eval(), picture(32, 32))


def test_fresh_weights_are_seeded_and_leave_the_model_alone():
    model = drawn(torchvision_vit())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    one, same, other = freshened(model, 0), freshened(model, 0), freshened(model, 1)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(one.conv_proj.weight, same.conv_proj.weight)
    assert not torch.equal(one.conv_proj.weight, other.conv_proj.weight)
    assert torch.equal(one.encoder.ln.weight, torch.ones(24))
    assert 0.01 < one.encoder.pos_embedding.detach().std() < 0.03
