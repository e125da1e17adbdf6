"""A model of several grids: each becomes what timm makes it, whichever of them is looked at."""

from __future__ import annotations

import pytest
import timm
import transformers as hf

import pe_inspect as pei
from pe_inspect.baking.plan import BakeRequest, plan
from pe_inspect.loading.checkpoint import Checkpoint, Hints
from pe_inspect.resampling.model_grids import grid_in_model

CASES = [
    ("nest_tiny", 64, 96, {"res": 96}, [(24, 24), (12, 12), (6, 6)]),
    ("nest_tiny", 64, 96, {"grid": 24}, [(24, 24), (12, 12), (6, 6)]),
    ("crossvit_tiny_240", 240, (240, 480), {"grid": (20, 40)}, [(20, 40), (14, 28)]),
    ("visformer_tiny", (64, 96), (96, 160), {"grid": (12, 20)}, [(12, 20), (6, 10), (3, 5)]),
    ("tnt_s_legacy_patch16_224", 64, (96, 64), {"grid": (6, 4)}, [(6, 4), (4, 4)]),
]


def checkpoint_of(name, size):
    return Checkpoint.from_state_dict(timm.create_model(name, img_size=size).state_dict())


@pytest.mark.parametrize(("name", "old", "new", "ask", "grids"), CASES)
def test_every_table_is_on_the_grid_that_timm_gives_it(name, old, new, ask, grids):
    checkpoint, theirs = checkpoint_of(name, old), checkpoint_of(name, new)
    model = pei.extract(checkpoint)
    results = [pei.interpolate(pe, model=model, **ask) for pe in model]
    assert [result.grid_size for result in results] == grids
    assert [tuple(result.parameters["grid"]) for result in results] == grids
    for result in results:
        (key,) = result.pe.keys
        rows = result.values().shape[1] + result.pe.num_prefix_rows
        assert rows * result.pe.embed_dim == theirs.tensors[key].size


@pytest.mark.parametrize(("name", "old", "new", "ask", "grids"), CASES)
def test_what_is_shown_is_what_is_written(name, old, new, ask, grids):
    checkpoint = checkpoint_of(name, old)
    written = plan(checkpoint, BakeRequest(**ask))
    shown = [
        grid_in_model(pe, written.tables, ask.get("res"), ask.get("grid"), None)
        for pe in written.tables
    ]
    assert shown == [after for _, after in written.grids]


def test_notes_say_what_becomes_of_the_further_tables():
    model = pei.extract(checkpoint_of("tnt_s_legacy_patch16_224", 64))
    outer, inner = (pei.interpolate(pe, model=model, grid=(6, 4)) for pe in model)
    assert not any("4×4 grid" in note and "stays" in note for note in outer.notes)
    assert "this table stays on its 4×4 grid: the image's size does not change it" in inner.notes
    branches = pei.extract(checkpoint_of("crossvit_tiny_240", 240))
    second = pei.interpolate(branches[1], model=branches, grid=(20, 40))
    assert any(note.startswith("its 14×14 grid becomes 14×28") for note in second.notes)


def test_a_table_by_itself_is_put_on_the_grid_that_is_asked_for():
    levels = pei.extract(checkpoint_of("nest_tiny", 64))
    assert pei.interpolate(levels[1], grid=(12, 24)).grid_size == (12, 24)


def test_offsets_over_more_patches_than_a_pretrained_table_follow_the_image():
    """VitDet keeps the table of the smaller images that it was pre-trained on."""

    def vitdet(image):
        return hf.VitDetModel(hf.VitDetConfig(
            image_size=image, pretrain_image_size=64, patch_size=16, hidden_size=32,
            num_hidden_layers=1, num_attention_heads=2, use_relative_position_embeddings=True,
            window_block_indices=[],
        ))  # fmt: skip

    known = Hints(grid_size=(4, 4))
    model = pei.extract(Checkpoint.from_state_dict(vitdet(128).state_dict(), hints=known))
    offsets = next(pe for pe in model if pe.kind == "relative")
    rows, columns = grid_in_model(offsets, model, (192, 96), None, None)
    theirs = vitdet([192, 96]).encoder.layer[0].attention
    assert (2 * rows - 1, 2 * columns - 1) == (len(theirs.rel_pos_h), len(theirs.rel_pos_w))
