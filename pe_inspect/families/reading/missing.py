"""What to say of a checkpoint in which no position embedding was found.

"Not stored" and "none" are different answers: a rotary ViT has positions that its file does not
show, a convolutional network has no position embedding at all. A third is that the file holds only
a part of a model, or a table under a name that nobody gives it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from math import isqrt
from typing import Final

from pe_inspect.families.reading.arch import looks_like_dinov3
from pe_inspect.families.trunk import Trunk

__all__ = ["explain"]

_ASK_ARCH: Final = "pass --arch timm:NAME to have it computed"
_MOST_PARTS: Final = 6
_LONE_TENSOR: Final = "pos_embed"  # what loading calls a file's only tensor

_ADAPTER: Final = re.compile(
    r".*(?:lora_[AB]|lora_(?:down|up)|lora_magnitude_vector|hada_w\d|lokr_w\d|lora_embedding_[AB])"
    r"(?:$|[._]).*|.*\.(?:ia3_l|oft_[rR]|vera_lambda_[bd])(?:$|\.).*"
)
_FEWEST_ROWS: Final = 4
_MOST_NAMED: Final = 3

# (every one of these is among the names, none of those is, what it means): the first that fits.
_SIGNS: Final = (
    (
        (r"encoders\.\d+\.self_attention\.mha\.",),
        (),
        "Not stored: this is nda111's ViT, whose pos_embed is a plain tensor attribute, neither a "
        "parameter nor a buffer. So it is not in the state dict, and it was never trained.",
    ),
    (
        (r"to_patch_embedding\.", r"transformer\.layers\.\d+\.0\.to_qkv\.weight"),
        (),
        "Not stored: this looks like lucidrains' SimpleViT, which recomputes a fixed table of "
        "sines and cosines in its code.",
    ),
    (
        (r"encoder\.\d+\.attention\.queries\.", r"embedding\.conv1\."),
        (),
        "None: this is s-chh's ViT of kind `none`, a Vision Transformer with no position at all.",
    ),
    (
        (r"(?:reg_token|storage_tokens|embeddings\.register_tokens)$", r".*(?:gamma_1|lambda1)$"),
        (),
        "Not stored: it looks like a rotary model, with register tokens and layer scale; "
        f"{_ASK_ARCH}.",
    ),
    (
        (r"blocks\.\d+\.(?:gamma_1|ls1\.gamma)$", r"cls_token$"),
        (r"blocks\.\d+\.attn\.q_bias$",),
        f"Not stored: it looks like a rotary model (rope-vit); {_ASK_ARCH}.",
    ),
    (
        (r".*\.attention_norm\.",),
        (),
        "Not stored: it looks like a rotary model (Pixtral), which computes its angles in code.",
    ),
    (
        (r".*\.mlp\.dwconv\.",),
        (),
        "None stored: position comes from zero-padded convolutions (as in PVTv2).",
    ),
    (
        (r".*(?:mlp_tokens|mlp_channels|rnn_tokens)",),
        (),
        "None: this looks like a mixing network, whose weights are tied to positions.",
    ),
)
_POSITION: Final = re.compile(
    r".*(?:rel_pos|relative_position|cpb_mlp|rpe_mlp|attention_biases|pos_proj|pos_emb|pos_block|"
    r"pos_bias|rotary_emb|freqs_(?:cis|cos|sin)|(?:^|\.)dpb\.).*"
)
_ATTENTION: Final = (
    r"(?:.*\.)?(?:qkv|q|query|queries|to_qkv|to_q|to_query|q_proj|in_proj_weight)(?:\.|$)"
)
_STEMS: Final = re.compile(
    r"(?:.*\.)?(?:patch_embed\w*|stem\w*|embeddings?|to_patch_embedding|conv_proj|conv1)\."
)
# (has attention, has convolutions): the answer where no name says more.
_OTHERWISE: Final = {
    (True, True): "None: attention over convolutional features, without a position embedding; "
    "position can only come from the zero padding of its convolutions.",
    (True, False): "A transformer without any position tensor: it has none, or its code computes "
    "it. If it is a rotary model of timm, pass --arch timm:NAME.",
    (False, True): "None: this looks like a convolutional network, which has no position "
    "embedding.",
    (False, False): "None of its names is one that a Vision Transformer's position embedding has.",
}


def explain(trunk: Trunk, known: Sequence[str], others: Sequence[str], unread: str = "") -> str:
    """Return what was looked for, what the file holds, and whether it is none or not stored.

    Args:
        trunk: in which nothing was found.
        known: the names of all families.
        others: those that it holds, where `--family` named another.
        unread: a sentence on tensors that may hold positions; where there are any, nothing is
            denied.
    """
    count = len(trunk)
    wanted = trunk.hints.family
    looked_for = wanted or ", ".join(sorted(known))
    what = f"No {wanted}" if wanted else "No position embedding"
    return (
        f"{what} in {trunk.source} ({count} tensor{'' if count == 1 else 's'}). "
        f"Looked for: {looked_for}; `pe-inspect families` says what each looks for.\n"
        f"{_verdict(trunk, others, unread)}\n"
        f"The file holds {_contents(trunk)}."
    )


def _verdict(trunk: Trunk, others: Sequence[str], unread: str) -> str:
    if others:
        return f"It does hold {', '.join(sorted(others))}: leave --family out, or name that."
    if tuple(trunk) == (_LONE_TENSOR,):
        return _verdict_on_lone(trunk)
    if (part := _part_of_a_model(trunk)) is not None:
        return part
    if trunk.hints.pe == "none":
        return f"None: {trunk.hints.origin('pe')} says that the model has no position embedding."
    if looks_like_dinov3(trunk):
        return (
            "Not stored: it looks like a rotary model (DINOv3: registers, layer scale, no table); "
            f"{_ASK_ARCH}, e.g. timm:vit_small_patch16_dinov3."
        )
    if (key := next((each.key for each in trunk.matching(_POSITION)), None)) is not None:
        kept = trunk.stored_key(key)
        return (
            f"It keeps position in a scheme that this version does not read: {kept}."
            f"{_renamed(trunk)}"
        )
    if unread:
        return unread + _renamed(trunk)
    for present, absent, verdict in _SIGNS:
        if all(_any(trunk, p) for p in present) and not any(_any(trunk, p) for p in absent):
            return verdict + _renamed(trunk)
    answer = _OTHERWISE[_any(trunk, _ATTENTION), _has_convolutions(trunk)]
    return answer + _renamed(trunk)


def _verdict_on_lone(trunk: Trunk) -> str:
    """Say of a file of one array why it is no table: its type, or else its shape."""
    dtype, shape = trunk.dtype(_LONE_TENSOR), trunk.shape(_LONE_TENSOR)
    if re.match(r"[<>=|]?[US]\d*$", dtype):
        return "Its one array holds text, not numbers."
    return f"Its one array has shape {shape}, which is no table of rows × channels."


def _has_convolutions(trunk: Trunk) -> bool:
    """Whether there are kernels larger than a pixel behind the stem, or batch norms."""
    for bare, key in trunk.names.items():
        shape = trunk.shape(key)
        is_spatial = len(shape) == 4 and max(shape[2:]) > 1
        if bare.endswith("running_mean") or (is_spatial and not _STEMS.match(bare)):
            return True
    return False


def _any(trunk: Trunk, pattern: str) -> bool:
    return trunk.begins(re.compile(pattern))


def _contents(trunk: Trunk) -> str:
    """Count the tensors by the first part of their names, the largest parts first."""
    parts = Counter(re.split(r"[./]", key)[0] or "one unnamed tensor" for key in trunk)
    listed = ", ".join(f"{name} ({count})" for name, count in parts.most_common(_MOST_PARTS))
    more = len(parts) - _MOST_PARTS
    return f"{listed}, and {more} more parts" if more > 0 else listed or "no tensors"


def _part_of_a_model(trunk: Trunk) -> str | None:
    """Return what the file is, where it is an adapter or a text tower; `None` where it is neither.

    An adapter changes weights of linear layers: the model that it adapts has the position table.
    """
    adapters = sum(_ADAPTER.fullmatch(key) is not None for key in trunk)
    if adapters and 2 * adapters >= len(trunk):
        return (
            f"Adapter weights only ({adapters} LoRA-like tensors): the position embedding is that "
            f"of the model that they adapt{_base(trunk)}. Give that model, or merge them "
            "first (peft: merge_and_unload, then save_pretrained)."
        )
    if trunk.is_text_tower and trunk.hints.tower != "text":
        return (
            "It is a text tower: its positions are those of words, not of patches. "
            "--tower text reads them."
        )
    return None


def _base(trunk: Trunk) -> str:
    """Name the adapted model, where an adapter_config.json does."""
    name = trunk.config.get("base_model_name_or_path")
    return f" ({name})" if isinstance(name, str) and name.isprintable() and name else ""


def _renamed(trunk: Trunk) -> str:
    """Return a sentence on tensors that have the shape of a table, whatever they are called."""
    names, widths = trunk.names, _widths(trunk)
    found = [key for bare, key in names.items() if _could_be(bare, trunk.shape(key), widths)]
    if not found or len(found) > _MOST_NAMED:
        return ""
    stored = [trunk.stored_key(key) for key in found]
    listed = ", ".join(f"{s} {trunk.shape(k)}" for s, k in zip(stored, found))
    return (
        f" Of the shape of a table: {listed}. If it is one under another name, "
        f"--state-dict-key {stored[0]} takes it for pos_embed."
    )


def _widths(trunk: Trunk) -> set[int]:
    """The widths of the norms, which a table shares."""
    shapes = (trunk.shape(key) for key in trunk if "norm" in key.lower())
    return {shape[0] for shape in shapes if len(shape) == 1}


def _could_be(bare: str, shape: tuple[int, ...], widths: set[int]) -> bool:
    """Whether (1, rows, D) or (rows, D) can be a table: D is a norm's, the rows nearly a square."""
    if "token" in bare or not shape or shape[-1] not in widths:
        return False
    if len(shape) == 3 and shape[0] == 1:
        return shape[1] >= _FEWEST_ROWS
    is_weight = bare.endswith((".weight", "/kernel"))
    return len(shape) == 2 and not is_weight and _is_grid(shape[0])


def _is_grid(rows: int) -> bool:
    return rows >= _FEWEST_ROWS and any(isqrt(rows - p) ** 2 == rows - p for p in range(3))
