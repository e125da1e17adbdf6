"""A live model from a checkpoint, whose logits are those of the original."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from torch import nn

from pe_inspect.live.rebuilders.native import is_native, native
from pe_inspect.live.rebuilders.open_clip import is_open_clip, open_clip_tower
from pe_inspect.live.rebuilders.schh import is_schh, schh
from pe_inspect.live.rebuilders.timm import has_architecture, has_classifier, timm_model
from pe_inspect.live.rebuilders.torchvision import is_torchvision, torchvision_model
from pe_inspect.live.rebuilders.transformers import (
    is_classifier,
    is_of_transformers,
    transformers_model,
)
from pe_inspect.live.rebuilders.vit import is_lape, is_plain_vit, plain_vit
from pe_inspect.live.weights import CannotRebuild
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["CannotRebuild", "gives_logits", "rebuild"]

_Tells = Callable[[Checkpoint], bool]


def _always(checkpoint: Checkpoint) -> bool:  # noqa: ARG001
    """Of models that are recognised by their classifier, among others."""
    return True


def _never(checkpoint: Checkpoint) -> bool:  # noqa: ARG001
    """Of models that give features."""
    return False


_KINDS: Final[tuple[tuple[_Tells, Callable[[Checkpoint], nn.Module], _Tells], ...]] = (
    (is_native, native, _always),
    (is_schh, schh, _always),
    (is_lape, plain_vit, _always),
    (has_architecture, timm_model, has_classifier),
    (is_of_transformers, transformers_model, is_classifier),
    (is_open_clip, open_clip_tower, _never),
    (is_torchvision, torchvision_model, _always),
    (is_plain_vit, plain_vit, _always),
)
"""What a model is recognised by, what rebuilds it, and whether the file has its classifier."""


def rebuild(checkpoint: Checkpoint) -> nn.Module:
    """Return a live model in evaluation mode, float32, on the CPU.

    Our own folders are rebuilt from their config.json; s-chh's and LaPE's checkpoints from their
    tensors (and `--num-heads`, where these do not show it); timm's from the architecture that the
    file, its config.json or `--arch` names; Hugging Face's folders by transformers, as their
    config.json says, open_clip's by open_clip; torchvision's ViT and Swin, and a plain ViT, from
    their tensors alone.

    Args:
        checkpoint: what `pe_inspect.load` returned.

    Returns:
        A module that takes normalised images (batch, channels, height, width).

    Raises:
        CannotRebuild: something is missing; the message says what.
        AmbiguousCheckpoint: several readings fit, or a hint contradicts the file.
    """
    for is_of_kind, build, _ in _KINDS:
        if is_of_kind(checkpoint):
            return build(checkpoint).eval()
    raise CannotRebuild(_explain(checkpoint))


def gives_logits(checkpoint: Checkpoint) -> bool:
    """Whether the model to be rebuilt has a classifier, as far as names tell.

    No tensor is read. Where nothing says how to rebuild it, that is to be said first: true.
    """
    of_kind = (has for is_of_kind, _, has in _KINDS if is_of_kind(checkpoint))
    return next(of_kind, _always)(checkpoint)


def _explain(checkpoint: Checkpoint) -> str:
    source = checkpoint.source
    if any(key.startswith("encoders.0.self_attention.mha.") for key in checkpoint):
        return (
            f"{source} cannot be rebuilt: this is nda111's ViT, whose pos_embed and class_token "
            "are plain tensors, which no state dict holds."
        )
    if checkpoint.format == "pe":
        return f"{source} is a saved extraction: it holds tables, and no model. Give the weights."
    arch = checkpoint.hints.arch
    if arch is not None:
        return f"{source} says its architecture is {arch!r}, which timm does not have. {_ASK}"
    return f"{source} does not say which architecture it is of. {_ASK}"


_ASK: Final = "Pass --arch timm:NAME (timm's names of tensors are expected)."
