"""Wrapper prefixes, taken off until the vision trunk's own names appear.

A prefix is taken off only where the tensors that make a vision trunk (patch and position
embeddings, class tokens) lie under it; what lies elsewhere keeps its name, and nothing is lost
to a collision without a note. Of a model of images and texts, the tower that was asked for is
taken: the vision tower, if none was.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from pe_inspect.errors import UsageError
from pe_inspect.loading.checkpoint import StoredTensor

__all__ = ["find_trunk"]

Tensors = dict[str, StoredTensor]

_WORDS: Final = (
    *("_orig_mod", "module", "_forward_module", "model", "state_dict", "timm_model"),
    *("base_encoder", "encoder_q", "online_encoder", "teacher", "target_encoder"),
    *("student", "momentum_encoder", "encoder_k", "model_ema", "ema_model", "ema"),
    *("backbone", "image_encoder", "visual_encoder", "vision_encoder", "vision_tower"),
    *("clip", "siglip", "visual", "trunk", "vision_model", "net", "network"),
    *("vit", "deit", "beit", "swin", "swinv2", "dinov2", "dinov2_with_registers", "ijepa"),
    *("dinov3_vit", "data2vec_vision", "vit_msn", "videomae", "hiera"),
    *("base_model", "encoder", "text", "text_model", "text_encoder"),
)
WRAPPERS: Final = (*(f"{word}." for word in _WORDS), "opt/target/", "target/", "img/", "txt/")
"""Of two that hold the same names, the earlier is the ordinary one; the last are big_vision's."""

TRUNK: Final = (
    r"(^|[./])(patch_embed\w*|patch_projection|to_patch_embedding|conv_proj|conv1|stem|embeddings?|"
    r"cls_token|class_token|class_embedding|cls_embedding|dist_token|distillation_token|reg_token|"
    r"pos_embed\w*|absolute_pos_embed|position_embeddings?|positional_emb\w*|posembed_input|"
    r"relative_position_bias_table)(\.|/|$)"
)
NOT_TRUNK: Final = r"(^|\.)(decoder\w*|predictor\w*|prompt_encoder|mask_decoder|neck|heads?)\."
ENCODER_OF_ITS_OWN: Final = r"encoder\.(layers\.encoder_layer_|ln\.|layer\.\d|\d+\.)"
"""torchvision's, Hugging Face's and s-chh's `encoder.` is part of the trunk's names."""

PARTS: Final = r"(encoder|embeddings?|features|layers?|blocks?|stages?|transformer|network)\."
"""First words of names that belong to a trunk itself, or hold its parts."""

TEXT: Final = r"(text|text_model|text_encoder|textual|text_tower|language_model|bert)\.|txt/"
VISION: Final = (
    r"(visual|vision_model|vision_tower|visual_encoder|vision_encoder|image_encoder|trunk)\.|img/"
)
TOKENS: Final = r"(^|[./])(token_embedding|word_embeddings|Embed_0)[./]"
"""What only a text tower has."""
OPENAI_TEXT: Final = (
    r"(token_embedding\.|positional_embedding$|transformer\.|ln_final\.|text_projection)"
)
OPENAI_MARK: Final = "token_embedding.weight"
MOST_WRAPPERS: Final = 12
SHARED_BY_TOWERS: Final = r"(logit_scale|logit_bias|visual_projection|text_projection)"


def find_trunk(
    tensors: Mapping[str, StoredTensor], tower: str | None = None
) -> tuple[Tensors, tuple[str, ...]]:
    """Return the tensors by the trunk's own names, and notes on what was done to them.

    Args:
        tensors: a state dict by its stored names.
        tower: `"vision"` (taken where there are two), `"text"`, or the path of one of several.

    Raises:
        UsageError: `tower` is no tower, or the state dict has no such tower.
    """
    notes, stripped = list[str](), list[str]()
    if (found := _named_tower(tensors, tower)) is not None:
        tower = None
    chosen, found = _Tower(tower), found or dict(tensors)
    for _ in range(MOST_WRAPPERS):
        found = _choose_tower(found, chosen, notes)
        prefix = _next_prefix(found)
        if prefix is None:
            break
        found = _strip(found, prefix, notes)
        stripped.append(prefix)
    chosen.refuse_missing()
    if stripped:
        notes.insert(0, f"stripped {' '.join(map(repr, stripped))} from the stored names")
    return found, tuple(notes)


