"""The norms of the vision trunk under timm's names, ordered by block, and the eps that they use.

No checkpoint stores an eps. It matters: LN of a table of standard deviation 0.005 changes by 13 %
between 1e-6 and 1e-5, so where it comes from is always a note.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from pe_inspect.families.reading.names import in_order, stem_of
from pe_inspect.families.reading.tensors import NamedTensors, answered_once
from pe_inspect.kinds.position_embedding import LayerNormParams
from pe_inspect.loading.tensor_bytes import files_kept_open

__all__ = ["TORCH_EPS", "Norms", "epsilon", "read_norms"]

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

BIAS_NORM: Final = "attn.pe_norm"
_PARTNER: Final = {"weight": "bias", "scale": "bias", "gamma": "beta"}
_SAYS_NORM: Final = re.compile(r"norm|(?:^|[._])ln(?:[._]|$)", re.IGNORECASE)

_IN_BLOCK_ORDER: Final = (
    "pe_norm",
    "norm1",
    "attn.pe_norm",
    "attn.q_norm",
    "attn.k_norm",
    "attn.norm",
    "norm2",
    "mlp.norm",
)
_BEFORE_BLOCKS: Final = ("patch_embed.norm", "norm_pre")


@dataclass(frozen=True, eq=False)
class Norms:
    """The norms of a checkpoint.

    Attributes:
        params: ordered by block; within a block as timm's forward pass meets them.
        keys: (layer, name) → the names under which the file stores weight and bias.
        notes: where eps comes from.
    """

    params: tuple[LayerNormParams, ...]
    keys: dict[tuple[str, str], tuple[str, ...]]
    notes: tuple[str, ...]

    def norms_named(self, name: str) -> dict[str, LayerNormParams]:
        """Return layer → norm for every norm called `name`, in block order."""
        return {norm.layer: norm for norm in self.params if norm.name == name}

    def stored_keys(self, name: str) -> tuple[str, ...]:
        """The stored names of every norm called `name`, in block order."""
        chosen = (norm for norm in self.params if norm.name == name)
        return tuple(key for norm in chosen for key in self.keys[norm.layer, norm.name])

    def num_parameters(self, name: str) -> int:
        """How many scalars the norms called `name` hold."""
        return sum(norm.num_parameters for norm in self.params if norm.name == name)


@dataclass(frozen=True)
class _Found:
    layer: str
    name: str
    weight: str
    bias: str | None


@answered_once
def read_norms(trunk: NamedTensors) -> Norms:
    """Find every LayerNorm and RMSNorm of the vision trunk; the values wait until one looks."""
    eps, note = epsilon(trunk)
    found = _unique(_find(trunk))
    with files_kept_open():
        params = tuple(sorted([_read(trunk, f, eps) for f in found], key=_position))
    stored = trunk.stored_key
    keys = {
        (f.layer, f.name): tuple(stored(key) for key in (f.weight, f.bias) if key) for f in found
    }
    return Norms(params, keys, (note, *_note_on_bias_norms(params, eps)) if params else ())


def _note_on_bias_norms(params: tuple[LayerNormParams, ...], eps: float) -> tuple[str, ...]:
    other = next((n.eps for n in params if n.name == BIAS_NORM and n.eps != eps), None)
    if other is None:
        return ()
    return (f"eps {other:g} assumed for {BIAS_NORM}, as in LaPE's code: --ln-eps",)


def _find(trunk: NamedTensors) -> list[_Found]:
    found = (_as_norm(trunk, bare, word) for bare, word in trunk.ending(_PARTNER))
    kept = [norm for norm in found if norm is not None]
    widths = {trunk.shape(n.weight) for n in kept if n.layer}
    return [n for n in kept if n.layer or not widths or _belongs(trunk, n, widths)]


def _as_norm(trunk: NamedTensors, bare: str, word: str) -> _Found | None:
    """Return the norm that a 1-D tensor is the weight of; `None` for a batch norm or a scale."""
    names, key, stem = trunk.names, trunk.names[bare], bare[: -len(word)]
    shape = trunk.shape(key)
    if len(shape) != 1 or f"{stem}running_mean" in names:
        return None
    partner = names.get(stem + _PARTNER[word])
    if partner is not None and trunk.shape(partner) != shape:
        return None
    if partner is None and (word == "gamma" or not _SAYS_NORM.search(stem[:-1])):
        return None
    layer, name = trunk.place(bare)
    if name == "norm1" and f"{stem.removesuffix('norm1.')}pre_norm.weight" in names:
        name = "norm2"  # CCT's norm1 comes before the MLP, its pre_norm before attention
    return _Found(layer, name, key, partner)


def _belongs(trunk: NamedTensors, norm: _Found, widths: set[tuple[int, ...]]) -> bool:
    """Whether a norm outside the blocks is the trunk's: by its name, or by its width."""
    return bool(_SAYS_NORM.search(norm.name)) or trunk.shape(norm.weight) in widths


