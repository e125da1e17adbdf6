"""Every library's rule against that library's own code, or the official lines restated."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from closeness import assert_close
from oracles import agree
from resampling.torch_calls import by_torch
from scipy import ndimage
from scipy.interpolate import RectBivariateSpline
from timm.layers import (
    RelPosBias,
    resample_abs_pos_embed,
    resize_rel_pos_bias_table,
    resize_rel_pos_bias_table_levit,
)

from pe_inspect.errors import UsageError
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding
from pe_inspect.resampling.methods import methods

SQUARE = [((7, 7), (12, 12)), ((14, 14), (9, 17)), ((16, 16), (7, 24)), ((5, 5), (5, 8))]
OBLONG = [((3, 5), (5, 3)), ((6, 9), (13, 4)), ((14, 8), (9, 21))]


def embedding(kind):
    shape = {"vectors": (15, 2), "bias": (2, 15, 15), "relative": (5, 4), "phases": (1, 15, 4)}
    table = LayerPE("blocks.0", np.zeros(shape[kind]), (3, 5), part="y" * (kind == "relative"))
    return PositionEmbedding("x", kind, "layer", (table,))


def rule(name, kind="vectors"):
    return methods[name].choose(embedding(kind))


def table(grid_size, channels=4, seed=0, std=0.05):
    values = np.random.default_rng(seed).standard_normal((*grid_size, channels)) * std
    return values.astype(np.float32)


def first(grid):
    """(1, D, H, W), as convolutions have it."""
    return torch.tensor(grid).permute(2, 0, 1)[None]


def last(tensor):
    return tensor[0].permute(1, 2, 0).numpy()


def rows(values, prefix=0):
    """(1, prefix + H·W, D), with prefix rows of ones."""
    flat = torch.tensor(values).reshape(1, -1, values.shape[-1])
    return torch.cat([torch.ones(1, prefix, values.shape[-1]), flat], dim=1)


def grid(tensor, target, prefix=0):
    return tensor.detach()[0, prefix:].reshape(*target, -1).numpy()


def rounding(values):
    """Of a resampling: libraries keep places in float32, which rounds them at their size."""
    return {"at": values, "operations": max(8, *values.shape[:2])}


def same(name, values, target, expected, kind="vectors"):
    assert_close(rule(name, kind)(values, target), expected, **rounding(values))


def same_as(library, name, values, target, ask, **call):
    """Equal to what `F.interpolate` makes, by which the rule is defined, and to the library."""
    definition = by_torch(values, size=target, **call)
    same(name, values, target, definition)
    agree(library, ask, definition, **rounding(values))


# --- tables of vectors


@pytest.mark.parametrize(("source", "target"), SQUARE + OBLONG)
def test_timm(source, target):
    values = table(source)
    linear = {"interpolation": "bilinear", "antialias": False}
    for name, call in (("timm", {}), ("naflex", {}), ("timm-npz", linear)):
        out = resample_abs_pos_embed(rows(values, 1), list(target), list(source), 1, **call)
        same(name, values, target, grid(out, target, 1))


@pytest.mark.parametrize(("source", "target"), SQUARE + OBLONG)
def test_naflex_crops_a_square_where_it_keeps_the_aspect_ratio(source, target):
    from timm.models.naflexvit import NaFlexEmbeds

    values = table(source)
    embeds = NaFlexEmbeds(
        patch_size=4, embed_dim=values.shape[-1], pos_embed="learned",
        pos_embed_grid_size=source, pos_embed_ar_preserving=True, class_token=False, reg_tokens=0,
    )  # fmt: skip
    embeds.pos_embed.data = torch.tensor(values, dtype=torch.float32)[None]
    tokens = torch.zeros(1, target[0] * target[1], values.shape[-1])
    embeds._apply_learned_pos_embed(tokens, list(target))
    same("naflex-ar", values, target, tokens[0].detach().numpy().reshape(*target, -1))


@pytest.mark.parametrize(("source", "target"), SQUARE + OBLONG)
def test_radio_crops_a_square_of_aligned_corners(source, target):
    values, side = table(source), max(target)
    nchw = torch.tensor(values)[None].permute(0, 3, 1, 2)
    square = F.interpolate(
        nchw, size=(side, side), mode="bilinear", align_corners=True
    )  # fmt: skip
    wanted = square[0, :, : target[0], : target[1]].permute(1, 2, 0).numpy()
    same("radio", values, target, values if source == target else wanted)


@pytest.mark.parametrize(("source", "target"), SQUARE + OBLONG)
def test_jax_and_big_vision_zoom_with_scipy(source, target):
    values = table(source)
    factors = (target[0] / source[0], target[1] / source[1], 1)

    expected = ndimage.zoom(values, factors, order=1)

    same("jax", values, target, expected)
    same("bigvision", values, target, expected)


def test_jax_and_timm_at_unit_variance():
    """Far along a long axis float32 places would be off by 1e-5, and are what timm has."""
    values, source, target = table((37, 37), std=1.0), (37, 37), (43, 78)
    zoomed = ndimage.zoom(values, (43 / 37, 78 / 37, 1), order=1)
    out = resample_abs_pos_embed(rows(values, 1), list(target), list(source), 1)

    for name in ("jax", "bigvision"):
        assert_close(rule(name)(values, target), zoomed, operations=2)
    for name in ("timm", "open_clip"):
        assert_close(rule(name)(values, target), grid(out, target, 1), operations=4, at=values)


@pytest.mark.parametrize(("source", "target"), SQUARE + OBLONG)
def test_flexivit_resizes_with_jax_image_resize_linear(source, target):
    values = table(source)

    def linear(n, m):  # jax.image.scale_and_translate's weights, antialias=True
        centres = (np.arange(m) + 0.5) * n / m - 0.5
        away = np.abs(centres[:, None] - np.arange(n)) / max(n / m, 1)
        weights = np.maximum(0, 1 - away)
        return weights / weights.sum(1, keepdims=True)

    by_axis = (linear(n, m) for n, m in zip(source, target))

    same("flexivit", values, target, np.einsum("ri,cj,ijd->rcd", *by_axis, values))


@pytest.mark.parametrize(("source", "target"), SQUARE)
def test_dino_and_dinov2_add_a_tenth_to_the_size(source, target):
    values, (w0, h0), m = table(source), target, source[0]
    factor = ((w0 + 0.1) / m, (h0 + 0.1) / m)

    for name in ("dino", "dinov2", "hf-old"):
        out = F.interpolate(first(values), scale_factor=factor, mode="bicubic")
        assert out.shape[-2:] == target
        same(name, values, target, last(out))
    out = F.interpolate(first(values), scale_factor=factor, mode="bicubic", antialias=True)
    same("dinov2-aa", values, target, last(out))


def vision_config(kind, side):
    """A transformers configuration of one small block, with patches of 4 pixels."""
    return kind(
        hidden_size=4, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        image_size=4 * side, patch_size=4,
    )  # fmt: skip


@pytest.mark.parametrize(("source", "target"), SQUARE)
@pytest.mark.parametrize(
    ("name", "config", "embeddings", "key"),
    [
        ("hf", "ViTConfig", "models.vit.modeling_vit.ViTEmbeddings", "position_embeddings"),
        ("hf", "Dinov2Config", "models.dinov2.modeling_dinov2.Dinov2Embeddings",
         "position_embeddings"),
        ("dinov2-reg", "Dinov2WithRegistersConfig",
         "models.dinov2_with_registers.modeling_dinov2_with_registers.Dinov2WithRegistersEmbeddings",
         "position_embeddings"),
        ("mae", "ViTMAEConfig", "models.vit_mae.modeling_vit_mae.ViTMAEEmbeddings",
         "position_embeddings"),
        ("clip", "CLIPVisionConfig", "models.clip.modeling_clip.CLIPVisionEmbeddings",
         "position_embedding"),
    ],
)  # fmt: skip
def test_transformers(name, config, embeddings, key, source, target):
    values, pixels = table(source), (4 * target[0], 4 * target[1])

    @torch.no_grad()
    def theirs():
        import importlib

        import transformers

        module, _, cls = f"transformers.{embeddings}".rpartition(".")
        built = getattr(importlib.import_module(module), cls)(
            vision_config(getattr(transformers, config), source[0])
        )
        stored = getattr(built, key)
        stored = stored.weight if key == "position_embedding" else stored
        stored.copy_(rows(values, 1).reshape(stored.shape))
        tokens = torch.zeros(1, 1 + target[0] * target[1], 4)
        return grid(built.interpolate_pos_encoding(tokens, *pixels), target, 1)

    is_smoothed = name == "dinov2-reg"
    same_as("transformers", name, values, target, theirs, mode="bicubic", antialias=is_smoothed)


def test_the_decoder_of_vitmae_resamples_the_sequence():
    values = table((8, 8))
    for target in ((12, 12), (5, 9), (8, 3)):
        sequence = values.reshape(1, 64, 4)
        definition = by_torch(sequence, size=(1, target[0] * target[1]), mode="bicubic")
        definition = definition.reshape(*target, 4)
        same("mae-decoder", values, target, definition)
        ask = partial(decoder_of_vitmae, values, target)
        agree("transformers", ask, definition, at=values, operations=64)  # the side of the row


@torch.no_grad()
def decoder_of_vitmae(values, target):
    from transformers import ViTMAEConfig
    from transformers.models.vit_mae.modeling_vit_mae import ViTMAEDecoder

    config = ViTMAEConfig(decoder_hidden_size=4, decoder_num_hidden_layers=1,
                          decoder_num_attention_heads=2, hidden_size=4, image_size=32,
                          patch_size=4)  # fmt: skip
    decoder = ViTMAEDecoder(config, num_patches=64)
    decoder.decoder_pos_embed.copy_(rows(values, 1))
    out = decoder.interpolate_pos_encoding(torch.zeros(1, 1 + target[0] * target[1], 4))
    return grid(out, target, 1)


@pytest.mark.parametrize(("source", "target"), SQUARE)  # it stores square tables only
def test_siglip2(source, target):
    values = table(source)

    def theirs():
        from transformers.models.siglip2.modeling_siglip2 import Siglip2VisionEmbeddings

        out = Siglip2VisionEmbeddings.resize_positional_embeddings(
            torch.tensor(values), torch.tensor([target]), target[0] * target[1]
        )
        return grid(out, target)

    same_as("transformers", "siglip2", values, target, theirs, mode="bilinear", antialias=True)


@pytest.mark.parametrize(("source", "target"), OBLONG)
def test_siglip2_s_rule_on_tables_that_it_does_not_store(source, target):
    values = table(source)

    wanted = by_torch(values, size=target, mode="bilinear", antialias=True)

    same("siglip2", values, target, wanted)


@pytest.mark.parametrize(("source", "target"), [((7, 7), (12, 12)), ((14, 14), (9, 17))])
def test_open_clip(source, target):
    values = table(source)

    def theirs():
        from types import SimpleNamespace

        from open_clip.model import resize_pos_embed

        state = {"visual.positional_embedding": rows(values, 1)[0]}
        resize_pos_embed(state, SimpleNamespace(visual=SimpleNamespace(grid_size=target)))
        return grid(state["visual.positional_embedding"][None], target, 1)

    same_as("open_clip_torch", "open_clip", values, target, theirs, mode="bicubic", antialias=True)


@pytest.mark.parametrize(("source", "target"), [((7, 7), (12, 12)), ((14, 14), (9, 9))])
def test_torchvision(source, target):
    values = table(source)

    def theirs():
        from torchvision.models.vision_transformer import interpolate_embeddings

        state = interpolate_embeddings(
            image_size=16 * target[0], patch_size=16,
            model_state={"encoder.pos_embedding": rows(values, 1)},
        )  # fmt: skip
        return grid(state["encoder.pos_embedding"], target, 1)

    how = {"mode": "bicubic", "align_corners": True}
    same_as("torchvision", "torchvision", values, target, theirs, **how)


@pytest.mark.parametrize(("source", "target"), SQUARE + OBLONG)
def test_official_loaders_name_the_size(source, target):
    values = table(source)

    out = last(F.interpolate(first(values), size=target, mode="bicubic", align_corners=False))

    for name in ("deit", "beit", "swin", "rope-vit"):
        same(name, values, target, out)
    nhwc = last(F.interpolate(first(values), size=target, mode="bicubic", antialias=True))
    same("sam", values, target, nhwc)
    corners = F.interpolate(first(values), size=target, mode="bilinear", align_corners=True)
    same("qwen", values, target, last(corners))


# --- tables of offsets


def offsets(window, heads=3, seed=0):
    return table((2 * window[0] - 1, 2 * window[1] - 1), heads, seed) * 10


def sides_of(window):
    return 2 * window[0] - 1, 2 * window[1] - 1


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
@pytest.mark.parametrize("source", [(3, 5), (7, 7), (2, 6)])
@pytest.mark.parametrize("target", [(5, 3), (12, 14), (2, 2), (7, 7), (1, 1), (4, 4)])
def test_timm_reads_the_progression_linearly(source, target):
    values, new = offsets(source), sides_of(target)

    out = resize_rel_pos_bias_table(
        torch.tensor(values.reshape(-1, 3)), target, (new[0] * new[1], 3), source
    )

    same("timm", values, new, out.numpy().reshape(*new, 3), "bias")


def beit_places(source, target):
    """unilm's run_class_finetuning.py: bisect for q, then place the old offsets."""
    low, high = 1.01, 1.5
    while high - low > 1e-6:
        q = (low + high) / 2
        far = sum(q**i for i in range(source // 2))
        low, high = (low, q) if far > target // 2 else (q, high)
    reach, places = 1.0, []
    for i in range(source // 2):
        places.append(reach)
        reach += q ** (i + 1)
    return [-p for p in reversed(places)] + [0.0, *places]


@pytest.mark.parametrize("source", [(7, 7), (3, 5), (14, 14)])
@pytest.mark.parametrize("target", [(12, 14), (24, 24), (9, 4)])
def test_beit_reads_it_by_a_cubic_spline(source, target):
    values, new = offsets(source).astype(np.float64), sides_of(target)
    wanted = [np.arange(-(m // 2), m // 2 + 1.0) for m in new]
    places = [beit_places(n, m) for n, m in zip(values.shape, new)]

    expected = np.stack(
        [RectBivariateSpline(*places, values[..., h], s=0)(*wanted) for h in range(3)], axis=-1
    )

    same("beit", values.astype(np.float32), new, expected, "bias")
    np.testing.assert_allclose(rule("beit", "bias")(values, new), expected, rtol=0, atol=1e-9)


def test_a_window_too_small_for_a_cubic_spline_is_refused():
    with pytest.raises(UsageError, match="at least 3 patches wide, and this one is 2×6"):
        rule("beit", "bias").check(offsets((2, 6)), (9, 9))


@pytest.mark.parametrize("source", [7, 14])
@pytest.mark.parametrize("target", [12, 16, 5])
def test_levit_resamples_by_distance(source, target):
    by_distance = table((source, source), 3)
    mirror = np.abs(np.arange(1 - source, source))
    new = sides_of((target, target))

    out = resize_rel_pos_bias_table_levit(
        torch.tensor(by_distance.reshape(-1, 3)), (target * target, 3)
    ).numpy()

    again = np.abs(np.arange(1 - target, target))
    expected = out.reshape(target, target, 3)[np.ix_(again, again)]
    same("levit", by_distance[np.ix_(mirror, mirror)], new, expected, "bias")


def test_a_bias_that_knows_directions_is_not_resampled_by_distance():
    with pytest.raises(UsageError, match="this one differs between directions"):
        rule("levit", "bias").check(offsets((3, 5)), (9, 9))


@pytest.mark.parametrize("name", ["Beit", "Data2VecVision"])
@pytest.mark.parametrize(("source", "target"), [((5, 5), (8, 8)), ((3, 5), (7, 4))])
def test_transformers_beit_swaps_the_sides_of_oblong_tables(source, target, name):
    import transformers
    from transformers.models.beit.modeling_beit import BeitRelativePositionBias
    from transformers.models.data2vec.modeling_data2vec_vision import (
        Data2VecVisionRelativePositionBias,
    )

    made = {
        "Beit": BeitRelativePositionBias,
        "Data2VecVision": partial(Data2VecVisionRelativePositionBias, window_size=source),
    }
    config = getattr(transformers, f"{name}Config")(
        hidden_size=6, num_attention_heads=3, num_hidden_layers=1, patch_size=4,
        image_size=(4 * source[0], 4 * source[1]),
    )  # fmt: skip
    theirs, values = made[name](config), offsets(source)
    with torch.no_grad():
        theirs.relative_position_bias_table.copy_(
            torch.cat([torch.tensor(values).reshape(-1, 3), torch.zeros(3, 3)])
        )
        wanted = theirs(target)[0, :, 1:, 1:]

    ours = RelPosBias(target, 3)
    with torch.no_grad():
        found = rule("hf", "bias")(values, sides_of(target))
        ours.relative_position_bias_table.copy_(torch.tensor(found).reshape(-1, 3))
        assert_close(ours.get_bias()[0], wanted)
    is_square = source[0] == source[1]
    assert (rule("hf", "bias").matrices(values.shape[:2], (9, 9)) is not None) == is_square


@pytest.mark.parametrize(("source", "target"), [(7, 12), (14, 9), (14, 64)])
def test_sam_and_mvitv2_resample_each_axis_linearly(source, target):
    from timm.models.vision_transformer_sam import get_rel_pos

    values = table((2 * source - 1, 1), 8)

    pairs = get_rel_pos(target, target, torch.tensor(values[:, 0]))  # (query, key, D)

    expected = torch.cat([pairs[0].flip(0)[:-1], pairs[:, 0]])[:, None].numpy()
    for name in ("sam", "mvitv2", "timm"):
        same(name, values, (2 * target - 1, 1), expected, "relative")
