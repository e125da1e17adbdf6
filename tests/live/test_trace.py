"""Traces of live models against the libraries' own attention maps and hidden states."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from transformers import AutoModel, models

import pe_inspect as pei
from pe_inspect.errors import UsageError
from pe_inspect.live.change import NotApplicable
from pe_inspect.live.edits import edits_of
from pe_inspect.live.hosts.common import IMAGENET, Preprocessing
from pe_inspect.live.images import image_stream
from pe_inspect.live.trace import trace

RES, COUNT = (24, 40), 6  # 3×5 patches
SHARED = {
    "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 48,
    "image_size": 32, "patch_size": 8,
}  # fmt: skip


def drawn(model, seed=0):
    random = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.data += torch.randn(parameter.shape, generator=random) * 0.15
    return model.eval()


def dinov2(**changes):
    config = models.dinov2.Dinov2Config(**SHARED, **changes)
    return drawn(AutoModel.from_config(config))


def pictures(count=COUNT, res=RES):
    return torch.randn(count, 3, *res, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def traced():
    model = dinov2()
    return model, trace(model, pictures(), res=RES, batch_size=4)


@pytest.fixture(scope="module")
def eager(traced):
    """Attention maps (blocks, images, heads, tokens, tokens) and states of transformers."""
    model, _ = traced
    model.set_attn_implementation("eager")
    with torch.no_grad():
        out = model(pictures(), output_attentions=True, output_hidden_states=True)
    model.set_attn_implementation("sdpa")
    states = [*out.hidden_states, out.last_hidden_state]
    return torch.stack(out.attentions).double().numpy(), [s.double().numpy() for s in states]


def patch_places():
    return np.divmod(np.arange(15), 5)


def test_distances_entropies_and_shares_are_those_of_eager_attention(traced, eager):
    rows, columns = patch_places()
    apart = np.hypot(rows[:, None] - rows, columns[:, None] - columns)
    for sums, maps in zip(traced[1].attention, eager[0], strict=True):
        among = maps[:, :, 1:, 1:]
        share = among.sum(-1, keepdims=True)
        own = among / share
        expected = {
            "distance_raw": (among * apart).sum(-1).mean((0, 2)),
            "distance_renormalised": (own * apart).sum(-1).mean((0, 2)),
            "prefix_share": (1 - share[..., 0]).mean((0, 2)),
            "entropy_all_keys": -(maps * np.log(maps))[:, :, 1:].sum(-1).mean((0, 2)),
            "entropy_renormalised": -(own * np.log(own)).sum(-1).mean((0, 2)),
            "entropy_of_mean": -(own.mean(0) * np.log(own.mean(0))).sum(-1).mean(-1),
            "cls_map": maps[:, :, 0, 1:].mean(0),
            "cls_entropy": -(maps * np.log(maps))[:, :, 0].sum(-1).mean(0),
            "mean_square": (own.mean(0) ** 2).sum((1, 2)),
        }
        for name, values in expected.items():
            np.testing.assert_allclose(getattr(sums, name), values, atol=2e-5, err_msg=name)
        assert sums.log_keys == pytest.approx(np.log(15))
        assert sums.distance_uniform == pytest.approx(apart.mean())


def test_the_offset_profile_is_a_loop_over_pairs(traced, eager):
    rows, columns = patch_places()
    sums, maps = traced[1].attention[1], eager[0][1][:, 2, 1:, 1:]
    mean = (maps / maps.sum(-1, keepdims=True)).mean(0)
    for dy, dx in [(0, 0), (1, 0), (0, -1), (-2, 4), (2, -3)]:
        pairs = [mean[q, k] for q in range(15) for k in range(15)
                 if (rows[k] - rows[q], columns[k] - columns[q]) == (dy, dx)]  # fmt: skip
        assert sums.offset_profile[2, dy + 2, dx + 4] == pytest.approx(np.mean(pairs), abs=1e-6)
        assert sums.pair_counts[dy + 2, dx + 4] == len(pairs)


def test_token_sums_are_those_of_the_hidden_states(traced, eager):
    for sums, state in zip(traced[1].states["base"], eager[1], strict=True):
        patches = state[:, 1:]
        grand = patches.mean((0, 1))
        np.testing.assert_allclose(sums.mean, state.mean(0), atol=1e-5)
        np.testing.assert_allclose(sums.norm, np.linalg.norm(state, axis=-1).mean(0), atol=1e-4)
        assert sums.ss_total == pytest.approx(((patches - grand) ** 2).sum(), rel=1e-5)
        between = 15 * ((patches.mean(1) - grand) ** 2).sum()
        assert sums.ss_images == pytest.approx(between, rel=1e-4)
        assert sums.ss_channels.sum() == pytest.approx(sums.ss_total)
    assert traced[1].places == ("h0", "h1", "h2", "final")


def test_the_fused_attention_stays_in_use(monkeypatch):
    model, calls = dinov2(), []
    own = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        torch.nn.functional, "scaled_dot_product_attention",
        lambda *args, **kwargs: calls.append(1) or own(*args, **kwargs),
    )  # fmt: skip
    trace(model, pictures(2), res=RES, questions=["attention"])
    assert len(calls) >= 4


def test_logits_are_the_sum_of_their_terms(traced):
    for sums in traced[1].attention:
        assert sums.logits is not None
        assert sums.logits.residual <= 1e-4
        whole = sums.logits.terms.sum((1, 2)) / sums.logits.square
        np.testing.assert_allclose(whole, 1, atol=1e-4)


def test_lambdas_leave_no_residual(traced):
    shares = traced[1].shares
    assert [share.layer for share in shares] == ["blocks.0", "blocks.1"]
    assert all(share.residual <= 2e-6 for share in shares)
    assert all(share.content + share.position >= 1 for share in shares)


def test_edits_are_what_a_changed_table_does(traced, eager):
    model, found = traced
    assert [edit.name for edit in found.edits] == [
        "zero", "mean_row", "shuffled", "roll_1", "flipped", "half", "double",
    ]  # fmt: skip  # transposed is missing: 3×5 patches
    with torch.no_grad():
        own = model.embeddings.interpolate_pos_encoding(torch.zeros(1, 16, 24), *RES)
        moved = own.clone()
        moved[:, 1:] = own[:, 1:].reshape(1, 3, 5, 24).roll(1, dims=2).reshape(1, 15, 24)
        embeddings = model.embeddings
        embeddings.interpolate_pos_encoding = lambda *_: moved
        edited = model(pictures()).last_hidden_state.double()
        del embeddings.interpolate_pos_encoding
    base = torch.from_numpy(eager[1][-1])
    alike = torch.cosine_similarity(base, edited, dim=-1)
    rolled = found.edits[3]
    assert rolled.cls_cosine[-1] == pytest.approx(float(alike[:, 0].mean()), abs=1e-5)
    assert rolled.patch_cosine[-1] == pytest.approx(float(alike[:, 1:].mean()), abs=1e-5)


def test_the_null_run_has_no_position_left_at_the_input(traced):
    base, null = (traced[1].states[run][0].patches for run in ("base", "null"))
    table = traced[0].embeddings.interpolate_pos_encoding(torch.zeros(1, 16, 24), *RES)[0, 1:]
    added = (table - table.mean(0)).detach().numpy()
    np.testing.assert_allclose(base - null, added, atol=1e-5)


def test_a_batch_size_changes_nothing(traced):
    other = trace(traced[0], pictures(), res=RES, batch_size=6)
    for one, two in zip(traced[1].attention, other.attention, strict=True):
        np.testing.assert_allclose(one.offset_profile, two.offset_profile, atol=1e-6)
    for one, two in zip(traced[1].folds["base"], other.folds["base"], strict=True):
        np.testing.assert_allclose(
            one.sums.sum(0) + COUNT * one.centre, two.sums.sum(0) + COUNT * two.centre, atol=1e-3
        )
    assert traced[1].images.sha256 == other.images.sha256


def test_a_trace_of_a_model_reopens(traced, tmp_path):
    path = traced[1].save(tmp_path / "x.trace.safetensors")
    again = pei.Trace.open(path)
    assert again.runs == traced[1].runs
    np.testing.assert_array_equal(again.states["base"][2].mean, traced[1].states["base"][2].mean)


def test_queries_are_sampled_where_memory_is_short(traced):
    found = trace(traced[0], pictures(), res=RES, questions=["attention"], max_memory=2000)
    assert found.attention[0].num_queries < 15
    assert any("queries were sampled" in note for note in found.notes)
    np.testing.assert_allclose(
        found.attention[0].distance_raw, traced[1].attention[0].distance_raw, rtol=0.3
    )


@pytest.mark.parametrize("kind", ["beit", "dinov3", "clip", "siglip", "vit", "mae"])
def test_other_models_of_transformers_run(kind):
    configs = {
        "beit": lambda: models.beit.BeitConfig(**SHARED, use_relative_position_bias=True),
        "dinov3": lambda: models.dinov3_vit.DINOv3ViTConfig(**SHARED, num_register_tokens=2),
        "clip": lambda: models.clip.CLIPVisionConfig(**SHARED),
        "siglip": lambda: models.siglip.SiglipVisionConfig(**SHARED),
        "vit": lambda: models.vit.ViTConfig(**SHARED),
        "mae": lambda: models.vit_mae.ViTMAEConfig(**SHARED, mask_ratio=0.0),
    }
    model = drawn(AutoModel.from_config(configs[kind]()))
    found = trace(model, pictures(4, (32, 32)))
    assert "null" in found.states
    assert len(found.attention) == 2
    for sums in found.attention:
        assert sums.logits is not None
        assert sums.logits.residual <= 1e-4
        whole = sums.logits.terms.sum((1, 2)) + sums.logits.bias
        np.testing.assert_allclose(whole / sums.logits.square, 1, atol=1e-3)
    assert bool(found.shares) == (kind in ("siglip", "vit", "mae"))


def test_timms_fused_and_unfused_attention_give_the_same():
    model = drawn(timm.create_model(
        "vit_tiny_patch16_224", img_size=(48, 80), depth=2, embed_dim=24, num_heads=3,
        num_classes=0,
    ))  # fmt: skip
    images = pictures(4, (48, 80))
    fused = trace(model, images, questions=["attention"])
    for block in model.blocks:
        block.attn.fused_attn = False
    unfused = trace(model, images, questions=["attention"])
    for one, other in zip(fused.attention, unfused.attention, strict=True):
        np.testing.assert_allclose(one.offset_profile, other.offset_profile, atol=1e-6)
    assert fused.attention[0].logits is not None


def test_windows_and_stages_are_summed_within_themselves():
    model = drawn(timm.create_model(
        "swin_tiny_patch4_window7_224", img_size=(56, 112), window_size=7, num_classes=0,
        depths=(2, 2), num_heads=(2, 4), embed_dim=16,
    ))  # fmt: skip
    found = trace(model, pictures(4, (56, 112)))
    assert [sums.grid_size for sums in found.attention] == [(7, 7)] * 4
    assert all(sums.is_window and sums.logits is None for sums in found.attention)
    assert [sums.grid_size for sums in found.states["base"]] == [
        (14, 28), (14, 28), (7, 14), (7, 14), (7, 14), (7, 14),
    ]  # fmt: skip
    assert found.attention[1].log_keys < found.attention[0].log_keys  # shifted windows are masked
    result = pei.attention(found)
    assert result.arrays()["position_nats/stage1"].shape == (2, 4)
    assert len(pei.probe(found).plane_share[4]) == 32


@pytest.mark.parametrize(("scheme", "join"), [("learned", "lape"), ("relative", "layer"), ("rope_axial", "layer"), ("peg", "layer"), ("none", "none")])  # fmt: skip # noqa: E501
def test_our_own_schemes_run(lively, scheme, join):
    found = trace(lively(scheme, join), pictures(4, (12, 20)))
    assert len(found.attention) == len(found.layer_names)
    assert ("null" in found.states) == (scheme != "none")
    if (scheme, join) == ("learned", "lape"):
        logits = found.attention[0].logits
        assert logits is not None
        assert logits.residual <= 1e-4


@pytest.mark.usefixtures("unchecked")
def test_a_model_without_attention_and_bad_images_are_refused(tmp_path):
    mixer = timm.create_model("mixer_s32_224", num_classes=0).eval()
    with pytest.raises(NotApplicable, match="MlpMixer computes no attention"):
        trace(mixer, pictures(1, (224, 224)))
    with pytest.raises(UsageError, match="images are 32×32 pixels, and the model is at 24×40"):
        trace(dinov2(), pictures(1, (32, 32)), res=RES)
    with pytest.raises(UsageError, match="images have 1 channels, and Dinov2Model takes 3"):
        trace(dinov2(), pictures(1)[:, :1], res=RES)
    with pytest.raises(UsageError, match="questions are attention, contribution, probe, not x"):
        trace(dinov2(), pictures(1), questions=["x"])
    with pytest.raises(UsageError, match="holds no images"):
        trace(dinov2(), tmp_path)
    with pytest.raises(UsageError, match="trace was given a int"):
        trace(3)
    (tmp_path / "a.jpg").write_bytes(b"no image")
    with pytest.raises(UsageError, match=r"none of 1 images of .* can be read"):
        trace(dinov2(), tmp_path)


def test_a_folder_is_read_class_by_class_and_a_corrupt_file_is_named(tmp_path):
    from PIL import Image

    for name in (
        ".ipynb_checkpoints/1.png",
        "a/._1.png",
        "a/1.png",
        "a/2.png",
        "b/1.png",
        "b/2.png",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (9, 7), 60).save(tmp_path / name)
    (tmp_path / "a/2.png").write_bytes(b"\x89PNG")
    stream = image_stream(tmp_path, IMAGENET, 0)
    assert [f"{file.parent.name}/{file.name}" for file in stream.items] == [
        "a/1.png", "b/1.png", "a/2.png", "b/2.png",
    ]  # fmt: skip
    found = trace(dinov2(), tmp_path, res=RES, questions=["attention"])
    assert found.images.count == 3
    assert "a/2.png" in found.images.left_out[0]


def test_the_default_images_are_crops_of_two_photographs():
    stream = image_stream(None, IMAGENET, 0)
    assert len(stream) == 64
    assert {item.shape[0] for item in stream.items} == {149, 234, 341}
    again = image_stream(None, IMAGENET, 0)
    assert all(np.array_equal(a, b) for a, b in zip(stream.items, again.items))
    cut = Preprocessing((0.0,) * 3, (1.0,) * 3, "x", 48)
    images = next(image_stream(None, cut, 0).batches((40, 40), 3))
    assert images.shape == (3, 3, 40, 40)
    assert 0 <= float(images.min()) < float(images.max()) <= 1


def test_edits_move_rows_as_their_names_say():
    edits = edits_of((2, 3), 0)
    rows = torch.arange(6.0)[:, None]
    assert edits["roll_1"].rows(rows, 0)[:, 0].tolist() == [2, 0, 1, 5, 3, 4]
    assert edits["flipped"].rows(rows, 0)[:, 0].tolist() == [2, 1, 0, 5, 4, 3]
    assert edits["mean_row"].rows(rows, 1)[:, 0].tolist() == [0, 3, 3, 3, 3, 3]
    square = edits_of((2, 2), 0)["transposed"]
    assert square.rows(rows[:4], 0)[:, 0].tolist() == [0, 2, 1, 3]
