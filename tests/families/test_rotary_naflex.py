"""NaFlexViT takes its position from the `model_args` that timm writes into a config.json."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from closeness import assert_close

from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families import extract
from pe_inspect.loading.checkpoint import Checkpoint, Hints

NAME = "naflexvit_base_patch16_gap"
SMALL = {"depth": 2, "embed_dim": 32, "num_heads": 2}


def built(**arguments):
    torch.manual_seed(0)
    return timm.create_model(NAME, **SMALL, **arguments)


def saved(model, **arguments):
    state = {key: value.numpy() for key, value in model.state_dict().items()}
    origins = {"arch": "config.json", "grid_size": "--grid-size"}
    hints = Hints(arch=NAME, grid_size=(3, 5), origins=origins)
    config = {"architecture": NAME, "model_args": SMALL | arguments}
    return replace(Checkpoint.from_state_dict(state, hints=hints), metadata={"config": config})


def turns_like(angles, table, *, in_halves):
    sine, cosine = np.split(table.detach().numpy(), 2, axis=-1)
    pick = np.s_[..., : sine.shape[-1] // 2] if in_halves else np.s_[..., ::2]
    assert_close(np.sin(angles), sine[pick], at=angles)
    assert_close(np.cos(angles), cosine[pick], at=angles)


@pytest.mark.parametrize("rope_type", ["axial", "dinov3"])
@pytest.mark.parametrize("in_halves", [False, True])
def test_angles_that_no_file_stores_are_those_of_timm_s_module(rope_type, in_halves):
    arguments = {"pos_embed": "none", "rope_type": rope_type, "rope_rotate_half": in_halves}
    model = built(**arguments)

    (pe,) = extract(saved(model, **arguments))

    assert (pe.family, pe.stored, pe.grid_size) == ("rotary", False, (3, 5))
    turns_like(pe.tables[1].values[0], model.rope.get_embed([3, 5]), in_halves=in_halves)
    assert (
        f"computed from config.json {NAME}: the file stores nothing of its rotary embedding"
        in pe.notes
    )


def test_learned_frequencies_are_those_of_timm_s_module():
    arguments = {"pos_embed": "none", "rope_type": "mixed"}
    model = built(**arguments)

    (pe,) = extract(saved(model, **arguments))

    assert (pe.family, pe.stored, pe.num_heads) == ("rotary", True, 2)
    for layer, table in zip(pe.tables, model.rope.get_embed([3, 5]), strict=True):
        turns_like(layer.values, table, in_halves=False)


def test_a_table_beside_the_rotations_is_read_as_well():
    arguments = {"pos_embed": "learned", "pos_embed_grid_size": [3, 5], "rope_type": "axial"}

    found = extract(saved(built(**arguments), **arguments))

    assert [pe.family for pe in found] == ["learned_absolute", "rotary"]


def test_model_args_without_rotations_give_none():
    arguments = {"pos_embed_grid_size": [3, 5], "rope_type": "none"}

    (pe,) = extract(saved(built(**arguments), **arguments))

    assert pe.family == "learned_absolute"


def test_model_args_that_timm_does_not_build_are_refused():
    message = r"model_args that timm does not build naflexvit_base_patch16_gap with: .*'spiral'"
    with pytest.raises(AmbiguousCheckpoint, match=message):
        extract(saved(built(pos_embed="none"), pos_embed="none", rope_type="spiral"))
