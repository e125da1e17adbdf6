"""Models of transformers: rebuilt from a folder, and their positions changed as they pass."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import torch
import transformers
from transformers import AutoModel, models

import pe_inspect as pei
from pe_inspect.errors import NoPositionEmbedding
from pe_inspect.extras import MissingLibrary
from pe_inspect.live.change import Change, NotApplicable
from pe_inspect.live.host import Host, host_of
from pe_inspect.live.rebuild import CannotRebuild, rebuild

SHARED = {
    "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 48,
    "image_size": 32, "patch_size": 8,
}  # fmt: skip
SWIN = {
    "image_size": 32, "patch_size": 2, "embed_dim": 12, "depths": [2, 2], "num_heads": [2, 4],
    "window_size": 4,
}  # fmt: skip
CONFIGS = {
    "vit": models.vit.ViTConfig(**SHARED),
    "deit": models.deit.DeiTConfig(**SHARED),
    "dinov2": models.dinov2.Dinov2Config(**SHARED),
    "registers": models.dinov2_with_registers.Dinov2WithRegistersConfig(**SHARED),
    "dinov3": models.dinov3_vit.DINOv3ViTConfig(**SHARED, num_register_tokens=2),
    "beit": models.beit.BeitConfig(**SHARED, use_relative_position_bias=True),
    "clip": models.clip.CLIPVisionConfig(**SHARED),
    "siglip": models.siglip.SiglipVisionConfig(**SHARED),
    "mae": models.vit_mae.ViTMAEConfig(**SHARED, mask_ratio=0.0),
    "swin": models.swin.SwinConfig(**SWIN),
}
PREFIX = {"deit": 2, "registers": 5, "dinov3": 3, "siglip": 0, "swin": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A function that writes a small model of a kind, away from its start, as its library does."""
    made = {}

    def write(kind, model_class=None):
        if (kind, model_class) in made:
            return made[kind, model_class]
        place = tmp_path_factory.mktemp(kind)
        with warnings.catch_warnings(), torch.random.fork_rng():
            warnings.simplefilter("ignore")
            torch.manual_seed(0)
            model = (model_class or AutoModel.from_config)(CONFIGS[kind]).eval()
            for parameter in model.parameters():
                parameter.data += torch.randn_like(parameter) * 0.1
            model.save_pretrained(place)
        made[kind, model_class] = place, model
        return place, model

    return write


def hosted(place):
    checkpoint = pei.load(place)
    try:
        tables = pei.extract(checkpoint)
    except NoPositionEmbedding:
        tables = ()
    return host_of(rebuild(checkpoint), tables)


def picture(*size):
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))


def output(host, images):
    with torch.no_grad():
        return host.run(images)


