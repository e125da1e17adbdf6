"""The rule of the embedding's own family: whose weights these are, as far as names tell."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from pe_inspect.errors import UsageError
from pe_inspect.kinds.all_kinds import (
    BIAS,
    COMPUTED_BIAS,
    PHASES,
    RELATIVE,
    RESPONSE,
    VECTORS,
    SchemeKind,
)
from pe_inspect.kinds.offsets import offset_table
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.resampling.methods import Method, methods
from pe_inspect.resampling.patch_numbers import is_along_sequence
from pe_inspect.resampling.resampler import Resampler
from pe_inspect.resampling.rotary_planes import planes

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
    (r"siglip2\w*", "siglip2"),
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
# Names that timm gives to no table: whoever wrote the file, it is in another library's format.
_KEYS_OF_OTHERS: Final[tuple[tuple[str, str], ...]] = (
    (r"encoder\.pos_embedding$", "torchvision"),
    (r"(posembed_input/|^|/)pos_embedding$", "jax"),
    (r"visual\.positional_embedding$", "open_clip"),
    (r"vision_model\.embeddings\.position_embedding", "clip"),
    (r"embeddings\.position_embeddings?(\.weight)?$", "hf"),
)
_KEYS: Final[tuple[tuple[str, str], ...]] = (
    *_KEYS_OF_OTHERS,
    (r"rope_embed\.periods$", "dinov3"),
    (r"rope\.freqs_(cos|sin)$", "eva02"),
    (r"(^|\.)(rope\.)?freqs$", "rope-vit"),
    (r"attention_biases$", "levit"),
    (r"levels\.\d+\.pos_embed$", "nest"),
    (r"stages\..*\.rel_pos_[hw]$", "mvitv2"),
    (r"attn\.rel_pos_[hw]$", "sam"),
)
_OF_HF: Final = re.compile(r"embeddings\.position_embeddings$")
_OF_TIMM: Final = re.compile(r"timm:|hf-hub:timm/")
# What timm alone calls its tables: the module `rel_pos` of CoAtNet, MaxViT and GC-ViT, and a model
# of timm's that open_clip or transformers wraps.
_KEYS_OF_TIMM: Final = re.compile(
    r"rel_pos\.relative_position_bias_table$|(^|\.)(visual\.trunk|timm_model)\."
)
# Models of timm that do not resample as its other models do, by their names or those of tables.
_WITHIN_TIMM: Final[tuple[tuple[str, str], ...]] = (
    (r"^(timm:)?naflexvit", "naflex"),
    (r"^(timm:)?qwen", "qwen"),
    (r"levels\.\d+\.pos_embed$", "nest"),
    (r"attention_biases$", "levit"),
)
# What timm calls the tables of Swin and of BEiT, as their authors do.
_SWIN_S_KEYS: Final = re.compile(
    r"(^|\.)layers\.\d+\.blocks\.\d+\.attn\.relative_position_bias_table$"
)
_BEIT_S_KEYS: Final = re.compile(r"(^|\.)blocks\.\d+\.attn\.relative_position_bias_table$")
_BIAS_OF_HF: Final = re.compile(
    r"(relative_position_bias|shared_position_bias)\.relative_position_bias_table$"
)
_SELF_DISTILLED: Final = re.compile(
    r"took '(teacher|student)'; also present: .*'(teacher|student)'"
)
_WHY_LIBRARY: Final = {
    "dinov2": "its mask_token has two axes, as in DINOv2's own files",
    "dinov2-reg": "it has mask_token and register_tokens, as DINOv2's own files",
    "mae": "it has decoder_pos_embed, as MAE's own files",
    "qwen": "it has a merger, as Qwen3's ViT",
    "siglip2": "its config.json is SigLIP 2's",
}
_NOTHING_ELSE: Final = "nothing names another: it is the usual one"
_TIMM_S_WAY: Final = "timm's files have the same names: for timm's own path, --method timm"


def spoken(name: str, plain: str) -> str:
    """A rule, and in brackets the plain method that it comes down to, where that is another."""
    return name if name == plain else f"{name} ({plain})"


def origin_of(pe: PositionEmbedding) -> Origin:
    """Tell whose rule an embedding follows; the first telling thing decides.

    In order: LaPE's joins; the authors' own formats; what says that the file is timm's, whatever
    the model was before; the two networks of DINO's training; the architecture, the names of the
    tensors, and at last what the scheme itself is like. A file may be called anything, so that
    its name tells nothing: the same bytes give the same numbers.
    """
    for ask in _WITNESSES:
        origin = ask(pe)
        if origin is not None and pe.kind in methods[origin.library].kinds:
            return origin
    return _USUAL[pe.scheme_kind](pe)


def _by_library(pe: PositionEmbedding) -> Origin | None:
    why = _WHY_LIBRARY.get(pe.library or "")
    return Origin(pe.library, why) if pe.library and why else None


def _by_timm(pe: PositionEmbedding) -> Origin | None:
    """Follow timm where a source, `--arch` or the names of the tables are timm's."""
    why = _why_timm(pe)
    return Origin(_within_timm(pe), why) if why else None


