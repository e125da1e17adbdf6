"""Whose rule an embedding follows, and what a new grid means for each kind of scheme."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from closeness import assert_close
from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

from pe_inspect.analysis.interpolate import interpolate
from pe_inspect.errors import UsageError
from pe_inspect.families import extract
from pe_inspect.kinds.parts import FamilyFacts
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding, Relation
from pe_inspect.loading.checkpoint import Checkpoint

GRID = (3, 5)


def vectors(**fields):
    values = np.random.default_rng(0).standard_normal((15, 6)) * 0.05
    given = {"join": "input", **fields}
    return PositionEmbedding(
        "learned_absolute", "vectors", tables=(LayerPE("input", values, GRID),), **given
    )


def bias(prefix=0, **fields):
    y, x = np.divmod(np.arange(15), 5)
    apart = np.hypot(y[:, None] - y, x[:, None] - x)
    values = np.pad(np.stack([-apart, np.exp(-apart)]), ((0, 0), (prefix, 0), (prefix, 0)))
    table = LayerPE("blocks.0", values, GRID, prefix)
    return PositionEmbedding("relative_bias", "bias", "layer", (table,), **fields)


def relative(*sides, layer="blocks.{}", prefix=0, **fields):
    """One pair of tables for each square grid."""
    rng = np.random.default_rng(0)
    layers = tuple(
        LayerPE(
            layer.format(k), rng.standard_normal((prefix + 2 * side - 1, 4)) * 0.05, (side, side),
            prefix, part,
        )
        for k, side in enumerate(sides)
        for part in "yx"
    )  # fmt: skip
    relation = Relation("sum", "query-key")
    return PositionEmbedding(
        "decomposed_relative", "relative", "layer", layers, relation=relation, **fields
    )


# --- whose rule


@pytest.mark.parametrize(
    ("pe", "library", "rule", "why"),
    [
        (vectors(source="timm:vit_small_patch14_dinov2"), "timm", "bicubic-aa", "it comes from"),
        (vectors(join="lape", source="timm.pth"), "deit", "bicubic", "LaPE's loader has it"),
        (vectors(architecture="vit_small_patch14_reg4_dinov2"), "dinov2-reg", "bicubic-aa",
         "the architecture is vit_small_patch14_reg4_dinov2"),
        (vectors(architecture="dinov2-with-registers-base"), "dinov2-reg", "bicubic-aa", ""),
        (vectors(architecture="flexivit_small"), "flexivit", "bilinear-aa", ""),
        (vectors(architecture="dinov2_vitb14"), "dinov2", "scale-factor+0.1",
         "the architecture is dinov2_vitb14"),
        (vectors(architecture="dino_deitsmall16"), "dino", "scale-factor+0.1", ""),
        (vectors(architecture="mae_vit_base_patch16"), "mae", "bicubic", ""),
        (vectors(architecture="deit_tiny_patch16_224"), "deit", "bicubic", ""),
        (vectors(library="torchvision"), "torchvision", "align-corners", "torchvision's names"),
        (vectors(library="jax"), "jax", "zoom", "Transformer/encoderblock"),
        (vectors(library="open_clip"), "open_clip", "bicubic-aa", "open_clip's names"),
        (vectors(library="clip"), "clip", "bicubic", "a norm called pre_layrnorm"),
        (vectors(library="sd3"), "sd3", "middle", "an x_block"),
        (vectors(library="timm's names"), "timm", "bicubic-aa", "named as in timm's ViT"),
        (vectors(model_type="vit"), "hf", "bicubic", "config.json says vit"),
        (vectors(model_type="timm_wrapper", library="timm"), "timm", "bicubic-aa", "is timm's"),
        (vectors(model_type="idefics3_vision"), "idefics2", "buckets", "says idefics3_vision"),
        (bias(model_type="swin"), "swin", "bicubic", "config.json says swin"),
        (relative(4, model_type="sam_vision_model"), "hf-relative", "bilinear", ""),
        (bias(prefix=1, keys=("blocks.0.attn.relative_position_bias_table",)), "beit",
         "geometric-cubic", "the bias has rows for CLS"),
        (bias(source="timm:swin_tiny_patch4_window7_224"), "timm", "geometric-linear", ""),
        (bias(keys=("stages.0.blocks.0.attn.attention_biases",)), "levit", "distances-bicubic-aa",
         ""),
        (bias(source="swin_tiny.pth", prefix=1,
              keys=("rel_pos_bias.relative_position_bias_table",)), "beit", "geometric-cubic", ""),
        (bias(keys=("stages.2.blocks.0.attn.rel_pos.relative_position_bias_table",)), "timm",
         "geometric-linear", "is timm's name"),
        (bias(keys=("visual.trunk.layers.0.blocks.0.attn.relative_position_bias_table",)), "timm",
         "geometric-linear", "is timm's name"),
        (bias(keys=("layers.0.blocks.0.attn.relative_position_bias_table",)), "swin", "bicubic",
         "for timm's own path, --method timm"),
        (bias(architecture="timm:swin_tiny_patch4_window7_224"), "timm", "geometric-linear",
         "the architecture is timm:swin_tiny_patch4_window7_224"),
        (bias(architecture="timm:tiny_vit_5m_224",
              keys=("stages.1.blocks.0.attn.attention_biases",)), "levit", "distances-bicubic-aa",
         "the architecture is timm:tiny_vit_5m_224"),
        (vectors(architecture="timm:deit_tiny_patch16_224"), "timm", "bicubic-aa", ""),
        (vectors(architecture="timm:vit_small_patch14_dinov2"), "timm", "bicubic-aa", ""),
        (vectors(architecture="timm:naflexvit_base_patch16_gap"), "naflex", "bicubic-aa", ""),
        (vectors(architecture="timm:qwen3_vit_88m_enc"), "qwen", "bilinear-align-corners", ""),
        (vectors(architecture="timm:vit_base_patch16_224", keys=("encoder.pos_embedding",),
                 library="torchvision"), "torchvision", "align-corners", "torchvision's names"),
        (vectors(architecture="timm:deit_tiny_patch16_224", join="lape"), "deit", "bicubic",
         "LaPE's loader has it"),
        (vectors(architecture="vit_small_patch14_dinov2", library="timm"), "timm", "bicubic-aa",
         "its config.json is timm's"),
        (vectors(architecture="qwen3_vit_88m", library="timm"), "qwen", "bilinear-align-corners",
         "its config.json is timm's"),
        (vectors(library="dinov2", architecture="timm:vit_small_patch14_dinov2"), "dinov2",
         "scale-factor+0.1", "its mask_token has two axes"),
        (vectors(model_type="siglip2_vision_model", keys=("embeddings.position_embedding.weight",)),
         "siglip2", "bilinear-aa", "config.json says siglip2_vision_model"),
        (vectors(architecture="siglip2_vision_model"), "siglip2", "bilinear-aa", ""),
        (vectors(architecture="Siglip2VisionModel"), "siglip2", "bilinear-aa", ""),
        (vectors(architecture="deit_small",
                 notes=("took 'teacher'; also present: 'student'; --state-dict-key chooses",)),
         "dino", "scale-factor+0.1", "a teacher and a student"),
        (relative(4, architecture="mvitv2_tiny"), "mvitv2", "bilinear", ""),
    ],
)  # fmt: skip
def test_the_native_rule_is_that_of_the_first_telling_name(pe, library, rule, why):
    result = interpolate(pe, grid=(3, 4) if pe.kind != "relative" else (7, 7))

    assert result.native == result.parameters["native"] == library
    assert result.rules == {"native": rule}
    assert result.notes[0].startswith(f"native is the rule of {library} ({rule}): ")
    assert why in result.notes[0]


@pytest.mark.parametrize(
    ("pe", "shown", "why"),
    [
        (vectors(), "timm's (bicubic-aa)", "nothing in the file names its library"),
        (vectors(architecture="maestro"), "timm's (bicubic-aa)", "nothing in the file"),
        (vectors(source="/mae/dinov2_vitb14_pretrain.pth"), "timm's (bicubic-aa)", "nothing in"),
        (vectors(keys=("vit.embeddings.position_embeddings",)), "timm's (bicubic-aa)",
         "transformers' name, whose models have several rules for it"),
        (vectors(keys=("vision_model.embeddings.position_embedding.weight",)),
         "timm's (bicubic-aa)", "no config.json says which model it is"),
        (vectors(model_type="mgp-str"), "timm's (bicubic-aa)",
         "config.json says mgp-str, which its library builds for one size alone"),
        (bias(), "timm's (geometric-linear)", "nothing in the file names its library"),
        (bias(prefix=1), "timm's (geometric-linear)", "nothing in the file names its library"),
        *((vectors(keys=(name,)), "timm's (bicubic-aa)", "nothing in the file names its library")
          for name in ("encoder.pos_embedding", "pos_embedding", "visual.positional_embedding",
                       "my.posembed_input/pos_embedding")),
        (relative(4), "timm's (bilinear)", "nothing in the file names its library"),
    ],
)  # fmt: skip
def test_no_rule_is_claimed_where_only_a_name_tells(pe, shown, why):
    result = interpolate(pe, grid=(3, 4) if pe.kind != "relative" else (7, 7))

    assert result.native == "timm"
    assert result.parameters["native_is_known"] is False
    assert result.notes[0].startswith(f"native is rule unknown, {shown} is shown: ")
    assert why in result.notes[0]
    assert "rule unknown, timm's is shown" in result.change


def test_transformers_dinov2_with_registers_is_told_by_the_tokens_without_rows():
    config = Dinov2WithRegistersConfig(
        hidden_size=12, num_hidden_layers=1, num_attention_heads=2, image_size=56, patch_size=14
    )
    model = Dinov2WithRegistersModel(config)
    torch.nn.init.normal_(model.embeddings.position_embeddings)
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    (pe,) = extract(Checkpoint.from_state_dict(state))

    result = interpolate(pe, grid=(3, 6))

    assert result.notes[0] == (
        "native is the rule of dinov2-reg (bicubic-aa): embeddings.position_embeddings has no rows "
        "for the register tokens, as DINOv2's"
    )
    tokens = torch.zeros(1, 1 + 3 * 6, 12)
    expected = model.embeddings.interpolate_pos_encoding(tokens, 3 * 14, 6 * 14)[0, 1:]
    assert_close(result.values()[0], expected.detach().numpy())


def test_the_same_table_under_another_file_name_gives_the_same_numbers():
    names = ("dinov2_vitb14_reg4.pth", "mae_pretrain.pth", "a.pth")
    found = [interpolate(vectors(source=name), grid=(6, 7)) for name in names]

    for result in found:
        assert (result.native, result.notes) == (found[2].native, found[2].notes)
        np.testing.assert_array_equal(result.values(), found[2].values())


def test_rules_for_square_tables_are_given_the_sides_and_that_is_said():
    result = interpolate(vectors(architecture="dinov2"), grid=(6, 7), method="native,hf,bicubic")

    assert any(
        note.startswith("the code of dinov2, hf is written for square") for note in result.notes
    )
    assert not any("written for square" in note for note in interpolate(vectors(), grid=4).notes)


# --- methods that fit, and that do not


@pytest.mark.parametrize(
    ("pe", "method", "message"),
    [
        (vectors(), "levit", "--method levit is for bias, and this embedding (learned_absolute) "
         "is vectors. For it: native"),
        (bias(), "mae-decoder", "--method mae-decoder is for vectors"),
        (relative(4), "bicubic,dinov3", "--method dinov3 is for phases"),
    ],
)  # fmt: skip
def test_a_method_of_another_kind_is_refused_with_those_that_fit(pe, method, message):
    with pytest.raises(UsageError) as caught:
        interpolate(pe, grid=(6, 6), method=method)

    assert message in str(caught.value)


def test_all_leaves_out_what_a_table_does_not_allow_and_says_why():
    result = interpolate(vectors(), grid=(3, 77), method="all")
    odd = interpolate(vectors(), grid=(3, 13), method="all")

    missed = [note for note in result.notes if note.startswith("scale-factor was left out")]
    assert ("scale-factor" in result.methods) == (not missed)
    assert "scale-factor" in odd.methods


def test_what_was_asked_for_by_name_is_not_left_out():
    square = LayerPE("input", np.zeros((14 * 14, 2)), (14, 14))
    pe = PositionEmbedding("x", "vectors", "input", (square,))

    with pytest.raises(UsageError, match="makes 60 rows of 14, not 61"):
        interpolate(pe, grid=(61, 14), method="bicubic,scale-factor")
    everything = interpolate(pe, grid=(61, 14), method="all")
    assert "scale-factor" not in everything.methods
    assert any(note.startswith("scale-factor was left out: ") for note in everything.notes)


def test_methods_that_are_one_share_their_tables():
    result = interpolate(vectors(), grid=(6, 7), method="deit,mae,bicubic")

    assert result.tables("deit") is result.tables("mae") is result.tables("bicubic")
    assert result.rules == dict.fromkeys(("deit", "mae", "bicubic"), "bicubic")


def test_the_difference_to_native_is_relative_to_native():
    result = interpolate(vectors(), grid=(6, 7), method="all")
    native, other = result.values("native"), result.values("fourier")

    expected = np.linalg.norm(other - native) / np.linalg.norm(native)
    assert result.means("fourier")["difference_to_native"] == pytest.approx(expected, rel=1e-5)
    assert result.means("timm")["difference_to_native"] == 0


# --- measures


def test_rows_shorter_than_every_old_one_are_counted():
    table = LayerPE("input", np.tile([[1.0], [-1.0]], (6, 1)), (12, 1))
    pe = PositionEmbedding("x", "vectors", "input", (table,))

    summary = interpolate(pe, grid=(24, 1), method="bilinear").summary()

    assert summary["low_norm_share"] == pytest.approx(22 / 24)  # all but the two ends
    assert interpolate(pe, grid=(24, 1), method="nearest").summary()["low_norm_share"] == 0


def test_norms_are_compared_on_the_border_and_inside():
    pe = vectors()
    result = interpolate(pe, grid=(6, 10), method="bilinear")
    before = np.linalg.norm(pe.tables[0].values, axis=1).reshape(3, 5)
    after = np.linalg.norm(result.values()[0], axis=1).reshape(6, 10)

    inside = (after[1:-1, 1:-1].mean() / before.mean(), before[1:-1, 1:-1].mean() / before.mean())
    found = result.summary()
    assert found["norm_ratio_interior"] == pytest.approx(inside[0], rel=1e-5)
    assert found["norm_ratio_interior_before"] == pytest.approx(inside[1], rel=1e-5)


@pytest.mark.parametrize("method", ["bicubic", "bicubic-aa", "jax"])
@pytest.mark.parametrize("level", [0.0, 0.3, 1e-3, 7.1])
def test_a_constant_table_has_no_fast_share_and_a_note_says_so(level, method):
    values = level * np.random.default_rng(0).standard_normal(384)
    table = LayerPE("input", np.tile(values, (14 * 15, 1)), (14, 15))
    result = interpolate(
        PositionEmbedding("x", "vectors", "input", (table,)), grid=(24, 25), method=method
    )

    assert np.isnan(result.summary()["high_frequency_before"])
    assert np.isnan(result.summary()["high_frequency_after"])
    assert "input: all rows are equal, so there is no variation to resample" in result.notes


def test_variation_far_above_rounding_is_shared_however_small():
    ripple = 1e-4 * np.cos(2 * np.pi * 3 * np.arange(8) / 8)
    table = LayerPE("input", np.repeat(1 + ripple, 8)[:, None], (8, 8))
    result = interpolate(PositionEmbedding("x", "vectors", "input", (table,)), grid=(16, 16))

    assert result.summary()["high_frequency_before"] == pytest.approx(1, abs=1e-3)


def test_the_spectrum_says_how_much_is_fast():
    wave = np.cos(2 * np.pi * 3 * np.arange(8) / 8)  # 3 of at most 4 cycles
    slow = np.cos(2 * np.pi * np.arange(8) / 8)
    values = (2 * slow + wave)[:, None] * np.ones(8)
    table = LayerPE("input", values.reshape(64, 1), (8, 8))
    pe = PositionEmbedding("x", "vectors", "input", (table,))

    result = interpolate(pe, grid=(16, 16), method="fourier,bilinear")

    assert result.summary()["high_frequency_before"] == pytest.approx(1 / 5)
    assert result.summary()["high_frequency_after"] == pytest.approx(1 / 5, abs=1e-5)
    before, after = result.tables()[0].spectra
    assert_close(after[:4], before[:4])
    assert result.means("bilinear")["high_frequency_after"] < 0.16


# --- relative vectors


def test_relative_vectors_are_resampled_along_their_axis_and_windows_stay():
    pe = relative(14, 32, patch_size=(16, 16))
    result = interpolate(pe, res=(768, 640))
    resized = result.embedding()

    assert result.parameters["from"] == [32, 32]
    assert any("windows of 14×14 patches stay" in note for note in result.notes)
    for k, (old, new) in enumerate(zip(pe.tables, resized.tables)):
        side = (14, 14, 48, 40)[k]
        columns = torch.tensor(old.values.T)[None]
        expected = F.interpolate(columns, size=2 * side - 1, mode="linear")[0].T.numpy()
        assert_close(new.values, expected)
        assert new.part == old.part
    assert [table.grid_size for table in resized.tables[::2]] == [(14, 14), (48, 40)]
    assert result.values().shape == (4, 95, 4)
    assert np.isnan(result.values()[0, 27:]).all()


def test_the_stages_of_a_pyramid_keep_their_proportion():
    pe = relative(8, 4, 2, layer="stages.{}.blocks.0")

    resized = interpolate(pe, grid=(12, 16)).embedding()

    assert [table.grid_size for table in resized.tables[::2]] == [(12, 16), (6, 8), (3, 4)]
    assert [len(table.values) for table in resized.tables] == [23, 31, 11, 15, 5, 7]


def test_a_bias_of_stages_keeps_its_proportion_and_says_so():
    def stage(side):
        y, x = np.divmod(np.arange(side * side), side)
        apart = np.hypot(y[:, None] - y, x[:, None] - x)
        return LayerPE(f"stages.{side}.blocks.0", -apart[None], (side, side))

    pe = PositionEmbedding(
        "distance_bias",
        "bias",
        "layer",
        (stage(8), stage(4)),
        facts=FamilyFacts(is_of_stages=True),
    )

    result = interpolate(pe, grid=(12, 16), method="levit")

    assert [table.grid_size for table in result.embedding().tables] == [(12, 16), (6, 8)]
    assert result.values().shape == (2, 1, 192, 192)
    assert any("keep their proportion: 4×4 to 6×8" in note for note in result.notes)


def test_prefix_rows_of_relative_tables_are_kept():
    pe = relative(4, prefix=1)

    result = interpolate(pe, grid=(6, 5))

    assert result.values().shape == (2, 11, 4)
    np.testing.assert_array_equal(result.prefix[:, 0], [t.values[0] for t in pe.tables])
    np.testing.assert_array_equal(result.embedding().tables[1].values[0], pe.tables[1].values[0])


def test_a_joint_table_of_both_axes_is_resampled_in_both():
    values = np.random.default_rng(0).standard_normal((5 * 9, 4)) * 0.05
    table = LayerPE("stages.0", values, GRID, part="yx")
    pe = PositionEmbedding("x", "relative", "layer", (table,))

    result = interpolate(pe, grid=(4, 7), method="bicubic")

    grid = torch.tensor(values.reshape(5, 9, 4)).permute(2, 0, 1)[None].float()
    expected = F.interpolate(grid, size=(7, 13), mode="bicubic")[0].permute(1, 2, 0)
    assert_close(result.values()[0], expected.reshape(-1, 4).numpy())


# --- matrices


@pytest.mark.parametrize("make", [vectors, bias])
def test_the_matrices_of_a_result_make_its_tables(make):
    result = interpolate(make(), grid=(6, 7), method="all")

    for method in result.methods:
        done, pair = result.tables(method)[0], result.matrices(method)
        if pair is not None:
            found = np.einsum("ri,cj,ijd->rcd", *pair, done.before)
            assert_close(found, done.after, at=done.before, message=method)
    none = [name for name in result.methods if result.matrices(name) is None]
    assert none == (["mae-decoder", "muse"] if make is vectors else ["hf"])


def test_matrices_are_saved_by_method_and_what_has_none_is_named():
    buffer = io.BytesIO()
    interpolate(vectors(), grid=(6, 7), method="mae-decoder,area").save_matrices(buffer)
    saved = np.load(io.BytesIO(buffer.getvalue()))

    assert set(saved) == {"not_separable", "grid_size", "W_h/area", "W_w/area"}
    assert saved["not_separable"].tolist() == ["mae-decoder"]
    assert saved["W_h/area"].shape == (6, 3)


def test_matrices_of_methods_that_have_none_are_refused():
    with pytest.raises(UsageError, match="--matrix: mae-decoder cannot be written as one matrix"):
        interpolate(vectors(), grid=(6, 7), method="mae-decoder").save_matrices(io.BytesIO())