def _named_tower(tensors: Mapping[str, StoredTensor], tower: str | None) -> Tensors | None:
    """Return the tensors below a path that was named as a tower; `None` where it is none."""
    if tower is None or tower in ("vision", "text"):
        return None
    prefix = f"{tower.rstrip('.')}."
    own = {key: tensor for key, tensor in tensors.items() if key.startswith(prefix)}
    return own or None


def _next_prefix(tensors: Tensors) -> str | None:
    """Return the wrapper that the trunk lies under, or `None` where its own names begin."""
    anchors = _anchors(tensors)
    counts = {prefix: _count_with_prefix(anchors, prefix) for prefix in WRAPPERS}
    under = [prefix for prefix, count in counts.items() if count and _may_strip(prefix, tensors)]
    if not under or 2 * sum(counts[prefix] for prefix in under) < len(anchors):
        return _common_word(anchors)
    best = under[0] if _are_siblings(tensors, under) else max(under, key=lambda p: counts[p])
    is_whole = counts[best] == len(anchors)
    return best if best != "encoder." or is_whole else None


def _common_word(anchors: list[str]) -> str | None:
    """Return a wrapper of any name: the one word, with its dot, that all of the trunk lies under.

    What follows it must begin the trunk's names or be a wrapper again.
    """
    words = {anchor.partition(".")[0] for anchor in anchors}
    word = f"{min(words)}." if len(words) == 1 else ""
    if not re.fullmatch(r"[A-Za-z_]\w*\.", word):
        return None
    if re.match(PARTS, word) or re.match(TRUNK, word) or re.match(NOT_TRUNK, word):
        return None
    return word if any(_begins_trunk(anchor[len(word) :]) for anchor in anchors) else None


def _begins_trunk(name: str) -> bool:
    while wrapper := next((w for w in WRAPPERS if name.startswith(w)), None):
        name = name[len(wrapper) :]
    return re.match(TRUNK, name) is not None


def _anchors(tensors: Iterable[str]) -> list[str]:
    """The names that make a trunk; all names where none does."""
    known = list(tensors)
    is_other, is_trunk = re.compile(NOT_TRUNK).search, re.compile(TRUNK).search
    anchors = [key for key in filter(is_trunk, known) if not is_other(key)]
    return anchors or [key for key in known if not is_other(key)] or known


def _count_with_prefix(keys: Iterable[str], prefix: str) -> int:
    return sum(key.startswith(prefix) for key in keys)


def _may_strip(prefix: str, tensors: Tensors) -> bool:
    if prefix != "encoder.":
        return True
    has_trunk = any(re.search(TRUNK, key) for key in tensors)
    return has_trunk and not any(re.match(ENCODER_OF_ITS_OWN, key) for key in tensors)


def _are_siblings(tensors: Tensors, prefixes: list[str]) -> bool:
    """Whether the wrappers hold copies of one model: their inner names are largely the same."""
    inner = [_inner_names(tensors, prefix) for prefix in prefixes[:2]]
    return len(inner) > 1 and 2 * len(inner[0] & inner[1]) > min(map(len, inner))


def _inner_names(tensors: Iterable[str], prefix: str) -> set[str]:
    return {key[len(prefix) :] for key in tensors if key.startswith(prefix)}


