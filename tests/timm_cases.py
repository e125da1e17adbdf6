"""What baking tests share: a timm model, a file of it, and a model for another resolution."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import timm
import torch
from safetensors.torch import load_file, save_file

import pe_inspect as pei

SMALL = {"depth": 2, "embed_dim": 48, "num_heads": 3}
SHORT = {"depths": (1, 1, 1, 1)}
GRID = {"grid_size": (4, 6)}
PX = {"res": (96, 160)}
WORDS = ("pos_emb", "patch_pos", "rel_pos", "relative", "attention_biases", "_rel")


@dataclass(frozen=True)
class Case:
    """A timm model before and after, and how to ask for the new size."""

    name: str
    old: Any
    new: Any
    ask: dict[str, Any]
    load: dict[str, Any] = field(default_factory=dict)
    made: dict[str, Any] = field(default_factory=dict)
    remade: dict[str, Any] = field(default_factory=dict)

    def model(self, size, more):
        torch.manual_seed(0)
        return timm.create_model(
            self.name, img_size=size, num_classes=5, **{**self.made, **more}
        ).eval()


def ids(cases):
    return [case.name for case in cases]


def baked(case, tmp_path, **more):
    """The model before, the state dict of the baked file, and the model for the new size."""
    before = case.model(case.old, {})
    source, target = tmp_path / "model.safetensors", tmp_path / "other.safetensors"
    state = {key: value.contiguous().clone() for key, value in before.state_dict().items()}
    for key, value in state.items():
        has_word = any(word in key for word in WORDS)
        if has_word and value.is_floating_point():
            torch.nn.init.normal_(value, std=0.5)
    before.load_state_dict(state)
    save_file(state, source, metadata={"format": "pt"})
    made = pei.bake(pei.load(source, **case.load), target, **{"method": "timm", **case.ask, **more})
    assert made.path == target
    return before, load_file(target), case.model(case.new, case.remade), made


def images(case):
    size = case.new if isinstance(case.new, tuple) else (case.new, case.new)
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))


def check_rest(before, state, made):
    """All other tensors are the same to the last bit."""
    for key, value in before.state_dict().items():
        assert key in made.changed or torch.equal(state[key], value)
        assert state[key].dtype == value.dtype