def librarys(model, kind, images, **arguments):
    if kind == "mae":
        arguments["noise"] = torch.arange(16.0)[None].expand(2, -1)
    with torch.no_grad():
        return model(images, **arguments).last_hidden_state


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_rebuilt_models_features_are_the_librarys(folder, kind):
    place, model = folder(kind)
    host = hosted(place)
    expected = librarys(model, kind, picture(32, 32))
    torch.testing.assert_close(output(host, picture(32, 32)), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", CONFIGS)
def test_its_parts_are_found(folder, kind):
    host = hosted(folder(kind)[0])
    assert isinstance(host, Host)
    assert host.library == "transformers"
    assert len(host.anatomy.blocks) == (4 if kind == "swin" else 2)
    assert all("attention" in type(b.attention).__name__.lower() for b in host.anatomy.blocks)
    assert all(block.norm is not None for block in host.anatomy.blocks)
    assert host.num_prefix_tokens == PREFIX.get(kind, 1)
    assert host.has_cls == (PREFIX.get(kind, 1) > 0)
    assert host.grid_size == ((16, 16) if kind == "swin" else (4, 4))
    assert (host.anatomy.first_norm is not None) == (kind in ("clip", "swin"))


@pytest.mark.parametrize("kind", ["vit", "deit", "dinov2", "registers", "beit", "clip", "siglip"])
def test_another_size_is_the_librarys_interpolation(folder, kind):
    place, model = folder(kind)
    own = {} if kind in ("dinov2", "registers") else {"interpolate_pos_encoding": True}
    images = picture(24, 40)
    found = output(hosted(place).at((24, 40)), images)
    torch.testing.assert_close(found, librarys(model, kind, images, **own), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", CONFIGS)
def test_positions_scaled_by_one_change_nothing_and_taken_away_do(folder, kind):
    host, images = hosted(folder(kind)[0]), picture(32, 32)
    own = output(host, images)
    with host.change(Change(1.0)):
        torch.testing.assert_close(output(host, images), own, rtol=0, atol=1e-5)
    for change in (Change(0.0), Change(seed=1), Change(mean=True)):
        with host.change(change):
            assert (output(host, images) - own).abs().max() > 1e-4
    assert torch.equal(output(host, images), own)


@pytest.mark.parametrize("kind", ["vit", "dinov2", "siglip", "mae", "dinov3", "beit"])
def test_without_positions_patches_that_trade_places_keep_their_features(folder, kind):
    """The oracle of every change: nothing else in these models knows where a patch is."""
    host, images = hosted(folder(kind)[0]), picture(32, 32)
    blocks = images.unfold(2, 8, 8).unfold(3, 8, 8)  # (batch, channels, rows, columns, 8, 8)
    turned = blocks.transpose(2, 3).permute(0, 1, 2, 4, 3, 5).reshape(2, 3, 32, 32)
    order = torch.arange(16).reshape(4, 4).T.flatten()
    prefix = host.num_prefix_tokens
    with host.change(Change(mean=True)):
        one, other = output(host, images), output(host, turned)
    torch.testing.assert_close(one[:, prefix:][:, order], other[:, prefix:], rtol=0, atol=1e-5)
    torch.testing.assert_close(one[:, :prefix], other[:, :prefix], rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["vit", "dinov2", "clip", "beit"])
def test_the_tables_of_the_file_put_in_change_nothing(folder, kind):
    host, images = hosted(folder(kind)[0]), picture(32, 32)
    own = output(host, images)
    with host.put(host.tables[0], host.tables[0]):
        torch.testing.assert_close(output(host, images), own, rtol=0, atol=1e-5)


def test_a_classifier_keeps_its_logits(folder):
    place, model = folder("vit", models.vit.ViTForImageClassification)
    host = hosted(place)
    with torch.no_grad():
        expected = model(picture(32, 32)).logits
    torch.testing.assert_close(output(host, picture(32, 32)), expected, rtol=0, atol=1e-5)
    assert host.num_classes == 2


def test_a_size_between_patches_is_refused(folder):
    with pytest.raises(NotApplicable, match="30×32 pixels are no whole number of patches of 8×8"):
        hosted(folder("vit")[0]).at((30, 32))


def test_a_spectrogram_model_is_rebuilt(tmp_path):
    config = models.audio_spectrogram_transformer.ASTConfig(
        hidden_size=24, num_hidden_layers=1, num_attention_heads=3, intermediate_size=48,
        max_length=64, num_mel_bins=32,
    )  # fmt: skip
    model = AutoModel.from_config(config).eval()
    model.save_pretrained(tmp_path)
    live = rebuild(pei.load(tmp_path))
    sound = torch.randn(1, 64, 32)
    with torch.no_grad():
        torch.testing.assert_close(live(sound)[0], model(sound)[0], rtol=0, atol=1e-5)
    assert host_of(live, ()).grid_size == (2, 5)


def test_a_model_of_text_has_no_host_for_images():
    config = models.bert.BertConfig(
        hidden_size=24, num_hidden_layers=1, num_attention_heads=3, intermediate_size=48,
        vocab_size=50,
    )  # fmt: skip
    with pytest.raises(NotApplicable, match="BertModel takes input_ids, not images"):
        host_of(AutoModel.from_config(config).eval(), ())


def test_an_unknown_model_type_and_foreign_weights_are_refused(folder, tmp_path):
    place, _ = folder("vit")
    config = json.loads((place / "config.json").read_text())
    weights = (place / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(weights)
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "no_such_model"}))
    with pytest.raises(CannotRebuild, match="model_type is 'no_such_model', which transformers"):
        rebuild(pei.load(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(CannotRebuild, match=r"ViTModel: missing or of another shape: .*layer.*2"):
        rebuild(pei.load(tmp_path))


def test_without_transformers_it_is_said_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(MissingLibrary, match=r"pip install 'pe-inspect\[hf\]'"):
        rebuild(pei.load(folder("vit")[0]))


def test_the_preprocessor_file_is_followed(folder, tmp_path):
    place, _ = folder("vit")
    for file in place.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    said = {"image_mean": [0.1, 0.2, 0.3], "image_std": [1, 1, 1], "do_center_crop": True,
            "size": {"shortest_edge": 36}, "resample": 2}  # fmt: skip
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
    found = hosted(tmp_path).preprocessing
    assert (found.mean, found.crop_to, found.filter) == ((0.1, 0.2, 0.3), 36, "bilinear")
    assert hosted(place).preprocessing.said_by == ""
    assert np.isclose(hosted(place).preprocessing.mean[0], 0.485)
    assert transformers.__version__