def _strip(tensors: Tensors, prefix: str, notes: list[str]) -> Tensors:
    """Take `prefix` off; drop copies of the same model, and say so; keep everything else."""
    inner = {key[len(prefix) :]: t for key, t in tensors.items() if key.startswith(prefix)}
    others = {key: t for key, t in tensors.items() if not key.startswith(prefix)}
    copies = [p for p in WRAPPERS if p != prefix and _is_copy(others, p, inner)]
    if copies:
        also = ", ".join(repr(copy.removesuffix(".")) for copy in copies)
        notes.append(
            f"took {prefix.removesuffix('.')!r}; also present: {also}; --state-dict-key chooses"
        )
    kept = {key: t for key, t in others.items() if not key.startswith(tuple(copies))}
    collisions = [key for key in kept if key in inner]
    if collisions:
        notes.append(_collision(prefix, collisions))
    return {**kept, **inner} if not inner else _in_order(tensors, prefix, inner, kept)


def _is_copy(others: Tensors, prefix: str, inner: Tensors) -> bool:
    names = _inner_names(others, prefix)
    return bool(names) and 2 * len(names & inner.keys()) > len(names)


def _in_order(tensors: Tensors, prefix: str, inner: Tensors, kept: Tensors) -> Tensors:
    """The tensors in the file's order; of two of one name, the one under the prefix."""
    renamed: Tensors = {}
    for key in tensors:
        name = key[len(prefix) :] if key.startswith(prefix) else key
        if name in inner or name in kept:
            renamed[name] = inner.get(name) or kept[name]
    return renamed


def _collision(prefix: str, keys: list[str]) -> str:
    more = f" and {len(keys) - 4} more" if len(keys) > 4 else ""
    return (
        f"left out {', '.join(keys[:4])}{more}, which collide with names under {prefix!r} "
        "(--state-dict-key chooses)"
    )


@dataclass
class _Tower:
    """Which tower is wanted, and whether it was found.

    Attributes:
        wanted: `"vision"`, `"text"`, or `None` for the ordinary one.
        is_chosen: whether the tensors are those of one tower by now.
    """

    wanted: str | None
    is_chosen: bool = False

    def __post_init__(self) -> None:
        if self.wanted not in (None, "vision", "text"):
            raise UsageError(f"Unknown tower {self.wanted!r}. Known: text, vision.")

    def refuse_missing(self) -> None:
        """Raise a UsageError where a text tower was asked for and there is none."""
        if self.wanted == "text" and not self.is_chosen:
            raise UsageError("--tower text: the state dict has one tower only. Leave --tower out.")


def _choose_tower(tensors: Tensors, tower: _Tower, notes: list[str]) -> Tensors:
    """Return the tensors of the chosen tower, once two can be told apart; else all of them."""
    if tower.is_chosen:
        return tensors
    text = _text_keys(tensors)
    has_vision = any(map(re.compile(VISION).match, tensors))
    if text and not has_vision and tower.wanted == "text":
        tower.is_chosen = True
    if not text or not has_vision:
        return tensors
    tower.is_chosen = True
    return _one_tower(tensors, text, tower.wanted, notes)


def _text_keys(tensors: Iterable[str]) -> set[str]:
    """The names of a text tower."""
    names = set(tensors)
    text = set(filter(re.compile(TEXT).match, names))
    if OPENAI_MARK in names:
        text |= {key for key in names if re.match(OPENAI_TEXT, key)}
    return text or set(filter(re.compile(TOKENS).search, names))


def _one_tower(tensors: Tensors, text: set[str], wanted: str | None, notes: list[str]) -> Tensors:
    keep_text = wanted == "text"
    kept = {
        key: tensor
        for key, tensor in tensors.items()
        if (key in text) == keep_text or re.match(SHARED_BY_TOWERS, key)
    }
    taken, other = ("text", "vision") if keep_text else ("vision", "text")
    left = len(tensors) - len(kept)
    hint = " (--tower text takes them)" if wanted is None else ""
    many, were = ("tensors", "were") if left != 1 else ("tensor", "was")
    notes.append(
        f"took the {taken} tower; {left} {many} of the {other} tower {were} left out{hint}"
    )
    return kept
