"""Hugging Face transformers on disk: what is read equals what the library's own object holds.

Every model is tiny, has random weights, and is written by the library's `save_pretrained`.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from closeness import assert_close

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import transformers as hf

from pe_inspect.families import extract
from pe_inspect.loading import load

hf.logging.set_verbosity_error()
hf.logging.disable_progress_bar()

DIM = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
WIDE = {"image_size": [48, 64], "patch_size": 16}  # a 3×4 grid
EVEN = {"image_size": 64, "patch_size": 16}
TEXT = {**DIM, "vocab_size": 50, "max_position_embeddings": 11}


def built(name, config, **options):
    """A model with distinct random weights, so that no norm can be taken for another."""
    torch.manual_seed(0)
    model = getattr(hf, name)(config, **options)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model


def written(model, folder):
    model.save_pretrained(folder)
    return folder


def values_of(model, path):
    return model.get_parameter(path).detach().squeeze(0).numpy()


def check_norms(model, pe, least=4):
    """Every norm's weights are those of a module of the library with the same eps and index."""
    modules = {
        m.weight.detach().numpy().tobytes(): (name, m)
        for name, m in model.named_modules()
        if hasattr(m, "weight") and ("Norm" in type(m).__name__)
    }
    assert len(pe.norms) >= least
    for norm in pe.norms:
        name, module = modules[norm.weight.tobytes()]
        eps = getattr(module, "eps", getattr(module, "variance_epsilon", None))
        assert norm.eps == pytest.approx(eps), norm.path
        numbers = [part for part in name.split(".") if part.isdigit()]
        if norm.layer:
            assert [part for part in norm.layer.split(".") if part.isdigit()] == numbers


