"""Models whose files have the same names: one has a table, the other also rotates q and k.

A config.json, a Namespace in the file or `--arch` names the architecture; without one the table is
all that is read, and a note names the other. Measured on timm's models and the original files.
"""

from __future__ import annotations

import re
from typing import Final

from pe_inspect.families._names import trunk
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["may_rotate"]

_ASK: Final = "(--arch timm:NAME)"
_STORED: Final = re.compile(
    r"(?:.*\.)?(?:rope|rope_embed|rotary_emb\w*)\..*|(?:.*\.)?(?:rope_)?freqs"
)
_NOT_DEIT: Final = (
    "blocks.0.attn.q_bias",
    "blocks_token_only.0.gamma_1",
    "reg_token",
    "mask_token",
)


def may_rotate(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return a note where rotations, which no file stores, may act beside the table."""
    names = trunk(checkpoint)
    if checkpoint.hints.arch is not None or any(_STORED.fullmatch(name) for name in names):
        return ()
    if "blocks.0.attn.q_bias" in names:
        return (f"EVA and EVA-02 have these keys; EVA-02 also rotates q and k {_ASK}",)
    is_scaled = "blocks.0.gamma_1" in names and "pos_embed" in names
    if is_scaled and not any(name in names for name in _NOT_DEIT):
        return (
            "DeiT-III and rope-vit's axial models with a table have these keys; the latter also "
            f"rotate q and k {_ASK}",
        )
    if "norm_pre.weight" in names and "pos_embed" in names:
        return (
            "CLIP's ViT and Perception Encoder have these keys; the latter also rotates q and k "
            f"{_ASK}",
        )
    return ()