def _why_timm(pe: PositionEmbedding) -> str:
    """What says that the file is in timm's format; empty where nothing does."""
    if _OF_TIMM.match(pe.source):
        return f"it comes from {pe.source}"
    if pe.library == "timm":
        return "its config.json is timm's"
    key = next((key for key in pe.keys if _KEYS_OF_TIMM.search(key)), None)
    if key is not None:
        return f"{key} is timm's name"
    is_named = _OF_TIMM.match(pe.architecture or "") and not _first_key(pe, _KEYS_OF_OTHERS)
    return f"the architecture is {pe.architecture}" if is_named else ""


def _within_timm(pe: PositionEmbedding) -> str:
    """The rule that timm has for this model; most of its models share one."""
    words = (pe.source, pe.architecture or "", *pe.keys)
    own = (rule for pattern, rule in _WITHIN_TIMM if any(re.search(pattern, w) for w in words))
    return next(own, "timm")


def _by_join(pe: PositionEmbedding) -> Origin | None:
    join = pe.scheme_join
    is_lape_s = join.has_table_per_block or (join.is_recurrent and not join.at_input)
    if pe.scheme_kind.has_token_rows and is_lape_s:
        return Origin("deit", f"LaPE's loader has it, and this is join={pe.join}")
    return None


def _by_part(pe: PositionEmbedding) -> Origin | None:
    """Tell Hiera's two tables: of the window, and of the image, which SAM 2 resizes otherwise."""
    part = pe.tables[0].part
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
    found = _first_key(pe, _KEYS)
    return Origin(found[1], f"the table is called {found[0]}") if found else None


def _first_key(pe: PositionEmbedding, known: tuple[tuple[str, str], ...]) -> tuple[str, str] | None:
    """The first tensor with a known name, and whose name that is."""
    return next(
        (
            (key, library)
            for key in pe.keys
            for pattern, library in known
            if re.search(pattern, key)
        ),
        None,
    )


def _by_teacher(pe: PositionEmbedding) -> Origin | None:
    if any(_SELF_DISTILLED.search(note) for note in pe.notes):
        return Origin("dino", "the file holds a teacher and a student, as DINO's")
    return None


def _by_bias_of_hf(pe: PositionEmbedding) -> Origin | None:
    """Tell transformers' BEiT and Data2Vec, whose module has a name of its own."""
    key = next((key for key in pe.keys if _BIAS_OF_HF.search(key)), None)
    if key is None or not pe.num_prefix_rows:
        return None
    return Origin("hf", f"the table is called {key}")


def _by_registers(pe: PositionEmbedding) -> Origin | None:
    key = next((key for key in pe.keys if _OF_HF.search(key)), None)
    if key is None or not 0 < pe.num_prefix_rows < pe.num_prefix_tokens:
        return None
    return Origin("dinov2-reg", f"{key} has no rows for the register tokens, as DINOv2's")


def _by_offsets(pe: PositionEmbedding) -> Origin | None:
    kind = pe.scheme_kind
    if not kind.is_pairwise or kind.is_computed or min(pe.grid_size) < 2 or pe.num_prefix_rows:
        return None
    try:
        offsets = offset_table(pe.tables[0]).offsets
    except UsageError:
        return None
    if not is_along_sequence(offsets) or np.ptp(offsets) == 0:
        return None
    return Origin("sequence", "the bias is a function of the difference of patch numbers")


_WITNESSES: Final[tuple[Callable[[PositionEmbedding], Origin | None], ...]] = (
    _by_part,
    _by_join,
    _by_library,
    _by_timm,
    _by_offsets,
    _by_teacher,
    _by_architecture,
    _by_registers,
    _by_bias_of_hf,
    _by_keys,
)


def _named(name: str) -> str | None:
    words = name.lower().replace("-", "_")
    for pattern, library in _NAMES:
        if re.search(rf"(?<![a-z0-9])(?:{pattern})(?![a-z])", words):
            return library
    return None


def _usual(library: str, why: str = _NOTHING_ELSE) -> Callable[[PositionEmbedding], Origin]:
    return lambda _: Origin(library, why)


def _of_angles(pe: PositionEmbedding) -> Origin:
    if _is_centred(pe):
        return Origin("dinov3", "the angles are zero at the centre of the grid, as DINOv3's")
    return Origin("rope-vit", _NOTHING_ELSE)


def _of_bias(pe: PositionEmbedding) -> Origin:
    library, why, shared = "swin", _NOTHING_ELSE, _SWIN_S_KEYS
    if pe.num_prefix_rows:
        library, why, shared = "beit", "the bias has rows for CLS, as BEiT's", _BEIT_S_KEYS
    is_shared = any(map(shared.search, pe.keys))
    return Origin(library, f"{why}; {_TIMM_S_WAY}" if is_shared else why)


def _is_centred(pe: PositionEmbedding) -> bool:
    table = pe.tables[0]
    angles = table.values.transpose(1, 0, 2).reshape(*table.grid_size, -1)
    try:
        origin = planes(angles).origin
    except UsageError:
        return False
    long = [(o, side) for o, side in zip(origin, table.grid_size) if side > 1]
    return bool(long) and all(o == (1 - side) / 2 for o, side in long)


_OF_NETWORK: Final = _usual("cpb", "a network computes it for any window")
_USUAL: Final[Mapping[SchemeKind, Callable[[PositionEmbedding], Origin]]] = {
    VECTORS: _usual("timm"),
    BIAS: _of_bias,
    PHASES: _of_angles,
    RELATIVE: _usual("sam"),
    RESPONSE: _OF_NETWORK,
    COMPUTED_BIAS: _OF_NETWORK,
}


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
