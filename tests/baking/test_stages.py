"""The sizes of the stages of a pyramid are those of the model that timm makes for the new image."""

from __future__ import annotations

import pytest
import timm
import torch
from timm_cases import WORDS

from pe_inspect.baking.plan import BakeRequest, plan
from pe_inspect.kinds.layouts import in_proportion
from pe_inspect.loading import Checkpoint, Hints


def shapes(name, size):
    with torch.device("meta"):
        model = timm.create_model(name, img_size=size, num_classes=5)
    return {key: tuple(value.shape) for key, value in model.state_dict().items()}


@pytest.mark.parametrize(
    ("name", "old", "new", "grid"),
    [
        ("levit_128s", (208, 224), (240, 272), (15, 17)),
        ("levit_128s", (224, 224), (272, 208), (17, 13)),
        ("efficientformerv2_s0", (224, 224), (240, 272), (15, 17)),
        ("visformer_tiny", (224, 224), (240, 272), (30, 34)),
        ("mvitv2_tiny", (224, 224), (240, 240), (60, 60)),
        ("mvitv2_tiny", (224, 224), (304, 304), (76, 76)),
        ("coatnet_0_rw_224", (224, 224), (288, 288), (18, 18)),
        ("gcvit_xxtiny", (224, 224), (256, 256), (16, 16)),
        ("gcvit_xxtiny", (224, 224), (240, 240), (15, 15)),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_table_has_the_shape_that_timm_gives_it(name, old, new, grid):
    before, wanted = shapes(name, old), shapes(name, new)
    known = Hints(grid_size=(13, 14)) if old == (208, 224) else Hints()
    state = {key: torch.zeros(shape) for key, shape in before.items()}
    made = plan(Checkpoint.from_state_dict(state, hints=known), BakeRequest(grid=grid))
    found = {**before, **{key: values.shape for key, values in made.changes.items()}}
    positional = [key for key in wanted if any(word in key for word in WORDS)]
    assert {key: found[key] for key in positional} == {key: wanted[key] for key in positional}


@pytest.mark.parametrize(
    ("stage", "largest", "size", "up", "down"),
    [
        ((7, 7), (14, 14), (17, 15), (9, 8), (8, 7)),
        ((4, 4), (14, 14), (17, 15), (5, 4), (5, 4)),  # 14 has no such smaller half
        ((4, 4), (14, 14), (16, 16), (4, 4), (4, 4)),
        ((7, 10), (28, 40), (30, 43), (8, 11), (7, 10)),
        ((14, 14), (20, 20), (40, 30), (28, 21), (28, 21)),
        ((1, 2), (2, 4), (1, 1), (1, 1), (1, 1)),
        ((1, 1), (1, 1), (3, 7), (3, 7), (3, 7)),  # one patch, which is its own half
    ],
)
def test_half_of_an_odd_side_is_the_larger_or_the_smaller_half(stage, largest, size, up, down):
    assert in_proportion(stage, largest, size, rounding_up=True) == up
    assert in_proportion(stage, largest, size) == down
