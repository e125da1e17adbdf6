"""The eps of a trunk's norms: as said, as a named architecture has it, else by the names' library.

No checkpoint stores it. It matters: LN of a table of standard deviation 0.005 changes by 13 %
between 1e-6 and 1e-5, so where it comes from is always a note.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial
from typing import Final

from pe_inspect.families.reading import arch as _arch
from pe_inspect.families.reading.hints import is_flag, origin
from pe_inspect.families.reading.names import block_of, trunk
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["TORCH_EPS", "epsilon"]

TORCH_EPS: Final = 1e-5  # torch.nn.LayerNorm's default
USUAL_EPS: Final = 1e-6  # timm, DeiT, LaPE, DINOv2, torchvision's ViT, SigLIP, Flax

# (one name matches each of these, none matches any of those, the eps): measured on the installed
# libraries and read in the original code; the first that fits.
_RULES: Final = tuple(
    (tuple(map(re.compile, present)), tuple(map(re.compile, absent)), eps)
    for present, absent, eps in (
        ((r"(?:encoder\.)?layers\.\d+\.blocks\.\d+\.",), (), 1e-5),  # Swin, everybody's
        ((r"features\.\d+\.\d+\.attn\.",), (), 1e-5),  # torchvision's Swin
        ((r"(?:encoder\.)?layers?\.\d+\.layernorm_before\.",), (), 1e-12),  # HF's ViT family
        ((r"(?:encoder\.)?layers?\.\d+\.attention_norm\.",), (), 1e-5),  # Pixtral
        ((r".*\.rms_norm1\.",), (), 1e-5),  # HF's AIMv2
        ((r"blocks\.\d+\.in_norm\.",), (), 1e-6),  # timm's parallel blocks, norm_pre or not
        ((r"(?:pre_layrnorm|ln_pre|norm_pre)\.",), (), 1e-5),  # CLIP
        ((r"serial_blocks1\.",), (), 1e-6),  # CoaT
        ((r"patch_embed\.norm\.",), (), 1e-5),  # AIMv2
        ((r"transformer\.resblocks\.",), (), 1e-5),
        ((r"blocks\.\d+\.pre_norm\.",), (), 1e-5),  # CCT
        ((r"encoder\.\d+\.attention\.queries\.",), (), 1e-5),  # s-chh
        ((r"transformer\.layers\.\d+\.0\.",), (), 1e-5),  # lucidrains
        ((r"encoders\.\d+\.",), (), 1e-8),  # nda111
        ((r"storage_tokens|rope_embed\.periods",), (), 1e-5),  # DINOv3
        (  # BEiT-3
            (r"blocks\.0\.attn\.norm\.", r"blocks\.0\.mlp\.norm\.", r"blocks\.0\.mlp\.fc1\."),
            (r"blocks\.0\.attn\.q_bias",),
            1e-5,
        ),
        (  # timm's SAM; Meta's has lin1, and ViTDet a table with a row for CLS
            (r"blocks\.\d+\.attn\.rel_pos_h", r"blocks\.\d+\.mlp\.fc1\.", r"neck\."),
            (),
            1e-5,
        ),
        (
            (r"blocks\.\d+\.attn\.rel_pos_h", r"blocks\.\d+\.mlp\.fc1\."),
            (r"pos_embed",),
            1e-5,
        ),
        ((r"stages\.\d+\.blocks\.\d+\.(?:\d+|spatial_block)\.cpe1\.",), (), 1e-5),  # DaViT
        ((r"stages\.\d+\.global_block\.",), (), 1e-5),  # GC-ViT
        ((r"post_network\.",), (), 1e-5),  # VOLO
        ((r"patch_embed\.backbone\.stem\.norm\.",), (r".*running_mean",), 1e-5),  # BiT hybrids
        ((r"stages\.\d+\.blocks\.\d+\.token_mixer\.attention_biases",), (), 1e-5),
    )
)


def epsilon(checkpoint: Checkpoint) -> tuple[float, str]:
    """Return the eps of the trunk's norms, and the note that says where it comes from."""
    hints, say = checkpoint.hints, partial("eps {:g} {}".format)
    if hints.ln_eps is not None:
        return hints.ln_eps, say(hints.ln_eps, f"from {origin(checkpoint, 'ln_eps')}")
    if is_flag(checkpoint, "arch") and (eps := _arch.norm_eps(checkpoint)) is not None:
        return eps, say(eps, f"from --arch {hints.arch}")
    eps = TORCH_EPS if _is_tensorflow_s_maxvit(checkpoint) else _by_names(trunk(checkpoint))
    return eps, say(eps, "assumed (no checkpoint stores it): --ln-eps")


def _is_tensorflow_s_maxvit(checkpoint: Checkpoint) -> bool:
    """Whether the offsets lie heads first on three axes, which names do not tell."""
    tables = (k for k in checkpoint if k.endswith("rel_pos.relative_position_bias_table"))
    return any(len(checkpoint.shape(key)) == 3 for key in tables)


def _by_names(names: Iterable[str]) -> float:
    known = tuple(names)
    for present, absent, eps in _RULES:
        if all(_any(p, known) for p in present) and not any(_any(p, known) for p in absent):
            return eps
    if not any(block_of(bare) for bare in known):
        return TORCH_EPS
    has_rms_norms = "blocks.0.norm1.weight" in known and "blocks.0.norm1.bias" not in known
    return TORCH_EPS if _arch.looks_like_dinov3(known) and not has_rms_norms else USUAL_EPS


def _any(pattern: re.Pattern[str], names: tuple[str, ...]) -> bool:
    return any(pattern.match(name) for name in names)
