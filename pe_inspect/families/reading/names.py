"""One naming for every library's checkpoints: timm's module paths.

`bare_names` keeps the tensors of the vision trunk; `timm_place` turns the name of a tensor into
timm's (layer, name), e.g. `encoder.layer.3.layernorm_before.weight` into `("blocks.3", "norm1")`.
These know names alone; `NamedTensors` asks them once a checkpoint.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Final

__all__ = [
    "bare_names",
    "block_of",
    "block_splitter",
    "by_form",
    "embeds_words_alone",
    "flat_blocks",
    "in_order",
    "stem_of",
    "timm_place",
]

# What wraps a vision trunk; loading strips most of it, state dicts in memory still carry it.
_WRAPPERS: Final = re.compile(
    r"^(?:(?:module|_orig_mod|model|backbone|visual|trunk|vision_model|image_encoder|vit|deit|beit|"
    r"data2vec_vision|swin|dinov2|dinov2_with_registers|timm_model)\.|(?:params|img|opt|target)/|"
    r"encoder\.(?=blocks\.|patch_embed\.|pos_embed)|"  # timm's Qwen3, Gemma4 and DeepSeek ViTs
    r"classifier\.(?=blocks\.|positional_emb|class_emb|norm\.|attention_pool))+"  # CCT
)
_OTHER_TOWERS: Final = re.compile(
    r"^(?:text|text_model|decoder\w*|predictor|token_embedding|mask_decoder|prompt_encoder|"
    r"txt|lm_head)(?:$|[./])|^decoder_"
)
_VISION: Final = re.compile(
    r"^(?:module\.|_orig_mod\.)*(?:visual|vision_model)\.|^(?:params/)?img/"
)

_WORDS: Final = re.compile(r"(?:.*[./])?(?:token_embedding|word_embeddings|Embed_0)[./]")

# Each library's path of a block, and timm's. The order matters: the first match wins.
_BLOCKS: Final = tuple(
    (re.compile(pattern), layer)
    for pattern, layer in (
        (r"(?:encoder\.)?layers\.(\d+)\.blocks\.(\d+)\.", "layers.{}.blocks.{}"),  # Swin
        (r"stages\.(\d+)\.blocks\.(\d+)\.", "stages.{}.blocks.{}"),
        (r"(?:encoder\.)?stages\.(\d+)\.layers\.(\d+)\.", "stages.{}.blocks.{}"),  # HF's Hiera
        (r"(?:encoder\.)?block\.(\d+)\.(\d+)\.", "stages.{}.blocks.{}"),  # HF's PVT
        (r"block(\d+)\.(\d+)\.", "block{}.{}"),  # the original PVT
        (r"stage(\d+)\.(\d+)\.", "stage{}.{}"),  # Visformer
        (r"transformers\.(\d+)\.blocks\.(\d+)\.", "transformers.{}.blocks.{}"),  # PiT
        (  # NesT
            r"levels\.(\d+)\.transformer_encoder\.(\d+)\.",
            "levels.{}.transformer_encoder.{}",
        ),
        (r"(?:backbone\.)?(\d+)\.layers\.(\d+)\.", "backbone.{}.layers.{}"),  # lucidrains' LeViT
        (r"network\.(\d+)\.(\d+)\.", "network.{}.{}"),  # VOLO
        (r"blocks\.(\d+)\.blocks\.(\d+)\.(\d+)\.", "blocks.{}.blocks.{}.{}"),  # CrossViT
        (r"blocks\.(\d+)\.layers\.(\d+)\.", "blocks.{}.layers.{}"),  # torchvision's MaxViT
        (r"blocks\.(\d+)\.(\d+)\.", "blocks.{}.{}"),  # Twins
        (r"blocks\.(\d+)\.", "blocks.{}"),
        (r"encoder\.layers\.encoder_layer_(\d+)\.", "blocks.{}"),  # torchvision
        (r"transformer\.resblocks\.(\d+)\.", "blocks.{}"),  # CLIP
        (r"transformer\.layers\.(\d+)\.", "blocks.{}"),  # lucidrains
        (r"(?:Transformer|Encoder_0)/encoderblock_(\d+)/", "blocks.{}"),  # vit_jax, big_vision
        (
            r"(?:encoder\.)?layers?\.(\d+)\.(?!downsample)",
            "blocks.{}",
        ),  # transformers, both namings
        (r"encoders?\.(\d+)\.", "blocks.{}"),  # s-chh, nda111
    )
)
_CHUNKED: Final = re.compile(r"^blocks\.(\d+)\.(?=(\d+)\.)")
_NUMBER: Final = re.compile(r"\d+")
_FLAT: Final = re.compile(r"blocks\.(\d{1,4})")  # a model of 10,000 blocks there is not
_TORCHVISION_SWIN: Final = re.compile(r"features\.([1357])\.(\d+)\.(?=norm|attn|mlp)")

_IN_BLOCK: Final = MappingProxyType(
    {
        "layernorm_before": "norm1",
        "layernorm_after": "norm2",
        "layer_norm1": "norm1",
        "layer_norm2": "norm2",
        "layer_norm_1": "norm1",
        "layer_norm_2": "norm2",
        "rms_norm1": "norm1",
        "rms_norm2": "norm2",
        "attention_norm": "norm1",
        "ffn_norm": "norm2",
        "pre_norm": "norm1",
        "ln_1": "norm1",
        "ln_2": "norm2",
        "in_norm": "norm1",  # timm's parallel blocks have this one only
        "0.norm": "norm1",
        "1.norm": "norm2",
        "1.net.0": "norm2",
        "LayerNorm_0": "norm1",
        "LayerNorm_1": "norm2",
        "LayerNorm_2": "norm2",
    }
)
_IN_MODEL: Final = MappingProxyType(
    {
        "layernorm": "norm",
        "post_layernorm": "norm",
        "encoder.ln": "norm",
        "encoder.layer_norm": "norm",
        "layer_norm": "norm",
        "rms_norm": "norm",
        "ln_final": "norm",
        "final_layer_norm": "norm",
        "ln_post": "norm",
        "transformer.norm": "norm",
        "Transformer/encoder_norm": "norm",
        "Encoder_0/encoder_norm": "norm",
        "MAPHead_0/LayerNorm_0": "attn_pool.norm",
        "ln_pre": "norm_pre",
        "pre_layrnorm": "norm_pre",  # transformers spells it so
        "embeddings.norm": "patch_embed.norm",
        "embeddings.rms_norm": "patch_embed.norm",
        "features.0.2": "patch_embed.norm",
    }
)


_INNER_WRAPPERS: Final = re.compile(
    r"(?<=\.)(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_fpw_module)\."
    r"|(?<=\d\.)module\."
)


def by_form(names: Mapping[str, str]) -> dict[str, list[str]]:
    """Group names by form: what stands for each name, with every number replaced by 0."""
    forms, known = dict[str, list[str]](), dict[str, list[str]]()
    for key, name in names.items():
        if (alike := known.get(name)) is None:
            alike = known[name] = forms.setdefault(_NUMBER.sub("0", name), [])
        alike.append(key)
    return forms


def bare_names(keys: Iterable[str], forms: Iterable[str]) -> dict[str, str]:
    """Return bare name → the checkpoint's name, for the tensors of the vision trunk.

    Text towers and decoders are left out, and so are the chunks of FSDP. Of two names that become
    one, the first is kept.

    Args:
        keys: the checkpoint's names.
        forms: their forms.
    """
    known = tuple(keys)
    if all(form == _bare(form) and not _VISION.match(form) for form in forms):
        return _without_chunks(dict(zip(known, known)), forms)
    vision = [key for key in known if _VISION.match(key)]
    names: dict[str, str] = {}
    for key in vision or known:
        if (bare := _bare(key)) is not None:
            names.setdefault(bare, key)
    return _without_chunks(names, names)


def _bare(key: str) -> str | None:
    """Return a name without what wraps the trunk; `None` of what lies in another tower."""
    bare = _INNER_WRAPPERS.sub("", _WRAPPERS.sub("", key))
    return None if _OTHER_TOWERS.match(bare) else bare


def _without_chunks(names: dict[str, str], forms: Iterable[str]) -> dict[str, str]:
    """Take out the chunks of DINOv2's files under FSDP: `blocks.CHUNK.INDEX` is block INDEX.

    INDEX runs on over the chunks; where it starts anew, as in Twins, the first number is a stage.
    """
    if not all(_CHUNKED.match(form) for form in forms if form.startswith("blocks.")):
        return names
    blocks = [_CHUNKED.match(name) for name in names if name.startswith("blocks.")]
    places = {match.groups() for match in blocks if match}
    runs_on = len({index for _, index in places}) == len(places)
    if not (all(blocks) and runs_on):
        return names
    return {_CHUNKED.sub("blocks.", name, count=1): key for name, key in names.items()}


def embeds_words_alone(keys: Iterable[str]) -> bool:
    """Whether names are those of a text tower alone: it embeds words, and has no vision tower."""
    known = tuple(keys)
    return any(map(_WORDS.match, known)) and not any(map(_VISION.match, known))


def block_of(bare: str) -> tuple[str, str] | None:
    """Split a bare name into timm's layer and the rest; `None` outside the blocks."""
    if match := _TORCHVISION_SWIN.match(bare):
        stage, block = (int(group) for group in match.groups())
        return f"layers.{stage // 2}.blocks.{block}", bare[match.end() :]
    return next((found for each in _BLOCKS if (found := _split(*each, bare))), None)


