"""A model's file shows its positions: what `extract` reads is what the model computes with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from closeness import assert_close
from safetensors.torch import save_file

import pe_inspect as pei
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.kinds.tables_by_layer import received
from pe_inspect.loading import Checkpoint, Hints
from pe_inspect.models.config import SCHEMES
from pe_inspect.models.vit import VisionTransformer

GRID = (3, 4)
FAMILIES = {
    "learned": ("learned_absolute", "vectors"),
    "sincos1d": ("sinusoidal_1d", "vectors"),
    "sincos2d": ("sinusoidal_2d", "vectors"),
    "fourier": ("fourier", "function"),
    "relative": ("shaw_relative", "relative"),
    "rel_bias_1d": ("relative_bias", "bias"),
    "rel_bias_2d": ("relative_bias", "bias"),
    "rel_bias_mlp": ("bias_network", "function"),
    "rope_axial": ("rotary", "phases"),
    "rope_mixed": ("rotary", "phases"),
    "peg": ("conditional", "function"),
}
COMBINATIONS = [(scheme, join) for scheme in FAMILIES for join in SCHEMES[scheme]]


def saved(model: VisionTransformer, folder: Path) -> Checkpoint:
    save_file(
        {k: v.contiguous() for k, v in model.state_dict().items()}, folder / "model.safetensors"
    )
    (folder / "config.json").write_text(json.dumps({"model": model.config.to_dict()}))
    return pei.load(str(folder))


@pytest.mark.parametrize(
    "tokens", [{}, {"distilled": True, "reg_tokens": 1}, {"no_embed_class": True}]
)
@pytest.mark.parametrize(("scheme", "join"), COMBINATIONS)
def test_a_folder_shows_scheme_join_grid_and_values(
    scheme: str, join: str, tokens: dict, vit, tmp_path: Path
) -> None:
    model = vit(scheme=scheme, join=join, **tokens)
    checkpoint = saved(model, tmp_path)
    (pe,) = pei.extract(checkpoint)
    assert (pe.family, pe.kind) == FAMILIES[scheme]
    assert (pe.join, pe.grid_size, pe.depth) == (join, GRID, 2)
    assert pe.num_parameters == model.config.num_position_parameters
    assert pe.num_prefix_tokens == model.config.num_prefix_tokens
    assert_same_values(pe, model)
    rebuilt = pei.rebuild(checkpoint)
    picture = torch.randn(1, 3, 12, 32, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        assert_close(rebuilt(picture), model(picture), operations=32)


@pytest.mark.parametrize(("scheme", "join"), COMBINATIONS)
def test_a_live_model_shows_the_same_with_hints(scheme: str, join: str, vit) -> None:
    model = vit(scheme=scheme, join=join)
    hints = Hints(
        grid_size=GRID, join=join, origins={"grid_size": "the model", "join": "the model"}
    )
    checkpoint = Checkpoint.from_state_dict(model.state_dict(), hints=hints)
    (pe,) = pei.extract(checkpoint)
    assert (pe.family, pe.kind, pe.join, pe.grid_size) == (*FAMILIES[scheme], join, GRID)
    assert_same_values(pe, model)


def test_a_model_without_positions_says_so(vit, tmp_path: Path) -> None:
    checkpoint = saved(vit(scheme="none"), tmp_path)
    with pytest.raises(
        pei.NoPositionEmbedding, match=r"None: config\.json says that the model has"
    ):
        pei.extract(checkpoint)
    assert pei.rebuild(checkpoint).config.scheme == "none"


@torch.no_grad()
def assert_same_values(pe: PositionEmbedding, model: VisionTransformer) -> None:
    for shown, used in zip(pe.tables, used_by(model), strict=True):
        assert_close(of(pe, shown.values), used.numpy())
    if pe.join in ("lape", "pvg", "mpvg"):
        joined = [table.values for table in received(pe) if table.notion == "joined"]
        for shown, used in zip(joined, joined_in(model), strict=True):
            assert_close(shown, used.numpy(), operations=32)


def of(pe: PositionEmbedding, values: np.ndarray) -> np.ndarray:
    """Angles are the same if their sines and cosines are."""
    if pe.kind != "phases":
        return values
    angles = values.astype(np.float64).repeat(2, axis=-1)
    return np.concatenate((np.sin(angles), np.cos(angles)), axis=-1)


def used_by(model: VisionTransformer) -> list[torch.Tensor]:
    """What the model computes with, in the order in which `extract` lists it."""
    prefix = model.config.num_prefix_rows
    attentions = [block.attn for block in model.blocks]
    match model.config.scheme:
        case "fourier":
            return [table[0, prefix:] for table in model.tables(GRID)]
        case "relative":
            return [
                getattr(
                    getattr(attn, f"{side}_pos_embedding"), f"{axis}_relative_embedding_table"
                ).weight
                for attn in attentions
                for side in ("query", "value")
                for axis in ("y", "x")
            ]
        case "rel_bias_1d" | "rel_bias_2d":
            return [attn.bias(GRID) for attn in attentions]
        case "rel_bias_mlp":
            return [attn.joined_bias(GRID) for attn in attentions]
        case "rope_axial":
            return [model.rope(GRID)[None]] * 2
        case "rope_mixed":
            return list(model.rope(GRID))
        case "peg":
            ones = torch.ones(1, 12, 24)
            return [(model.pos_block[0](ones, GRID) - ones)[0]]
    return [table[0] for table in model.tables(GRID)]


def joined_in(model: VisionTransformer) -> list[torch.Tensor]:
    """What the model's attentions and last norm receive beside the tokens."""
    if not model.config.has_table:
        p = model.config.num_prefix_tokens
        return [block.attn.joined_bias(GRID)[:, p:, p:] for block in model.blocks]
    hidden = model.config.num_prefix_tokens - model.config.num_prefix_rows
    beside = [omega[0, hidden:] for omega in model.joined_positions() if omega is not None]
    last = [model.pe_norm(model.pos_embed)[0]] if model.pe_norm is not None else []
    return beside + last
