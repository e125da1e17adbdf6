"""The norms of the vision trunk under timm's names, ordered by block, and the eps that they use.

No checkpoint stores an eps. It matters: LN of a table of standard deviation 0.005 changes by 13 %
between 1e-6 and 1e-5, so where it comes from is always a note.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from pe_inspect.families.reading.eps import TORCH_EPS, epsilon
from pe_inspect.families.reading.hints import is_flag
from pe_inspect.families.reading.names import in_order, place, trunk
from pe_inspect.families.reading.read_tensor import read_float32
from pe_inspect.kinds.position_embedding import LayerNormParams
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["Norms", "read_norms"]

BIAS_NORM: Final = "attn.pe_norm"
_WEIGHT: Final = re.compile(r"(?P<stem>.+)(?P<join>[./])(?P<name>weight|scale|gamma)")
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


def read_norms(checkpoint: Checkpoint) -> Norms:
    """Read every LayerNorm and RMSNorm of the vision trunk; only these tensors are read."""
    eps, note = epsilon(checkpoint)
    found = _unique(_find(checkpoint))
    params = tuple(sorted((_read(checkpoint, f, eps) for f in found), key=_position))
    stored = checkpoint.stored_key
    keys = {
        (f.layer, f.name): tuple(stored(key) for key in (f.weight, f.bias) if key) for f in found
    }
    return Norms(params, keys, (note, *_note_on_bias_norms(params, eps)) if params else ())


def _note_on_bias_norms(params: tuple[LayerNormParams, ...], eps: float) -> tuple[str, ...]:
    other = next((n.eps for n in params if n.name == BIAS_NORM and n.eps != eps), None)
    if other is None:
        return ()
    return (f"eps {other:g} assumed for {BIAS_NORM}, as in LaPE's code: --ln-eps",)


def _find(checkpoint: Checkpoint) -> list[_Found]:
    names = trunk(checkpoint)
    matches = ((bare, _WEIGHT.fullmatch(bare)) for bare in names)
    found = [_as_norm(checkpoint, bare, match) for bare, match in matches if match]
    kept = [norm for norm in found if norm is not None]
    widths = {checkpoint.shape(n.weight) for n in kept if n.layer}
    return [n for n in kept if n.layer or not widths or _belongs(checkpoint, n, widths)]


def _as_norm(checkpoint: Checkpoint, bare: str, match: re.Match[str]) -> _Found | None:
    """Return the norm that a 1-D tensor is the weight of; `None` for a batch norm or a scale."""
    names, stem = trunk(checkpoint), match["stem"]
    shape = checkpoint.shape(names[bare])
    if len(shape) != 1 or f"{stem}{match['join']}running_mean" in names:
        return None
    partner = names.get(f"{stem}{match['join']}{_PARTNER[match['name']]}")
    if partner is not None and checkpoint.shape(partner) != shape:
        return None
    if partner is None and (match["name"] == "gamma" or not _SAYS_NORM.search(stem)):
        return None
    layer, name = place(stem)
    if name == "norm1" and f"{stem.removesuffix('norm1')}pre_norm.weight" in names:
        name = "norm2"  # CCT's norm1 comes before the MLP, its pre_norm before attention
    return _Found(layer, name, names[bare], partner)


def _belongs(checkpoint: Checkpoint, norm: _Found, widths: set[tuple[int, ...]]) -> bool:
    """Whether a norm outside the blocks is the trunk's: by its name, or by its width."""
    return bool(_SAYS_NORM.search(norm.name)) or checkpoint.shape(norm.weight) in widths


def _unique(found: list[_Found]) -> list[_Found]:
    """Keep one norm a place; a second one of the same place stays under its own name."""
    taken: dict[tuple[str, str], _Found] = {}
    for norm in found:
        stem = _WEIGHT.fullmatch(norm.weight)
        own = ("", stem["stem"] if stem else norm.weight)
        where = (norm.layer, norm.name) if (norm.layer, norm.name) not in taken else own
        taken[where] = _Found(*where, norm.weight, norm.bias)
    return list(taken.values())


def _read(checkpoint: Checkpoint, found: _Found, eps: float) -> LayerNormParams:
    bias = None if found.bias is None else read_float32(checkpoint, found.bias)
    if found.name == BIAS_NORM and not is_flag(checkpoint, "ln_eps"):
        eps = TORCH_EPS  # which LaPE's norm over the bias uses
    weight = read_float32(checkpoint, found.weight)
    return LayerNormParams(found.layer, found.name, weight, bias, eps)


def _position(norm: LayerNormParams) -> tuple[int, tuple[int, ...], int, str]:
    ranks = _IN_BLOCK_ORDER if norm.layer else _BEFORE_BLOCKS
    rank = ranks.index(norm.name) if norm.name in ranks else len(ranks)
    where = 1 if norm.layer else (0 if norm.name in _BEFORE_BLOCKS else 2)
    return where, in_order(norm.layer), rank, norm.name
