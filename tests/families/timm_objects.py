"""What a timm model says of its position embeddings: the oracle of the sweep.

Its modules are asked one by one (timm_modules.py), then what they say is put together. A parameter
that is called a position and that no module claims is an error.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from unittest.mock import patch

import timm
import torch
from timm.layers import weight_init
from timm_modules import SAYS, rotary


def build(name):
    """Build a model without values: filling them in takes most of the time, even where none are."""
    unfilled = patch.object(weight_init, "_trunc_normal_", lambda tensor, *_: tensor)
    with torch.device("meta"), unfilled:
        return timm.create_model(name)


ROTARY = re.compile(r"pos_embed_sincos\.RotaryEmbedding|gemma4_vit\.Gemma4RotaryEmbedding")
# Names that say position, of which each must be claimed.
SAYS_POSITION = re.compile(
    r"(?:^|\.)(?:pos|rel|rope|c?rpe|cpe|peg|freqs|cpb|gating)(?=[._\d]|$)"
    r"|_pos$|_rel$|_rpe$|posi|attention_bias|meta_mlp"
)


def type_of(module):
    return f"{type(module).__module__.rpartition('.')[2]}.{type(module).__qualname__}"


def schemes_of(model):
    """Every scheme of a model: tables one by one, and what acts inside blocks taken together."""
    found, claimed = [], []
    for path, module in model.named_modules():
        name = type_of(module)
        say = rotary if ROTARY.match(name) else SAYS.get(name)
        own = say(path, module) if say else []
        claimed += [key for scheme in own for key in scheme.keys]
        found += own
    unclaimed = [
        name
        for name, _ in model.named_parameters()
        if SAYS_POSITION.search(name) and name not in claimed
    ]
    assert not unclaimed, f"no type claims {unclaimed[:4]}"
    return [on_grids(model, each) for each in together(found, len(getattr(model, "blocks", ())))]


def together(schemes, depth):
    """Join what acts inside the blocks to one embedding a family."""
    tables = [scheme for scheme in schemes if scheme.kind == "vectors"]
    joined = {}
    for scheme in (scheme for scheme in schemes if scheme.kind != "vectors"):
        before = joined.get(scheme.family)
        joined[scheme.family] = scheme if before is None else add(before, scheme)
    return tables + [shared(scheme, depth) for scheme in joined.values()]


def add(one, other):
    return replace(
        one,
        keys=one.keys + other.keys,
        grids=one.grids + other.grids,
        shapes=one.shapes + other.shapes,
        parameters=one.parameters + other.parameters,
    )


def shared(scheme, depth):
    """One network that every block asks has one table a block."""
    if not any(key.startswith("shared_") for key in scheme.keys):
        return scheme
    return replace(scheme, grids=scheme.grids * depth, shapes=scheme.shapes * depth)


def on_grids(model, scheme):
    """The grids of what has none of its own: those of the patches of the whole model."""
    if scheme.family in RUNS_ON and not scheme.grids:
        return replace(scheme, grids=RUNS_ON[scheme.family](model, scheme))
    return scheme


def in_every_block(model, scheme):
    """Rotations: timm's models that have a patch embedding of fixed size turn every block."""
    grid = getattr(getattr(model, "patch_embed", None), "grid_size", None)
    return (tuple(grid),) * len(model.blocks) if grid is not None else ()


def in_gated_blocks(model, scheme):
    return (tuple(model.patch_embed.grid_size),) * sum(b.use_gpsa for b in model.blocks)


def of_stages(model, scheme):
    """CoaT's and Twins' convolutions: of a stage's patches; other models keep no such number."""
    if type_of(model) == "coat.CoaT":
        stages = [getattr(model, f"patch_embed{i}").grid_size for i in range(1, 5)]
        return tuple(tuple(grid) for grid in stages for _ in scheme.shapes[::4] or [None])
    if type_of(model) == "twins.Twins":
        sides = [math.isqrt(patches.num_patches) for patches in model.patch_embeds]
        return tuple((side, side) for side in sides)
    return ()


def of_the_input(model, scheme):
    if type_of(model) != "xcit.Xcit":
        return ()
    patches = model.patch_embed
    return (tuple(s // p for s, p in zip(patches.img_size, _pair(patches.patch_size))),)


def _pair(size):
    return size if isinstance(size, tuple) else (size, size)


RUNS_ON = {
    "rotary": in_every_block,
    "gated_positional": in_gated_blocks,
    "conditional": of_stages,
    "conv_relative": of_stages,
    "fourier": of_the_input,
}


def tokens_of(model, schemes):
    """The prefix tokens of a model; where it does not count them, those that it holds."""
    counting = next((m for m in model.modules() if hasattr(m, "num_prefix_tokens")), None)
    if counting is not None:
        return counting.num_prefix_tokens
    tokens = [
        value for name, value in model.named_parameters() if re.match(r"cls_token(_0|1)?$", name)
    ]
    return tokens[0].shape[1] if tokens else max((scheme.rows for scheme in schemes), default=0)


def form(model):
    """What distinguishes an architecture here: its class, and the form of what it holds."""
    schemes = schemes_of(model)
    holds = {
        (s.family, s.kind, s.rows, len(s.grids) > 1, len(set(s.grids)) > 1, axes(model, s))
        for s in schemes
    }
    return type_of(model), tokens_of(model, schemes), frozenset(holds)


def axes(model, scheme):
    """Of how many axes the stored tensors are."""
    tensors = dict(model.named_parameters())
    return frozenset(tensors[key].ndim for key in scheme.keys)


def represented(models):
    """The smallest architecture of each form, given (name, form, parameters)."""
    best = {}
    for name, its_form, size in models:
        best[its_form] = min(best.get(its_form, (size, name)), (size, name))
    return sorted(name for _, name in best.values())
