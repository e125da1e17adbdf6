"""A bias that a small network computes from the offset: Swin v2, Swin v2-CR, timm's RelPosMlp.

Such a bias exists for any window. No file says which one the model was built with, unless it
persists the coordinates; so the window is asked for, and every evaluation is noted.

Sources: arXiv:2111.09883 (Swin v2), section 3.3; timm's vit_relpos, CoAtNet-RMLP and MaxViT-RMLP.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families import Family, families
from pe_inspect.families.reading.tables import nonfinite_note
from pe_inspect.families.reading.tensors import Place
from pe_inspect.families.trunk import Trunk
from pe_inspect.kinds.held_values import Lookup
from pe_inspect.kinds.parts import FamilyFacts
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding

if TYPE_CHECKING:
    from pe_inspect.families.reading.computed_window import Evaluation
    from pe_inspect.kinds.offset_network import OffsetNetwork

__all__ = ["detect", "extract"]

NAME: Final = "bias_network"

_FIRST_LAYER: Final = re.compile(
    r"(?P<at>.+)\.(?:"
    r"(?:attn|attention\.self)\.(?:cpb_mlp|rpe_mlp|continuous_position_bias_mlp)\.0"
    r"|attn\.meta_mlp\.fc1|attn\.rel_pos\.mlp\.fc1)\.weight"
)
_SHARED: Final = re.compile(r"(?P<at>shared_rel_pos)\.mlp\.fc1\.weight")
_LAST_LAYER: Final = {"0": "2", "fc1": "fc2"}
_AXES: Final = ("hidden 2", "hidden", "heads hidden", "heads")


def detect(trunk: Trunk) -> bool:
    """Whether the checkpoint holds such a network."""
    return bool(_found(trunk))


def extract(trunk: Trunk) -> tuple[PositionEmbedding, ...]:
    """Evaluate the network of every block on its window, (heads, tokens, tokens).

    Raises:
        AmbiguousCheckpoint: nothing says a window, or the layers of a network do not fit.
    """
    found = _found(trunk)
    if not found:
        return ()
    from pe_inspect.families.reading.computed_window import evaluation_of
    from pe_inspect.families.reading.embedding import scheme

    keys = {place.stem: _keys(trunk, place) for place in found}
    networks = {stem: _network(trunk, own) for stem, own in keys.items()}
    evaluations = [evaluation_of(trunk, p, networks[p.stem].is_bounded) for p in found]
    layers = [
        layer
        for place, evaluation in zip(found, evaluations)
        for layer in _layers(trunk, place, networks[place.stem], evaluation)
    ]
    notes = [note for evaluation in evaluations for note in evaluation.notes]
    notes += [note for own in keys.values() for key in own for note in _odd(trunk, key)]
    if found[0].layer == "shared_rel_pos":
        notes.append(f"one network, shared by all {len(layers)} blocks")
    stored = (key for own in keys.values() for key in own)
    return (scheme(trunk, NAME, "function", layers, stored, notes),)


def _odd(trunk: Trunk, key: str) -> tuple[str, ...]:
    return nonfinite_note(trunk.stored_key(key), trunk.float32(key))


def _found(trunk: Trunk) -> list[Place]:
    return trunk.places(_FIRST_LAYER) or trunk.places(_SHARED)


def _keys(trunk: Trunk, place: Place) -> tuple[str, ...]:
    """Return the keys of both layers: weights and, where there are, biases."""
    first = f"{place.stem}{place.match.string[place.match.end('at') :]}".removesuffix(".weight")
    stem, _, name = first.rpartition(".")
    last = f"{stem}.{_LAST_LAYER[name]}"
    wanted = [f"{layer}.{part}" for layer in (first, last) for part in ("weight", "bias")]
    for key in wanted[:3]:
        if key not in trunk:
            raise AmbiguousCheckpoint(
                f"{trunk.source} holds {first}.weight and no {key}: the network needs both "
                "of its layers. The file is not whole."
            )
    return tuple(key for key in wanted if key in trunk)


def _network(trunk: Trunk, keys: tuple[str, ...]) -> OffsetNetwork:
    from pe_inspect.families.reading.embedding import refuse_misfits
    from pe_inspect.kinds.offset_network import OffsetNetwork

    refuse_misfits(trunk, dict(zip(keys, _AXES)))
    first, bias, second, *last = (trunk.float32(key) for key in keys)
    return OffsetNetwork((first, second), (bias, last[0] if last else None))


def _layers(
    trunk: Trunk, place: Place, network: OffsetNetwork, evaluation: Evaluation
) -> list[LayerPE]:
    """Return the bias of the place's block, or of every block that shares the network."""
    from pe_inspect.families.reading.bias import offset_index
    from pe_inspect.families.reading.embedding import num_prefix_tokens

    is_shared = place.layer == "shared_rel_pos"
    blocks = trunk.blocks if is_shared else [place.layer]
    prefix = num_prefix_tokens(trunk) if blocks[0].startswith("blocks.") else 0
    told = replace(network, trained=evaluation.trained)
    by_offset = told.on(evaluation.window).reshape(-1, len(network.weights[1])).T
    table = np.pad(by_offset, ((0, 0), (0, 1)))  # the last column: a prefix token gets no bias
    pairs = offset_index(evaluation.window)
    index = np.pad(pairs, ((prefix, 0), (prefix, 0)), constant_values=table.shape[1] - 1)
    bias = Lookup(table, index if prefix else pairs, told)
    return [
        LayerPE.from_lookup(block, bias, evaluation.window, prefix, place.module)
        for block in blocks
    ]


families.register(NAME)(
    Family(
        name=NAME,
        looks_for="`attn.cpb_mlp.0.weight`, `attn.meta_mlp.fc1.weight` or `rel_pos.mlp.fc1.weight` "
        "(hidden × 2): a network from an offset to a bias a head; the window must be said, unless "
        "`relative_coords_table` is stored",
        example="Swin v2 (timm, the original, torchvision, transformers), timm's "
        "swinv2_cr_tiny_224, vit_relpos_small_patch16_224, coatnet_rmlp_nano_rw_224",
        detect=detect,
        extract=extract,
        facts=FamilyFacts(
            sentence="A bias on attention that a small network computes from the offset",
            source="arXiv:2111.09883 (Swin V2), §3.3: a network asked for every offset",
        ),
    )
)