def block_splitter(form: str) -> Callable[[str], tuple[str, str] | None]:
    """Return `block_of` for names of one form, which differ in their numbers alone.

    Args:
        form: such a name with every number replaced by 0.
    """
    if form.startswith("features."):
        return block_of
    fitting = next((each for each in _BLOCKS if each[0].match(form)), None)
    return (lambda _: None) if fitting is None else partial(_split, *fitting)


def _split(pattern: re.Pattern[str], layer: str, bare: str) -> tuple[str, str] | None:
    match = pattern.match(bare)
    return match and (_numbered(layer, match.groups()), bare[match.end() :])


@lru_cache(maxsize=1 << 14)
def _numbered(layer: str, numbers: tuple[str, ...]) -> str:
    """Return a block's name with the numbers of a path in it, without leading zeros."""
    return layer.format(*map(int, numbers))


def timm_place(bare: str, block: tuple[str, str] | None) -> tuple[str, str]:
    """Return timm's (layer, name) of the module of a tensor; what has no place keeps its own name.

    Args:
        bare: the tensor's name.
        block: what `block_of` says of it.
    """
    if block is not None and (rest := stem_of(block[1])):
        return block[0], _IN_BLOCK.get(rest, rest)
    stem = stem_of(bare)
    return "", _IN_MODEL.get(stem, stem)


def stem_of(name: str) -> str:
    """Leave out the last word: of a tensor's name, the module's is left."""
    return name[: max(name.rfind("."), name.rfind("/"), 0)]


def in_order(layer: str) -> tuple[int, ...]:
    """Return the indices in a layer's name: 10 sorts after 9, whatever the file's order."""
    return tuple(map(int, _NUMBER.findall(layer)))


def flat_blocks(layers: Iterable[str]) -> set[int]:
    """Return the indices of the blocks that stand in no stage: `blocks.3`."""
    return {int(match[1]) for match in map(_FLAT.fullmatch, layers) if match}