def _unique(found: list[_Found]) -> list[_Found]:
    """Keep one norm a place; a second one of the same place stays under its own name."""
    taken: dict[tuple[str, str], _Found] = {}
    for norm in found:
        where = (norm.layer, norm.name)
        if where in taken:
            norm = _Found("", stem_of(norm.weight), norm.weight, norm.bias)
        taken[norm.layer, norm.name] = norm
    return list(taken.values())


def _read(trunk: NamedTensors, found: _Found, eps: float) -> LayerNormParams:
    bias: Any = None if found.bias is None else trunk.unread(found.bias)
    if found.name == BIAS_NORM and not trunk.hints.is_flag("ln_eps"):
        eps = TORCH_EPS  # which LaPE's norm over the bias uses
    weight: Any = trunk.unread(found.weight)
    return LayerNormParams(found.layer, found.name, weight, bias, eps)


def _position(norm: LayerNormParams) -> tuple[int, tuple[int, ...], int, str]:
    ranks = _IN_BLOCK_ORDER if norm.layer else _BEFORE_BLOCKS
    rank = ranks.index(norm.name) if norm.name in ranks else len(ranks)
    where = 1 if norm.layer else (0 if norm.name in _BEFORE_BLOCKS else 2)
    return where, in_order(norm.layer), rank, norm.name


def epsilon(trunk: NamedTensors) -> tuple[float, str]:
    """Return the eps of the trunk's norms, and the note that says where it comes from."""
    hints, say = trunk.hints, partial("eps {:g} {}".format)
    if hints.ln_eps is not None:
        return hints.ln_eps, say(hints.ln_eps, f"from {trunk.hints.origin('ln_eps')}")
    if trunk.hints.is_flag("arch") and (eps := _of_architecture(trunk)) is not None:
        return eps, say(eps, f"from --arch {hints.arch}")
    eps = TORCH_EPS if _is_tensorflow_s_maxvit(trunk) else _by_names(trunk)
    return eps, say(eps, "assumed (no checkpoint stores it): --ln-eps")


def _of_architecture(trunk: NamedTensors) -> float | None:
    from pe_inspect.families.reading.arch import norm_eps

    return norm_eps(trunk)


def _is_tensorflow_s_maxvit(trunk: NamedTensors) -> bool:
    """Whether the offsets lie heads first on three axes, which names do not tell."""
    tables = (k for k in trunk if k.endswith("rel_pos.relative_position_bias_table"))
    return any(len(trunk.shape(key)) == 3 for key in tables)


def _by_names(trunk: NamedTensors) -> float:
    for present, absent, eps in _RULES:
        if all(map(trunk.begins, present)) and not any(map(trunk.begins, absent)):
            return eps
    if not trunk.blocks:
        return TORCH_EPS
    from pe_inspect.families.reading.arch import looks_like_dinov3

    names = trunk.names
    has_rms_norms = "blocks.0.norm1.weight" in names and "blocks.0.norm1.bias" not in names
    return TORCH_EPS if looks_like_dinov3(trunk) and not has_rms_norms else USUAL_EPS
