"""Rotary vision models of transformers: config.json gives the turns that the library makes."""

from __future__ import annotations

import importlib
import os
from dataclasses import replace

import numpy as np
import pytest
import torch

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import transformers as hf
from closeness import assert_close
from families.transformers_rotary import GRID, built, rotary_models

from pe_inspect.families import extract
from pe_inspect.families.reading.rotation import first_of_pairs, pairing_of
from pe_inspect.loading import load

pytestmark = pytest.mark.filterwarnings("ignore")
hf.logging.set_verbosity_error()
hf.logging.disable_progress_bar()

QUICK = {
    "qwen2_vl": "Qwen2VisionTransformerPretrainedModel",
    "qwen3_vl": "Qwen3VLVisionModel",
    "glm4v": "Glm4vVisionModel",
    "kimi_k25": "Kimi_K25VisionModel",
    "minimax_m3_vl": "MiniMaxM3VLVisionModel",
    "step3p7": "Step3p7VisionModel",
    "muse_glimmer": "MuseGlimmerVisionModel",
    "llama4": "Llama4VisionModel",
}
SQUARE = (4, 4)  # the grid of a model that takes images of its own size alone


def made(name):
    module = importlib.import_module(f"transformers.models.{name}.modeling_{name}")
    model_class = getattr(module, QUICK[name])
    return built(model_class.config_class, model_class)


def rotary_of(folder, grid=None):
    checkpoint = load(folder)
    hints = replace(checkpoint.hints, grid_size=grid, family="rotary")
    (pe,) = extract(replace(checkpoint, hints=hints))
    return pe


def differs(model, folder):
    """How far our turns are from the library's, as cosines and sines; NaN where it makes none."""
    grid = SQUARE if model.kind == "llama4_vision_model" else GRID
    try:
        cosines, sines = model.turns(grid)[0]
    except Exception:
        return float("nan")
    count = grid[0] * grid[1]
    cosines, sines = cosines[:count], sines[:count]
    model.model.save_pretrained(folder)
    ours = rotary_of(folder, grid).tables[0].values[0]
    pairs = ours.shape[1]
    if cosines.shape[1] > pairs or model.kind.startswith("minimax"):
        pairing = "interleaved" if "inkling" in model.kind else pairing_of(cosines) or "half"
        cosines, sines = (first_of_pairs(each, pairing) for each in (cosines, sines))
    theirs = np.concatenate([cosines, sines], axis=1)
    turned = cosines.shape[1]
    assert not ours[:, turned:].any()  # channels that do not turn
    own = np.concatenate([np.cos(ours[:, :turned]), np.sin(ours[:, :turned])], axis=1)
    if model.kind.startswith("muse"):  # whose windows put the patches in another order
        near = np.abs(own[:, None] - theirs[None]).max(axis=-1).argmin(axis=1)
        assert len(set(near)) == count
        theirs = theirs[near]
    return float(np.abs(own - theirs).max())


@pytest.mark.parametrize("name", QUICK)
def test_turns_are_those_of_the_library_s_module(name, tmp_path):
    assert differs(made(name), tmp_path) < 1e-5


def test_a_model_of_any_grid_is_described_and_asks(tmp_path):
    made("qwen2_vl").model.save_pretrained(tmp_path)

    (pe,) = extract(load(tmp_path))

    assert (pe.family, pe.kind, pe.stored, pe.grid_size, pe.depth) == (
        *("rotary", "phases", False),
        *(None, 2),
    )
    assert "config.json: qwen2_vl_vision, 2 heads of 16 channels, base 10000" in pe.notes
    assert any("Pass --grid-size HxW" in note for note in pe.notes)


def test_v_jepa_2_turns_by_frame_row_and_column(tmp_path):
    from transformers.models.vjepa2.modeling_vjepa2 import rotate_queries_or_keys

    config = hf.VJEPA2Config(
        hidden_size=32, num_attention_heads=2, num_hidden_layers=2, pred_hidden_size=32,
        pred_num_attention_heads=2, pred_num_hidden_layers=1, pred_num_mask_tokens=1,
        crop_size=48, patch_size=16, frames_per_clip=4, tubelet_size=2, num_pooler_layers=1,
    )  # fmt: skip
    hf.VJEPA2Model(config).save_pretrained(tmp_path)

    (pe,) = extract(load(tmp_path))

    assert (pe.grid_size, pe.depth, pe.stored) == ((2, 3, 3), 2, False)
    ours = pe.tables[0].values[0]
    for axis, places in enumerate(np.indices((2, 3, 3)).reshape(3, -1)):
        one, other = torch.zeros(2, 1, 1, 18, 4)
        one[..., ::2], other[..., 1::2] = 1, 1
        at = torch.from_numpy(places)[None, None].float()
        first, second = (rotate_queries_or_keys(x, at)[0, 0].numpy() for x in (one, other))
        angles = ours[:, 2 * axis : 2 * axis + 2]
        assert_close(np.cos(angles), np.stack([first[:, 0], second[:, 1]], axis=1), at=angles)
        assert_close(np.sin(angles), np.stack([-second[:, 0], first[:, 1]], axis=1), at=angles)
    assert not ours[:, 6:].any()


def test_a_type_whose_rule_is_not_known_is_named(tmp_path):
    made("qwen2_vl").model.save_pretrained(tmp_path)
    checkpoint = load(tmp_path)
    config = {**checkpoint.metadata["config"], "model_type": "some_vision"}

    (pe,) = extract(replace(checkpoint, metadata={"config": config}))

    assert (pe.grid_size, pe.kind) == (None, "phases")
    assert any("some_vision turns queries and keys by axis" in note for note in pe.notes)


@pytest.mark.sweep
def test_every_type_of_transformers_with_rotary_vision_turns_as_its_module(tmp_path):
    found = {}
    for model in rotary_models():
        if model.config.to_dict().get("patch_size") is not None and "sam3" not in model.kind:
            found[model.kind] = differs(model, tmp_path / model.kind)

    wrong = {kind: away for kind, away in found.items() if away > 1e-5}
    assert wrong == {}
    assert sum(away <= 1e-5 for away in found.values()) >= 20
