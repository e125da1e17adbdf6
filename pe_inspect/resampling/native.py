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
from pe_inspect.resampling.one_size import ONE_SIZE
from pe_inspect.resampling.patch_numbers import is_along_sequence
from pe_inspect.resampling.resampler import Resampler
from pe_inspect.resampling.rotary_planes import planes

__all__ = ["Origin", "origin_of", "possessive", "spoken"]


@dataclass(frozen=True)
class Origin:
    """Whose rule an embedding follows.

    Attributes:
        library: the method that is that rule, or that is shown in its place.
        why: what told so, or why the rule is not known.
        is_known: whether it is the model's own rule.
    """

    library: str
    why: str
    is_known: bool = True

    def sentence(self, plain: str) -> str:
        """Say whose rule is followed, and the plain method that it comes down to."""
        rule = spoken(self.library, plain)
        if self.is_known:
            return f"the rule of {rule}: {self.why}"
        return f"rule unknown, {possessive(self.library)} ({plain}) is shown: {self.why}"

    def words(self, plain: str) -> str:
        """Say the same in few words, for a first line: `timm, bicubic-aa`."""
        if not self.is_known:
            return f"rule unknown, {possessive(self.library)} is shown, {plain}"
        return self.library if self.library == plain else f"{self.library}, {plain}"


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
_KEYS_OF_OTHERS: Final = re.compile(
    r"encoder\.pos_embedding$|(posembed_input/|^|/)pos_embedding$|visual\.positional_embedding$"
)
# Names that no other code gives to a table than the one named, or its copies, which kept its rule.
_KEYS: Final[tuple[tuple[str, str], ...]] = (
    (r"rope_embed\.periods$", "dinov3"),
    (r"rope\.freqs_(cos|sin)$", "eva02"),
    (r"(stages|layers)\.\d+\.blocks\.\d+\.attn\.attention_biases$", "levit"),
    (r"levels\.\d+\.pos_embed$", "nest"),
    (r"stages\..*\.rel_pos_[hw]$", "mvitv2"),
    (r"attn\.rel_pos_[hw]$", "sam"),
)
_OF_HF: Final = re.compile(r"embeddings\.position_embeddings$")
_NAMED_BY_HF: Final = re.compile(r"embeddings\.position_embeddings?(\.weight)?$")
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
_BEIT_S_KEYS: Final = re.compile(
    r"(^|\.)(blocks\.\d+\.attn|rel_pos_bias)\.relative_position_bias_table$"
)
_BIAS_OF_HF: Final = re.compile(
    r"(relative_position_bias|shared_position_bias)\.relative_position_bias_table$"
)
_SELF_DISTILLED: Final = re.compile(
    r"took '(teacher|student)'; also present: .*'(teacher|student)'"
)
_LIBRARIES: Final[Mapping[str, tuple[str, str]]] = {
    "dinov2": ("dinov2", "its mask_token has two axes, as in DINOv2's own files"),
    "dinov2-reg": ("dinov2-reg", "it has mask_token and register_tokens, as DINOv2's own files"),
    "mae": ("mae", "it has decoder_pos_embed, as MAE's own files"),
    "qwen": ("qwen", "it has a merger, as Qwen3's ViT"),
    "clip": ("clip", "it has a norm called pre_layrnorm, as CLIP in transformers"),
    "torchvision": ("torchvision", "conv_proj and encoder_layer_0 are torchvision's names"),
    "jax": ("jax", "its blocks are called Transformer/encoderblock, as by Google's codes"),
    "open_clip": ("open_clip", "transformer.resblocks, conv1 and ln_pre are open_clip's names"),
    "sd3": ("sd3", "its blocks have an x_block and patches an x_embedder, as Stable Diffusion 3's"),
}
"""What tensors beside the tables tell: the rule, and what it was told by."""
_NAMED_BY_TIMM: Final = Origin(
    "timm",
    "its blocks and patch embedding are named as in timm's ViT; authors whose files share those "
    "names can have a rule of their own: --method list",
)
_NOTHING_ELSE: Final = "nothing in the file names its library"
_TIMM_S_WAY: Final = "timm's files have the same names: for timm's own path, --method timm"


def possessive(name: str) -> str:
    """Return a library's name as an owner's: `timm's`."""
    return f"{name}'" if name.endswith("s") else f"{name}'s"


def spoken(name: str, plain: str) -> str:
    """A rule, and in brackets the plain method that it comes down to, where that is another."""
    return name if name == plain else f"{name} ({plain})"


def origin_of(pe: PositionEmbedding) -> Origin:
    """Tell whose rule an embedding follows; the first telling thing decides.

    In order: LaPE's joins; what says that the file is timm's, whatever the model was before; the
    type of model that a config.json states; the authors' own formats; the two networks of DINO's
    training; the architecture, the names of the tensors, and at last what the scheme itself is
    like. A file may be called anything, so that its name tells nothing: the same bytes give the
    same numbers. Where nothing tells, timm's rule is shown, and it is said that none is known.
    """
    for ask in _WITNESSES:
        origin = ask(pe)
        if origin is not None and methods[origin.library].has_rule_for(pe):
            return origin
    return _USUAL[pe.scheme_kind](pe)


