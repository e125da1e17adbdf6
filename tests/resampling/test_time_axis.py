"""Another number of frames: linear along time, and with bilinear space PyTorch's trilinear."""

from __future__ import annotations

import numpy as np
import pytest
from invented.parts import offsets, pair_index, table

from pe_inspect.analysis.interpolate import interpolate
from pe_inspect.errors import UsageError
from pe_inspect.kinds.held_values import Lookup
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding

GRID = (3, 4, 5)


def clip() -> PositionEmbedding:
    rows = LayerPE("input", table(GRID, 1, 8), GRID, 1)
    return PositionEmbedding("learned_absolute", "vectors", "input", (rows,))


@pytest.mark.parametrize("target", [(5, 6, 7), (2, 3, 4), (1, 4, 5)])
def test_time_and_bilinear_space_are_pytorch_s_trilinear(target):
    torch = pytest.importorskip("torch")
    result = interpolate(clip(), grid=target, method="bilinear")

    rows = torch.from_numpy(clip().tables[0].patches.copy()).reshape(1, *GRID, 8)
    moved = torch.nn.functional.interpolate(
        rows.permute(0, 4, 1, 2, 3), size=target, mode="trilinear", align_corners=False
    )
    after = next(iter(result.outcomes.values()))[0].after
    found = after.reshape(*target[1:], target[0], 8).transpose(2, 0, 1, 3)
    assert np.allclose(found, moved[0].permute(1, 2, 3, 0).numpy(), atol=1e-5)
    assert any("linearly along time" in note for note in result.notes)


def test_the_same_frames_are_left_alone_and_nothing_is_said_of_time():
    result = interpolate(clip(), grid=(3, 6, 7), method="bilinear")
    assert not any("along time" in note for note in result.notes)


def test_a_bias_of_windows_keeps_its_frames():
    held = Lookup(offsets((2, 3, 4), 3).T, pair_index((2, 3, 4)))
    layers = (LayerPE.from_lookup("blocks.0", held, (2, 3, 4)),)
    pe = PositionEmbedding("relative_bias", "bias", "layer", layers)
    with pytest.raises(UsageError, match=r"only tables of vectors .* Pass --grid 2xHxW"):
        interpolate(pe, grid=(4, 3, 4))


def test_no_frames_at_all_is_refused():
    with pytest.raises(UsageError, match="at least 1 frame"):
        interpolate(clip(), grid=(0, 4, 5))


def test_vivit_s_own_code_has_no_rule_that_works():
    """It takes the square root of all places, frames among them, and resamples that as a plane."""
    torch, hf = pytest.importorskip("torch"), pytest.importorskip("transformers")
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    video = {"image_size": 32, "num_frames": 4, "tubelet_size": [2, 8, 8]}
    model = hf.VivitModel(hf.VivitConfig(**sizes, **video, intermediate_size=8))
    with pytest.raises(RuntimeError, match="is invalid for input of size"):
        model(torch.zeros(1, 4, 3, 32, 48), interpolate_pos_encoding=True)
