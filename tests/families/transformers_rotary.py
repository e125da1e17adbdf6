"""Tiny rotary vision models of every type in transformers, and the turns that each of them makes.

Nothing is typed by hand: the classes are those of the library's modules that take images, and the
turns are caught where the library's own rotary module, or its attention, makes them.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from resampling.transformers_objects import (
    LARGEST,
    Table,
    _inputs,
    _plainness,
    _small,
    classes,
)

ROTARY = re.compile(r"Rotary|Rope|RoPE")
GRID = (3, 5)
_PARTS = re.compile(r"^predictor\.|audio|text")


@dataclass(frozen=True)
class RotaryModel:
    """A tiny model of one type, and the module of it that turns queries and keys.

    Attributes:
        model: in evaluation mode.
        config: its own.
        path: of the first such module.
    """

    model: Any
    config: Any
    path: str

    @property
    def kind(self) -> str:
        return str(self.config.model_type)

    def turns(self, grid: tuple[int, int] = GRID) -> list[tuple[np.ndarray, np.ndarray]]:
        """Cosines and sines of the image's tokens, (tokens, channels), call by call."""
        seen: list[Any] = []
        own = type(self.model.get_submodule(self.path))
        hooks = [
            module.register_forward_hook(lambda _m, _i, out: seen.append(out))
            for module in self.model.modules()
            if type(module) is own
        ]
        takes = inspect.signature(self.model.forward).parameters
        given = _inputs(Table(self.model, self.config, self.path), *grid)
        try:
            with torch.no_grad():
                self.model(**{name: each for name, each in given.items() if name in takes})
        except Exception:
            if not seen:
                raise
        finally:
            for hook in hooks:
                hook.remove()
        return [_cosines_and_sines(out) for out in seen]


def _cosines_and_sines(out: Any) -> tuple[np.ndarray, np.ndarray]:
    if torch.is_tensor(out) and out.is_complex():
        values = out.reshape(-1, out.shape[-1]).numpy()
        return values.real, values.imag
    cosines, sines = (each.reshape(-1, each.shape[-1]).float().numpy() for each in out[:2])
    return cosines, sines


def rotary_models(only: tuple[str, ...] = ()) -> Iterator[RotaryModel]:
    """Yield a model of every type with a rotary module over images that can be built."""
    for config_class, kinds in classes().items():
        if only and config_class.model_type not in only:
            continue
        made = built(config_class, min(kinds, key=_plainness))
        if made is not None:
            yield made


def built(config_class: Any, model_class: Any, **said: Any) -> RotaryModel | None:
    if "input_ids" in inspect.signature(model_class.forward).parameters:
        return None
    torch.manual_seed(0)
    try:
        config = _small(config_class)
        for name, value in said.items():
            setattr(config, name, value)
        with torch.device("meta"):
            made = model_class(config)
        path = next(_rotary(made), None)
        if sum(each.numel() for each in made.parameters()) > LARGEST:
            return None
        return path and RotaryModel(model_class(config).eval(), config, path)
    except Exception:
        return None


def _rotary(model: Any) -> Iterator[str]:
    for name, module in model.named_modules():
        if ROTARY.search(type(module).__name__) and not _PARTS.search(name):
            yield name
