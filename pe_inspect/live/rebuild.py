"""A live model from a checkpoint, whose logits are those of the original."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from torch import nn

from pe_inspect.live.rebuilders.native import is_native, native
from pe_inspect.live.rebuilders.schh import is_schh, schh
from pe_inspect.live.rebuilders.timm import has_architecture, timm_model
from pe_inspect.live.rebuilders.transformers import is_of_transformers, transformers_model
from pe_inspect.live.rebuilders.vit import is_lape, is_plain_vit, plain_vit
from pe_inspect.live.weights import CannotRebuild
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["CannotRebuild", "rebuild"]

_KINDS: Final[
    tuple[tuple[Callable[[Checkpoint], bool], Callable[[Checkpoint], nn.Module]], ...]
] = (
    (is_native, native),
    (is_schh, schh),
    (is_lape, plain_vit),
    (has_architecture, timm_model),
    (is_of_transformers, transformers_model),
    (is_plain_vit, plain_vit),
)


def rebuild(checkpoint: Checkpoint) -> nn.Module:
    """Return a live model in evaluation mode, float32, on the CPU.

    Our own folders are rebuilt from their config.json; s-chh's and LaPE's checkpoints from their
    tensors (and `--num-heads`, where these do not show it); timm's from the architecture that the
    file, its config.json or `--arch` names; Hugging Face's folders by transformers, as their
    config.json says; a plain ViT also from its tensors alone.

    Args:
        checkpoint: what `pe_inspect.load` returned.

    Returns:
        A module that takes normalised images (batch, channels, height, width).

    Raises:
        CannotRebuild: something is missing; the message says what.
        AmbiguousCheckpoint: several readings fit, or a hint contradicts the file.
    """
    for is_of_kind, build in _KINDS:
        if is_of_kind(checkpoint):
            return build(checkpoint).eval()
    raise CannotRebuild(_explain(checkpoint))


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
