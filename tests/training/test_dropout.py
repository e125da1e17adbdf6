"""Dropout on a CPU drops as many values as PyTorch's, and keeps means."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pe_inspect.models.vit import VisionTransformer
from pe_inspect.training import Recipe
from pe_inspect.training.dropout import Dropout, suit_dropout

CPU = torch.device("cpu")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.93])
def test_the_share_is_dropped_and_the_others_are_scaled(share: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    values = torch.ones(400, 701, dtype=dtype)
    made = Dropout(share)(values)
    assert float((made == 0).float().mean()) == pytest.approx(share, abs=0.003)
    (scale,) = made[made != 0].unique()
    assert float(scale) == pytest.approx(
        1 / (1 - share), rel=1e-3 if dtype is torch.float32 else 8e-3
    )


def test_neighbours_are_dropped_independently_in_both_directions() -> None:
    torch.manual_seed(0)
    dropped = (Dropout(0.5)(torch.ones(999, 1001)) == 0).float() - 0.5
    for distance in (1, 2, 3, 4, 8):
        along = 4 * (dropped[:, distance:] * dropped[:, :-distance]).mean()
        across = 4 * (dropped[distance:] * dropped[:-distance]).mean()
        assert abs(float(along)) < 0.005
        assert abs(float(across)) < 0.005


def test_gradients_pass_where_values_did() -> None:
    torch.manual_seed(0)
    values = torch.randn(30, 50, requires_grad=True)
    made = Dropout(0.3)(values)
    made.sum().backward()
    torch.testing.assert_close(values.grad * values.detach(), made.detach())


def test_the_seed_of_torch_is_its_own() -> None:
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(Dropout(0.5)(torch.ones(64)))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_nothing_and_everything() -> None:
    values = torch.randn(7)
    assert torch.equal(Dropout(0.5).eval()(values), values)
    assert torch.equal(Dropout(0.0)(values), values)
    assert not Dropout(1.0)(values).any()


def test_only_what_drops_is_exchanged_and_only_on_a_cpu(tiny: Recipe) -> None:
    recipe = tiny.with_overrides(["pos_drop_rate=0.1", "proj_drop_rate=0.2"])
    kinds = []
    for device in (CPU, torch.device("meta")):
        model = VisionTransformer(recipe.model)
        keys = list(model.state_dict())
        suit_dropout(model, device)
        assert list(model.state_dict()) == keys
        found = [module for module in model.modules() if isinstance(module, nn.Dropout)]
        kinds.append({(module.p, type(module)) for module in found})
    assert kinds[0] == {(0.0, nn.Dropout), (0.1, Dropout), (0.2, Dropout)}
    assert {kind for _, kind in kinds[1]} == {nn.Dropout}
