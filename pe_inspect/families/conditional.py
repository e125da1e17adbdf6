"""Position from depthwise convolutions over the tokens: PEG (CPVT, Twins), CoaT, DaViT, FastViT.

There is no table: the encoding is computed from the tokens. Shown is what the module adds to an
input of ones, its effective embedding: all that zero padding tells.

Source: arXiv:2102.10882 (CPVT).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import numpy as np

from pe_inspect.arrays import Float32
from pe_inspect.families import Family, families
from pe_inspect.families.reading.tables import nonfinite_note
from pe_inspect.families.reading.tensors import is_depthwise
from pe_inspect.families.trunk import Trunk
from pe_inspect.kinds.parts import FamilyFacts
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding

__all__ = ["detect", "extract"]

NAME: Final = "conditional"

_KERNEL: Final = re.compile(
    r"(?P<at>.+?)\.(?P<module>"
    r"proj\.0|"  # Twins, CPVT: pos_block.0
    r"cpe[12]?\.proj|cpe\.[01]\.proj|conv[12]\.fn\.dw|"  # DaViT, its two first versions, CoaT
    r"pos_embed\.proj|pos_embed|"  # CSATv2, UniFormer
    r"pos_emb\.pos_enc|pos_emb\.reparam_conv|"  # FastViT
    r"cpe\.module\.c|"  # iFormer, with a batch norm behind it
    r"2\.proj(?:\.fn)?|"  # lucidrains' Twins, and ScalableViT
    r"attns\.[01]\.get_v"  # CSWin, on the values of attention
    r")\.weight"
)
_OF_STAGE: Final = re.compile(r"(?P<at>cpe\d+)\.(?P<module>proj)\.weight")
_COAT_BLOCK: Final = re.compile(r"serial_blocks(\d+)\.\d+")
_FOLDED: Final = "pos_emb.reparam_conv"
_NORMED: Final = "cpe.module.c"
_BATCH_NORM_EPS: Final = 1e-5  # torch.nn.BatchNorm2d's, and iFormer's


@dataclass(frozen=True, eq=False)
class _Conv:
    layer: str
    module: str
    key: str

    @property
    def path(self) -> str:
        return self.key.removesuffix(".weight")


def detect(trunk: Trunk) -> bool:
    """Whether the checkpoint holds such convolutions: by name, and by the shape of their kernel."""
    return bool(_find(trunk))


def extract(trunk: Trunk) -> tuple[PositionEmbedding, ...]:
    """Compute what each convolution adds to an input of ones, (H·W, channels).

    Raises:
        AmbiguousCheckpoint: a kernel and its bias, or its batch norm, are of different widths.
    """
    found = _find(trunk)
    if not found:
        return ()
    from pe_inspect.families.reading.embedding import scheme
    from pe_inspect.families.reading.kernels import padding_share, response
    from pe_inspect.families.reading.named_model import stated_grid

    layers, shares = [], []
    notes: dict[str, None] = {}
    for conv in found:
        kernel, bias = _weights(trunk, conv)
        grid, note = stated_grid(trunk, conv.path)
        layers.append(LayerPE(conv.layer, response(kernel, bias, grid), grid, part=conv.module))
        shares.append(padding_share(kernel, bias, grid))
        odd = nonfinite_note(trunk.stored_key(conv.key), kernel)
        notes.update(dict.fromkeys((f"what the convolutions add to an input of ones {note}", *odd)))
    keys = [key for conv in found for key in (conv.key, *_affine(conv)) if key in trunk]
    said = (*notes, _ablation(shares), *_folded(found))
    return (scheme(trunk, NAME, "function", layers, keys, said),)


def _find(trunk: Trunk) -> list[_Conv]:
    """Return the convolutions in order; one that CoaT's blocks share, once a stage."""
    stages, found = set[str](), list[_Conv]()
    for place in (*trunk.places(_OF_STAGE), *trunk.places(_KERNEL)):
        key = f"{place.stem}{place.match.string[place.match.end('at') :]}"
        if not is_depthwise(trunk.shape(key)) or not _is_position(place.path, place.match):
            continue
        block = _COAT_BLOCK.fullmatch(place.path)
        layer = f"cpe{block[1]}" if block else place.path
        if layer in stages:
            continue
        if layer.startswith("cpe"):
            stages.add(layer)
        found.append(_Conv(layer, _module(place.match["module"]), key))
    return found


