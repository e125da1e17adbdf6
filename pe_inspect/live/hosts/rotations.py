"""Rotations of q and k, whatever library makes them: sines and cosines, changed on their way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Final

import torch
from torch import nn

from pe_inspect.live.change import Change, NotApplicable, replaced
from pe_inspect.live.hosts.biases import answering

__all__ = ["rotation_changes", "turning_modules"]

_NAMES: Final = ("Rope", "Rotary")
_EMBED: Final = "get_embed"  # timm's method; it gives sines, then cosines, in one tensor


def turning_modules(model: nn.Module) -> list[nn.Module]:
    """Return the modules that give sines and cosines: called so, and no attention themselves."""
    named = (m for m in model.modules() if any(name in type(m).__name__ for name in _NAMES))
    return [m for m in named if not any(isinstance(part, nn.Linear) for part in m.modules())]


def rotation_changes(model: nn.Module, change: Change) -> Iterator[AbstractContextManager[Any]]:
    """Yield what changes every rotation of a model for a while.

    Raises:
        NotApplicable: of a factor that sines and cosines do not tell, once the model runs.
    """
    for module in turning_modules(model):
        own = getattr(module, _EMBED, None)
        if own is not None:
            yield replaced(module, _EMBED, _of_embed(own, change))
        else:
            yield answering(module, lambda given: _of_pair(given, change))


def _of_embed(own: Callable[..., Any], change: Change) -> Callable[..., Any]:
    def changed(*args: Any, **kwargs: Any) -> Any:
        given = own(*args, **kwargs)
        if isinstance(given, tuple):
            cosines, sines = _changed(given[1], given[0], change)
            return sines, cosines
        sines, cosines = given.chunk(2, dim=-1)
        cosines, sines = _changed(cosines, sines, change)
        return torch.cat((sines, cosines), dim=-1)

    return changed


def _of_pair(given: Any, change: Change) -> Any:
    cosines, sines = given
    return _changed(cosines, sines, change)


def _changed(
    cosines: torch.Tensor, sines: torch.Tensor, change: Change
) -> tuple[torch.Tensor, torch.Tensor]:
    """Change every patch's rotation: moved exactly; taken away, or turned twice as far."""
    if change.mean or change.alpha == 0:
        return torch.ones_like(cosines), torch.zeros_like(sines)
    order = change.order(cosines.shape[-2])
    cosines, sines = cosines[..., order, :], sines[..., order, :]
    if change.alpha == 1:
        return cosines, sines
    if change.alpha == 2:  # by the double-angle formulas
        return cosines**2 - sines**2, 2 * sines * cosines
    raise NotApplicable(
        "this model's rotations can be moved, taken away and doubled; another factor is not told "
        "by cosines and sines"
    )