def _by_library(pe: PositionEmbedding) -> Origin | None:
    known = _LIBRARIES.get(pe.library or "")
    return Origin(*known) if known else None


def _by_model_type(pe: PositionEmbedding) -> Origin | None:
    """Follow the model that a config.json names; of one without a known rule, none is claimed."""
    kind, said = pe.scheme_kind, pe.model_type
    if said is None or pe.library == "timm" or kind.is_computed or kind.holds_angles:
        return None
    for name, method in methods.items():
        if said in method.model_types and method.has_rule_for(pe):
            proof = method.proof(said)
            return Origin(name, f"config.json says {said}{f', {proof}' if proof else ''}")
    is_fixed = said in ONE_SIZE and kind.has_token_rows
    why = "which its library builds for one size alone" if is_fixed else "whose rule is not known"
    return _unknown(pe, f"config.json says {said}, {why}")


def _unknown(pe: PositionEmbedding, why: str = _NOTHING_ELSE) -> Origin:
    return Origin(_within_timm(pe), why, is_known=False)


def _by_names_of_timm(pe: PositionEmbedding) -> Origin | None:
    is_named = pe.library == "timm's names" and pe.scheme_kind.has_token_rows
    return _NAMED_BY_TIMM if is_named else None


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
    is_named = _OF_TIMM.match(pe.architecture or "") and not any(
        map(_KEYS_OF_OTHERS.search, pe.keys)
    )
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
    found = (
        Origin(library, f"the table is called {key}")
        for key in pe.keys
        for pattern, library in _KEYS
        if re.search(pattern, key)
    )
    return next(found, None)


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
    _by_model_type,
    _by_library,
    _by_timm,
    _by_offsets,
    _by_teacher,
    _by_architecture,
    _by_registers,
    _by_bias_of_hf,
    _by_keys,
    _by_names_of_timm,
)


def _named(name: str) -> str | None:
    words = name.lower().replace("-", "_")
    for pattern, library in _NAMES:
        if re.search(rf"(?<![a-z0-9])(?:{pattern})(?![a-z])", words):
            return library
    return None


def _of_angles(pe: PositionEmbedding) -> Origin:
    if _is_centred(pe):
        return Origin("dinov3", "the angles are zero at the centre of the grid, as DINOv3's")
    if len(pe.keys) == 1 < len(pe.tables):
        return Origin("rope-vit", f"{pe.keys[0]} has learned angles of all blocks, as rope-vit's")
    return Origin("rope-vit", _NOTHING_ELSE, is_known=False)


def _of_table(pe: PositionEmbedding) -> Origin:
    named = next(filter(_NAMED_BY_HF.search, pe.keys), None)
    if named is None:
        return _unknown(pe)
    return _unknown(
        pe,
        f"{named} is transformers' name, whose models have several rules for it, and no "
        "config.json says which model it is",
    )


def _of_bias(pe: PositionEmbedding) -> Origin:
    if pe.num_prefix_rows:
        library, why, shared = "beit", "the bias has rows for CLS, as BEiT's", _BEIT_S_KEYS
    else:
        library, why, shared = "swin", "its blocks are named as Swin's", _SWIN_S_KEYS
    if any(map(shared.search, pe.keys)):
        return Origin(library, f"{why}; {_TIMM_S_WAY}")
    return _unknown(pe)


def _of_offsets(pe: PositionEmbedding) -> Origin:
    return _unknown(pe)


def _of_network(pe: PositionEmbedding) -> Origin:  # noqa: ARG001
    return Origin("cpb", "a network computes it for any window")


def _is_centred(pe: PositionEmbedding) -> bool:
    table = pe.tables[0]
    angles = table.values.transpose(1, 0, 2).reshape(*table.grid_size, -1)
    try:
        origin = planes(angles).origin
    except UsageError:
        return False
    long = [(o, side) for o, side in zip(origin, table.grid_size) if side > 1]
    return bool(long) and all(o == (1 - side) / 2 for o, side in long)


_USUAL: Final[Mapping[SchemeKind, Callable[[PositionEmbedding], Origin]]] = {
    VECTORS: _of_table,
    BIAS: _of_bias,
    PHASES: _of_angles,
    RELATIVE: _of_offsets,
    RESPONSE: _of_network,
    COMPUTED_BIAS: _of_network,
}


def _choose(pe: PositionEmbedding) -> Resampler:
    return methods[origin_of(pe).library].choose(pe)


methods.register("native")(
    Method(
        "native",
        "whatever the embedding's own family does; a note says which rule, and what told so",
        "the libraries beside it",
        ("vectors", "bias", "relative", "phases"),
        _choose,
    )
)