def _is_position(path: str, match: re.Match[str]) -> bool:
    """`proj.0` and `pos_embed` are names of other things too."""
    return match["module"] != "proj.0" or path.startswith(("pos_block.", "peg."))


def _module(name: str) -> str:
    """Tell two convolutions of one block apart; the only one of a block needs no name."""
    if not re.fullmatch(r"cpe[12]\.proj|cpe\.[01]\.proj|conv[12]\.fn\.dw", name):
        return ""
    number = int(re.sub(r"\D", "", name))
    return f"cpe{number + ('cpe.' in name)}"


def _weights(
    trunk: Trunk, conv: _Conv
) -> tuple[
    Float32[np.ndarray, "channels 1 rows columns"],
    Float32[np.ndarray, " channels"],
]:
    kernel, key = trunk.float32(conv.key), f"{conv.path}.bias"
    if conv.path.endswith(_FOLDED):
        from pe_inspect.families.reading.kernels import without_skip

        kernel = without_skip(kernel)
    if conv.path.endswith(_NORMED):
        return _with_batch_norm(trunk, conv, kernel)
    if key not in trunk:
        return kernel, np.zeros(len(kernel), np.float32)
    return kernel, _beside(trunk, conv, key)


def _beside(trunk: Trunk, conv: _Conv, key: str) -> Float32[np.ndarray, " channels"]:
    """Read a number a channel that acts with a kernel."""
    from pe_inspect.families.reading.embedding import refuse_misfits

    refuse_misfits(trunk, {conv.key: "channels 1 rows columns", key: "channels"})
    return trunk.float32(key)


def _affine(conv: _Conv) -> tuple[str, ...]:
    """Return the names of the other learned tensors that may act with a kernel."""
    norm = conv.path.removesuffix(".c")
    own = f"{conv.path}.bias"
    is_normed = conv.path.endswith(_NORMED)
    return (own, f"{norm}.bn.weight", f"{norm}.bn.bias") if is_normed else (own,)


def _with_batch_norm(
    trunk: Trunk, conv: _Conv, kernel: Float32[np.ndarray, "channels 1 rows columns"]
) -> tuple[Float32[np.ndarray, "channels 1 rows columns"], Float32[np.ndarray, " channels"]]:
    """Return kernel and bias of the convolution and the batch norm behind it, in one."""
    stem = f"{conv.path.removesuffix('.c')}.bn"
    parts = ("weight", "bias", "running_mean", "running_var")
    if any(f"{stem}.{part}" not in trunk for part in parts):
        return kernel, np.zeros(len(kernel), np.float32)
    weight, bias, mean, variance = (_beside(trunk, conv, f"{stem}.{part}") for part in parts)
    scale = weight / np.sqrt(variance + _BATCH_NORM_EPS)
    return kernel * scale[:, None, None, None], bias - mean * scale


def _ablation(shares: list[float]) -> str:
    least, most = (f"{share:.0%}" for share in (min(shares), max(shares)))
    return (
        "with circular padding every patch gets the same, so that all of it is zero padding, which "
        f"changes the response by {least if least == most else f'{least} to {most}'} (relative L2 "
        "norm)"
    )


def _folded(found: list[_Conv]) -> tuple[str, ...]:
    if not any(conv.path.endswith(_FOLDED) for conv in found):
        return ()
    return ("the skip connection that reparameterisation folded in was taken out",)


families.register(NAME)(
    Family(
        name=NAME,
        looks_for="depthwise kernels (channels × 1 × k × k) called `pos_block.#.proj.0`, `cpe`, "
        "`pos_emb.pos_enc` or `pos_embed.proj`; shown is their response to an input of ones",
        example="CPVT and Twins (timm's twins_svt_small), CoaT, DaViT, CSATv2, FastViT, "
        "MobileCLIP, iFormer",
        detect=detect,
        extract=extract,
        facts=FamilyFacts(
            needs_no_change="its convolution makes positions from the padding of any image (PEG)",
            sentence="Convolutions that tell tokens their place by the zeros around the image",
            source="arXiv:2102.10882 (CPVT), §3.3: a convolution of the stated input",
            added_between_layers=True,
        ),
    )
)
