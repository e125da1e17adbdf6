"""Biases on attention, whatever library makes them: what every pair of patches receives, changed.

A bias is changed where it is one value a pair of tokens (a module that returns it, or a method that
does), else where it is one value an offset (a stored table, or a network's answer), with the index
that says which pair reads which offset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

import torch
from torch import nn

from pe_inspect.live.change import Change, NotApplicable, replaced

__all__ = ["BIAS_TABLE", "answering", "bias_changes"]

BIAS_TABLE: Final = "relative_position_bias_table"
_INDEX: Final = "relative_position_index"
# Methods that return a bias by pair: timm's (RelPosBias, RelPosMlp; Swin and BEiT; Swin V2-CR) and
# torchvision's.
_METHODS: Final = (
    *("get_bias", "_get_rel_pos_bias", "_relative_positional_encodings"),
    "get_relative_position_bias",
)
# Networks that give 16 σ(·) of an offset: Swin V2 of timm, and of transformers.
_NETWORKS: Final = ("cpb_mlp", "continuous_position_bias_mlp")
_MOST: Final = 16.0
_BY_AXIS: Final = ("rel_pos_h", "rel_pos_w")  # SAM's and MViT's vectors by offset

Exchange = AbstractContextManager[Any]


def bias_changes(model: nn.Module, patches: int, change: Change) -> list[Exchange]:
    """Return what changes every bias of a model for a while.

    Args:
        model: of any library.
        patches: on the grid of its input; a bias over fewer pairs is a window's.
        change: what is done to it.

    Raises:
        NotApplicable: it has no meaning for a bias of this model.
    """
    return [exchange for module in model.modules() for exchange in _of(module, patches, change)]


def _of(module: nn.Module, patches: int, change: Change) -> Iterator[Exchange]:
    method = next((name for name in _METHODS if callable(getattr(module, name, None))), None)
    network = next((name for name in _NETWORKS if hasattr(module, name)), None)
    if method is not None and _has_bias(module, method):
        own: Callable[..., Any] = getattr(module, method)
        yield replaced(module, method, _by_pair(own, patches, change))
    elif network is not None:
        yield from _of_network(module, getattr(module, network), change)
    elif getattr(module, BIAS_TABLE, None) is not None:
        yield from _of_table(module, patches, change)
    elif any(hasattr(module, name) for name in _BY_AXIS):
        yield from _of_axes(module, change)


def _has_bias(module: nn.Module, method: str) -> bool:
    """Whether a method's bias is there: BEiT's attention has it in some models only."""
    return not method.startswith("_get") or getattr(module, BIAS_TABLE, None) is not None


def _by_pair(own: Callable[..., Any], patches: int, change: Change) -> Callable[..., Any]:
    def changed(*args: Any, **kwargs: Any) -> torch.Tensor:
        return _changed_pairs(own(*args, **kwargs), patches, change)

    return changed


def _changed_pairs(bias: torch.Tensor, patches: int, change: Change) -> torch.Tensor:
    return change.pairs(bias, max(0, bias.shape[-1] - patches))


def _of_table(module: nn.Module, patches: int, change: Change) -> Iterator[Exchange]:
    """Change what a module returns where that is its bias by pair; else its table and its index."""
    index = getattr(module, _INDEX, None)
    if index is None or not _attends(module):
        yield answering(module, lambda bias: _changed_pairs(bias, patches, change))
        return
    table: torch.Tensor = getattr(module, BIAS_TABLE).detach()
    places = index.reshape(-1)
    mean = table[places].mean(dim=0).expand_as(table) if change.mean else table
    yield replaced(module, BIAS_TABLE, nn.Parameter(change.alpha * mean, requires_grad=False))
    yield from _moved_index(module, change)


def _attends(module: nn.Module) -> bool:
    """Whether a module with a table attends itself, so that what it returns is no bias."""
    return any(isinstance(child, nn.Linear) for child in module.modules())


def _of_network(module: nn.Module, network: nn.Module, change: Change) -> Iterator[Exchange]:
    """Change 16 σ(x) by changing x; the table of torchvision's method has gone before."""
    places: torch.Tensor = getattr(module, _INDEX).reshape(-1)

    def changed(raw: torch.Tensor) -> torch.Tensor:
        bias = _MOST * raw.sigmoid()
        if change.mean:
            rows = bias.reshape(-1, bias.shape[-1])
            bias = rows[places].mean(dim=0).expand_as(bias)
        bias = change.alpha * bias
        if float(bias.max()) >= _MOST:
            raise NotApplicable(f"its network gives no bias of {_MOST:g} or more")
        return (bias / _MOST).logit()

    yield answering(network, changed)
    yield from _moved_index(module, change)


def _moved_index(module: nn.Module, change: Change) -> Iterator[Exchange]:
    """Let a pair of patches read the offset of its new places."""
    index: torch.Tensor = getattr(module, _INDEX)
    side = round(index.numel() ** 0.5)
    moved = change.moved(index.reshape(side, side).cpu(), 0)
    yield replaced(module, _INDEX, moved.reshape(index.shape).to(index))


def _of_axes(module: nn.Module, change: Change) -> Iterator[Exchange]:
    """Scale vectors by offset along each axis, or give all offsets their mean."""
    if change.seed is not None or change.permutation is not None:
        raise NotApplicable(
            "its vectors are by offset along each axis, and patches that trade places have none"
        )
    for name in _BY_AXIS:
        own = getattr(module, name, None)
        if isinstance(own, torch.Tensor):
            vectors = own.detach()
            same = vectors.mean(dim=0, keepdim=True).expand_as(vectors) if change.mean else vectors
            scaled = nn.Parameter(change.alpha * same, requires_grad=False)
            yield replaced(module, name, scaled)


@contextmanager
def answering(module: nn.Module, answer: Callable[[Any], Any]) -> Iterator[None]:
    """Replace what a module returns for a while: `answer` is handed its own output."""
    hook = module.register_forward_hook(lambda _, __, output: answer(output))
    try:
        yield
    finally:
        hook.remove()
