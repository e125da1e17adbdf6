"""The rule of the embedding's own family: whose weights these are, as far as names tell."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from pe_inspect.analysis._offsets import offset_table
from pe_inspect.analysis._resampling import Method, methods
from pe_inspect.analysis._resampling._patch_numbers import is_along_sequence
from pe_inspect.analysis._resampling._planes import planes
from pe_inspect.analysis._resampling._resampler import Resampler
from pe_inspect.errors import UsageError
from pe_inspect.position_embedding import Kind, PositionEmbedding

__all__ = ["Origin", "origin_of", "spoken"]


@dataclass(frozen=True)
class Origin:
    """Whose rule an embedding follows.

    Attributes:
        library: the method that is that rule.
        why: what told so.
    """

    library: str
    why: str


# The first that is found decides; names are read as words, so that "dinov2" is not "dino".
_NAMES: Final[tuple[tuple[str, str], ...]] = (
    (r"dinov3|eupe", "dinov3"),
    (r"dinov2.*reg\w*|reg\d?.*dinov2", "dinov2-reg"),
    (r"dinov2", "dinov2"),
    (r"dino", "dino"),
    (r"flexivit", "flexivit"),
    (r"siglip2", "siglip2"),
    (r"naflex\w*", "naflex"),
    (r"qwen\w*", "qwen"),
    (r"samvit|sam_vit|segment_anything", "sam"),
    (r"mvitv?2", "mvitv2"),
    (r"beit\w*", "beit"),
    (r"swin\w*", "swin"),
    (r"levit|tiny_?vit|efficientformer\w*|efficientvit", "levit"),
    (r"eva02|pe_(?:core|spatial|lang)", "eva02"),
    (r"rope", "rope-vit"),
    (r"mae", "mae"),
    (r"deit3?", "deit"),
)
_KEYS: Final[tuple[tuple[str, str], ...]] = (
    (r"rope_embed\.periods$", "dinov3"),
    (r"rope\.freqs_(cos|sin)$", "eva02"),
    (r"(^|\.)(rope\.)?freqs$", "rope-vit"),
    (r"attention_biases$", "levit"),
    (r"encoder\.pos_embedding$", "torchvision"),
    (r"(posembed_input/|^|/)pos_embedding$", "jax"),
    (r"visual\.positional_embedding$", "open_clip"),
    (r"vision_model\.embeddings\.position_embedding", "clip"),
    (r"embeddings\.position_embeddings?(\.weight)?$", "hf"),
    (r"decoder_pos_embed$", "mae"),
    (r"levels\.\d+\.pos_embed$", "nest"),
    (r"stages\..*\.rel_pos_[hw]$", "mvitv2"),
    (r"attn\.rel_pos_[hw]$", "sam"),
)
_OF_HF: Final = re.compile(r"embeddings\.position_embeddings$")
_OF_TIMM: Final = re.compile(r"timm:|hf-hub:timm/")


def spoken(name: str, plain: str) -> str:
    """A rule, and in brackets the plain method that it comes down to, where that is another."""
    return name if name == plain else f"{name} ({plain})"


def origin_of(pe: PositionEmbedding) -> Origin:
    """Tell whose rule an embedding follows; the first telling thing decides.

    In order: `timm:` sources follow timm; then LaPE's joins, the architecture, the names of the
    tensors, and at last what the scheme itself is like. A file may be called anything, so that
    its name tells nothing: the same bytes give the same numbers.
    """
    for ask in _WITNESSES:
        origin = ask(pe)
        if origin is not None and pe.kind in methods[origin.library].kinds:
            return origin
    return _by_kind(pe)


def _by_source(pe: PositionEmbedding) -> Origin | None:
    return Origin("timm", f"it comes from {pe.source}") if _OF_TIMM.match(pe.source) else None


def _by_join(pe: PositionEmbedding) -> Origin | None:
    if pe.kind == "vectors" and pe.join in ("lape", "unshare"):
        return Origin("deit", f"LaPE's loader has it, and this is join={pe.join}")
    return None


def _by_part(pe: PositionEmbedding) -> Origin | None:
    """Tell Hiera's two tables: of the window, and of the image, which SAM 2 resizes otherwise."""
    part = pe.layers[0].part
    if part == "window":
        return Origin("tiled", "it is the table of one window, that every window adds")
    if part != "global":
        return None
    is_sam2 = any("pos_embed_window" in note for note in pe.notes)
    return Origin("sam2" if is_sam2 else "hiera", "a window's table is added to it in tiles")


def _by_architecture(pe: PositionEmbedding) -> Origin | None:
    name = pe.architecture
    found = _named(name) if name else None
    return Origin(found, f"the architecture is {name}") if found else None


def _by_keys(pe: PositionEmbedding) -> Origin | None:
    for key in pe.keys:
        for pattern, library in _KEYS:
            if re.search(pattern, key):
                return Origin(library, f"the table is called {key}")
    return None


def _by_registers(pe: PositionEmbedding) -> Origin | None:
    key = next((key for key in pe.keys if _OF_HF.search(key)), None)
    if key is None or not 0 < pe.num_prefix_rows < pe.num_prefix_tokens:
        return None
    return Origin("dinov2-reg", f"{key} has no rows for the register tokens, as DINOv2's")


def _by_offsets(pe: PositionEmbedding) -> Origin | None:
    if pe.kind != "bias" or min(pe.grid_size) < 2 or pe.num_prefix_rows:
        return None
    try:
        offsets = offset_table(pe.layers[0]).offsets
    except UsageError:
        return None
    if not is_along_sequence(offsets) or np.ptp(offsets) == 0:
        return None
    return Origin("sequence", "the bias is a function of the difference of patch numbers")


_WITNESSES: Final[tuple[Callable[[PositionEmbedding], Origin | None], ...]] = (
    _by_part,
    _by_source,
    _by_offsets,
    _by_join,
    _by_architecture,
    _by_registers,
    _by_keys,
)


def _named(name: str) -> str | None:
    words = name.lower().replace("-", "_")
    for pattern, library in _NAMES:
        if re.search(rf"(?<![a-z0-9])(?:{pattern})(?![a-z])", words):
            return library
    return None


def _by_kind(pe: PositionEmbedding) -> Origin:
    if pe.kind == "function":
        return Origin("cpb", "a network computes it for any window")
    if pe.kind == "bias" and pe.num_prefix_rows:
        return Origin("beit", "the bias has rows for CLS, as BEiT's")
    if pe.kind == "phases" and _is_centred(pe):
        return Origin("dinov3", "the angles are zero at the centre of the grid, as DINOv3's")
    usual: dict[Kind, str] = {
        "vectors": "timm", "bias": "swin", "phases": "rope-vit", "relative": "sam",
    }  # fmt: skip
    return Origin(usual[pe.kind], "nothing names another: it is the usual one")


def _is_centred(pe: PositionEmbedding) -> bool:
    table = pe.layers[0]
    angles = table.values.transpose(1, 0, 2).reshape(*table.grid_size, -1)
    try:
        origin = planes(angles).origin
    except UsageError:
        return False
    long = [(o, side) for o, side in zip(origin, table.grid_size) if side > 1]
    return bool(long) and all(o == (1 - side) / 2 for o, side in long)


def _choose(pe: PositionEmbedding) -> Resampler:
    return methods[origin_of(pe).library].choose(pe)


methods.register("native")(
    Method(
        "native",
        "whatever the embedding's own family does; a note says which rule, and what told so",
        "the libraries below",
        ("vectors", "bias", "relative", "phases"),
        _choose,
    )
)