# class, config, path of the table, grid, prefix rows, prefix tokens
TABLES = {
    "vit": (
        *("ViTModel", hf.ViTConfig(**DIM, **WIDE)),
        *("embeddings.position_embeddings", (3, 4), 1, 1),
    ),
    "vit with a head": (
        *("ViTForImageClassification", hf.ViTConfig(**DIM, **WIDE)),
        *("vit.embeddings.position_embeddings", (3, 4), 1, 1),
    ),
    "deit": (
        *("DeiTModel", hf.DeiTConfig(**DIM, **WIDE)),
        *("embeddings.position_embeddings", (3, 4), 2, 2),
    ),
    "clip vision": (
        *("CLIPVisionModel", hf.CLIPVisionConfig(**DIM, **EVEN)),
        *("embeddings.position_embedding.weight", (4, 4), 1, 1),
    ),
    "siglip vision": (
        *("SiglipVisionModel", hf.SiglipVisionConfig(**DIM, **EVEN)),
        *("embeddings.position_embedding.weight", (4, 4), 0, 0),
    ),
    "siglip2 vision": (
        *("Siglip2VisionModel", hf.Siglip2VisionConfig(**DIM, num_patches=25, patch_size=4)),
        *("embeddings.position_embedding.weight", (5, 5), 0, 0),
    ),
    "dinov2": (
        *("Dinov2Model", hf.Dinov2Config(**DIM, **WIDE)),
        *("embeddings.position_embeddings", (3, 4), 1, 1),
    ),
    "dinov2 with registers": (
        *("Dinov2WithRegistersModel", hf.Dinov2WithRegistersConfig(**DIM, **WIDE)),
        *("embeddings.position_embeddings", (3, 4), 1, 5),
    ),
    "mae": (
        *("ViTMAEModel", hf.ViTMAEConfig(**DIM, **EVEN)),
        *("embeddings.position_embeddings", (4, 4), 1, 1),
    ),
    "i-jepa": (
        *("IJepaModel", hf.IJepaConfig(**DIM, **WIDE)),
        *("embeddings.position_embeddings", (3, 4), 0, 0),
    ),
    "aimv2": (
        *("Aimv2VisionModel", hf.Aimv2VisionConfig(**DIM, **EVEN)),
        *("embeddings.position_embedding.weight", (4, 4), 0, 0),
    ),
    "ast": (
        *("ASTModel", hf.ASTConfig(**DIM, patch_size=16, max_length=128, num_mel_bins=64)),
        *("embeddings.position_embeddings", (5, 12), 2, 2),
    ),
    "vitdet": (
        "VitDetModel",
        hf.VitDetConfig(
            hidden_size=24, num_hidden_layers=2, num_attention_heads=2, **EVEN,
            pretrain_image_size=[48, 64],
        ),
        *("embeddings.position_embeddings", (3, 4), 1, 0),
    ),
    "hiera": (
        "HieraModel",
        hf.HieraConfig(
            embed_dim=8, image_size=[64, 96], num_heads=[1, 2], depths=[1, 1], num_query_pool=1
        ),
        *("embeddings.position_embeddings", (16, 24), 0, 0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_the_library_s_own(name, tmp_path):
    kind, config, path, grid, rows, tokens = TABLES[name]
    model = built(kind, config)

    (pe,) = extract(load(written(model, tmp_path)))

    assert (pe.family, pe.kind, pe.join) == ("learned_absolute", "vectors", "input")
    assert (pe.grid_size, pe.num_prefix_rows, pe.num_prefix_tokens) == (grid, rows, tokens)
    assert np.array_equal(pe.tables[0].values, values_of(model, path))
    assert pe.num_parameters == model.get_parameter(path).numel()
    assert pe.depth == 2
    assert not any("assumed" in note for note in pe.notes)
    check_norms(model, pe)


@pytest.mark.parametrize("container", ["safetensors", "bin", "sharded safetensors", "sharded bin"])
def test_every_container_of_the_hub_holds_the_same(container, tmp_path):
    model = built("ViTModel", hf.ViTConfig(**DIM, **WIDE))
    size = "12KB" if "sharded" in container else "1GB"
    model.save_pretrained(tmp_path, max_shard_size=size)
    if "bin" in container:
        as_bin(tmp_path)

    checkpoint = load(tmp_path)
    (pe,) = extract(checkpoint)

    assert checkpoint.format == "huggingface"
    assert np.array_equal(pe.tables[0].values, values_of(model, "embeddings.position_embeddings"))
    assert any("shards were read" in note for note in pe.notes) == ("sharded" in container)


def as_bin(folder):
    """Rewrite a folder's safetensors as the pickles of older versions."""
    from safetensors.torch import load_file

    for path in list(folder.glob("*.safetensors")):
        name = path.name.replace("model", "pytorch_model", 1).replace(".safetensors", ".bin")
        torch.save(load_file(path), folder / name)
        path.unlink()
    index = folder / "model.safetensors.index.json"
    if index.exists():
        text = index.read_text().replace(".safetensors", ".bin").replace("model-", "pytorch_model-")
        (folder / "pytorch_model.bin.index.json").write_text(text)
        index.unlink()


def beit_bias(module, grid):
    """The library's own bias, at the grid that it was built for."""
    index = module.generate_relative_position_index(grid)
    table = module.relative_position_bias_table
    tokens = grid[0] * grid[1] + 1
    return table[index.reshape(-1)].reshape(tokens, tokens, -1).permute(2, 0, 1).detach().numpy()


@pytest.mark.parametrize("kind", ["Beit", "Data2VecVision"])
def test_beit_s_biases_are_the_library_s_own(kind, tmp_path):
    config = getattr(hf, f"{kind}Config")(**DIM, **WIDE, use_relative_position_bias=True)
    model = built(f"{kind}Model", config)

    (pe,) = extract(load(written(model, tmp_path)))

    assert (pe.family, pe.kind, pe.join) == ("relative_bias", "bias", "layer")
    assert (pe.grid_size, pe.num_prefix_rows, pe.num_prefix_tokens) == ((3, 4), 1, 1)
    assert [layer.layer for layer in pe.tables] == ["blocks.0", "blocks.1"]
    modules = [m for m in model.modules() if hasattr(m, "relative_position_bias_table")]
    for layer, module in zip(pe.tables, modules, strict=True):
        assert_close(layer.values, beit_bias(module, (3, 4)))
    check_norms(model, pe)


def test_beit_may_share_one_bias_and_have_a_table_too(tmp_path):
    options = {"use_shared_relative_position_bias": True, "use_absolute_position_embeddings": True}
    model = built("BeitModel", hf.BeitConfig(**DIM, **WIDE, **options))

    table, bias = extract(load(written(model, tmp_path)))

    assert np.array_equal(
        table.tables[0].values, values_of(model, "embeddings.position_embeddings")
    )
    (module,) = [m for m in model.modules() if hasattr(m, "relative_position_bias_table")]
    assert_close(bias.tables[1].values, beit_bias(module, (3, 4)))
    assert "one table, shared by all 2 blocks" in bias.notes


@pytest.mark.parametrize("kind", ["CLIP", "Siglip", "Siglip2", "Aimv2"])
def test_of_two_towers_the_vision_tower_is_taken_and_the_other_on_request(kind, tmp_path):
    vision = {**DIM, **({"num_patches": 16, "patch_size": 4} if kind == "Siglip2" else EVEN)}
    config = getattr(hf, f"{kind}Config")(vision_config=vision, text_config=TEXT)
    model = built(f"{kind}Model", config)
    folder = written(model, tmp_path)

    (pe,) = extract(load(folder))
    (text,) = extract(load(folder, tower="text"))

    own = "vision_model.embeddings.position_embedding.weight"
    assert pe.grid_size == (4, 4)
    assert np.array_equal(pe.tables[0].values, values_of(model, own))
    assert any("took the vision tower" in note for note in pe.notes)
    assert (text.grid_size, text.num_prefix_tokens) == ((1, 11), 0)
    assert np.array_equal(text.tables[0].values, values_of(model, own.replace("vision", "text")))
    assert "a text tower: 11 positions of words, in one line" in text.notes
    check_norms(model.vision_model, pe)


def test_a_text_tower_alone_is_none_of_vision_s(tmp_path):
    from pe_inspect.errors import NoPositionEmbedding

    model = built("CLIPTextModel", hf.CLIPTextConfig(**{**TEXT, "max_position_embeddings": 16}))
    written(model, tmp_path)

    with pytest.raises(NoPositionEmbedding, match="It is a text tower: its positions are those of"):
        extract(load(tmp_path))
    (text,) = extract(load(tmp_path, tower="text"))
    assert text.grid_size == (1, 16)


def test_mae_s_decoder_has_a_table_of_its_own(tmp_path):
    decoder = {f"decoder_{key}": value for key, value in DIM.items()} | {"decoder_hidden_size": 16}
    model = built("ViTMAEForPreTraining", hf.ViTMAEConfig(**DIM, **EVEN, **decoder))

    pe, other = extract(load(written(model, tmp_path)))

    own = "vit.embeddings.position_embeddings"
    assert (pe.grid_size, pe.embed_dim) == ((4, 4), 24)
    assert np.array_equal(pe.tables[0].values, values_of(model, own))
    check_norms(model.vit, pe)
    assert (other.grid_size, other.num_prefix_rows, other.embed_dim) == ((4, 4), 1, 16)
    assert np.array_equal(other.tables[0].values, values_of(model, "decoder.decoder_pos_embed"))


def test_swin_s_biases_and_absolute_table_are_the_library_s_own(tmp_path):
    config = hf.SwinConfig(
        image_size=48, patch_size=4, embed_dim=8, depths=[2, 1], num_heads=[2, 4], window_size=3,
        use_absolute_embeddings=True,
    )  # fmt: skip
    model = built("SwinModel", config)

    table, bias = extract(load(written(model, tmp_path)))

    assert (table.grid_size, table.num_prefix_rows) == ((12, 12), 0)
    assert np.array_equal(
        table.tables[0].values, values_of(model, "embeddings.position_embeddings")
    )
    modules = [m for m in model.modules() if hasattr(m, "relative_position_bias_table")]
    names = ["layers.0.blocks.0", "layers.0.blocks.1", "layers.1.blocks.0"]
    assert [layer.layer for layer in bias.tables] == names
    for layer, module in zip(bias.tables, modules, strict=True):
        index = module.relative_position_index.reshape(-1)
        theirs = module.relative_position_bias_table[index].reshape(9, 9, -1).permute(2, 0, 1)
        assert_close(layer.values, theirs.detach().numpy())
    check_norms(model, bias)


def test_swin_v2_s_window_is_that_of_its_config(tmp_path):
    config = hf.Swinv2Config(
        image_size=48, patch_size=4, embed_dim=8, depths=[2, 1], num_heads=[2, 4], window_size=3
    )
    model = built("Swinv2Model", config)

    (pe,) = extract(load(written(model, tmp_path)))

    assert pe.grid_size == (3, 3)
    modules = [m for m in model.modules() if hasattr(m, "continuous_position_bias_mlp")]
    for layer, module in zip(pe.tables, modules, strict=True):
        table = module.continuous_position_bias_mlp(module.relative_coords_table)
        table = table.view(-1, layer.values.shape[0])
        theirs = table[module.relative_position_index.view(-1)].view(9, 9, -1).permute(2, 0, 1)
        assert_close(layer.values, (16 * torch.sigmoid(theirs)).detach().numpy(), operations=32)


def test_sam_s_image_encoder_has_a_table_and_offsets_by_axis(tmp_path):
    vision = hf.SamVisionConfig(
        **DIM, **EVEN, window_size=2, global_attn_indexes=[1], output_channels=8
    )
    model = built("SamVisionModel", vision)

    table, offsets = extract(load(written(model, tmp_path)))

    assert (table.family, offsets.family) == ("learned_absolute", "decomposed_relative")
    own = model.get_parameter("vision_encoder.pos_embed").detach().numpy()
    assert np.array_equal(table.tables[0].values, own.reshape(16, 24))
    assert [layer.grid_size for layer in offsets.tables] == [(2, 2), (2, 2), (4, 4), (4, 4)]
    by_name = {f"{layer.layer}.{layer.part}": layer.values for layer in offsets.tables}
    theirs = model.get_parameter("vision_encoder.layers.1.attn.rel_pos_h").detach().numpy()
    assert np.array_equal(by_name["blocks.1.y"], theirs)
    check_norms(model, table)


def test_pvt_has_a_table_a_stage_and_a_class_token_in_the_last(tmp_path):
    config = hf.PvtConfig(
        image_size=64, hidden_sizes=[8, 8, 16, 24], depths=[1, 2, 1, 1],
        num_attention_heads=[1, 1, 2, 2], mlp_ratios=[2, 2, 2, 2],
    )  # fmt: skip
    model = built("PvtModel", config)

    found = extract(load(written(model, tmp_path)))

    assert [pe.grid_size for pe in found] == [(16, 16), (8, 8), (4, 4), (2, 2)]
    assert [pe.num_prefix_rows for pe in found] == [0, 0, 0, 1]
    assert [pe.tables[0].layer for pe in found] == ["stage0", "stage1", "stage2", "stage3"]
    for stage, pe in enumerate(found):
        path = f"encoder.patch_embeddings.{stage}.position_embeddings"
        assert np.array_equal(pe.tables[0].values, values_of(model, path))
    check_norms(model, found[0])


def test_yolos_appends_detection_tokens_whose_rows_come_last(tmp_path):
    config = hf.YolosConfig(
        **DIM, image_size=[64, 96], patch_size=16, num_detection_tokens=10,
        use_mid_position_embeddings=True,
    )  # fmt: skip
    model = built("YolosModel", config)

    table, middle = extract(load(written(model, tmp_path)))

    own = values_of(model, "embeddings.position_embeddings")
    assert (table.grid_size, table.num_prefix_rows, table.num_prefix_tokens) == ((4, 6), 1, 1)
    assert np.array_equal(table.tables[0].values, own[:25])
    assert table.num_parameters == own.size
    assert "the last 10 rows stand for detection tokens, and were left out" in table.notes
    assert (middle.join, [layer.layer for layer in middle.tables]) == ("unshare", ["blocks.1"])
    theirs = model.get_parameter("encoder.interpolation.mid_position_embeddings").detach().numpy()
    assert np.array_equal(middle.tables[0].values, theirs[0, 0, :25])


@pytest.mark.parametrize("kind", ["DINOv3ViT", "Pixtral"])
def test_rotations_are_computed_from_the_config(kind, tmp_path):
    name, config = {
        "DINOv3ViT": ("DINOv3ViTModel", hf.DINOv3ViTConfig(**DIM, **WIDE, num_register_tokens=4)),
        "Pixtral": ("PixtralVisionModel", hf.PixtralVisionConfig(**DIM, **EVEN)),
    }[kind]
    model = built(name, config).eval()

    (pe,) = extract(load(written(model, tmp_path)))

    assert (pe.kind, pe.stored) == ("phases", False)
    assert pe.grid_size == ((3, 4) if kind == "DINOv3ViT" else (4, 4))
    if kind == "DINOv3ViT":
        assert pe.num_prefix_tokens == 5
        cosines, sines = model.rope_embeddings(torch.zeros(1, 3, 48, 64))
        half = cosines.shape[-1] // 2
        angles = pe.tables[0].values[0]
        assert_close(np.cos(angles), cosines[:, :half].numpy(), at=angles)
        assert_close(np.sin(angles), sines[:, :half].numpy(), at=angles)


def test_a_timm_model_in_the_wrapper_is_timm_s(tmp_path):
    config = hf.TimmWrapperConfig(architecture="test_vit", model_args={"img_size": [48, 64]})
    model = built("TimmWrapperModel", config)

    (pe,) = extract(load(written(model, tmp_path)))

    assert (pe.grid_size, pe.num_prefix_rows, pe.architecture) == ((3, 4), 1, "test_vit")
    assert np.array_equal(pe.tables[0].values, values_of(model, "timm_model.pos_embed"))
    check_norms(model, pe)


def test_a_model_under_a_prefix_of_its_own_name_is_found(tmp_path):
    config = hf.ASTConfig(**DIM, patch_size=16, max_length=128, num_mel_bins=64, num_labels=3)
    model = built("ASTForAudioClassification", config)

    (pe,) = extract(load(written(model, tmp_path)))

    assert "stripped 'audio_spectrogram_transformer.' from the stored names" in pe.notes
    assert pe.grid_size == (5, 12)
