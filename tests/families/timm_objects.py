"""What the modules of a timm model say of its position embeddings: the oracle of the sweep.

Every type of module that holds position has a function here, which asks the module's attributes
(`grid_size`, `window_size`, `num_prefix_tokens`, …) and never the names of a state dict. A
parameter that is called a position and that no function claims is an error.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

import timm
import torch


@dataclass(frozen=True)
class Scheme:
    """What an object says of one embedding.

    Attributes:
        family: the name of the scheme.
        kind: of its values.
        keys: the tensors of the state dict that hold it.
        grids: (H, W) of each table, in order; empty where the object has none.
        shapes: of each table's values, likewise.
        rows: prefix rows of the table.
        parameters: learned scalars, tied ones once.
    """

    family: str
    kind: str
    keys: tuple[str, ...]
    grids: tuple = ()
    shapes: tuple = ()
    rows: int = 0
    parameters: int = 0


def build(name):
    with torch.device("meta"):
        return timm.create_model(name)


def owned(path, module, *names):
    """The tensors of a module by their full names; all of them, where none is named."""
    chosen = names or tuple(name for name, _ in module.named_parameters())
    prefix = f"{path}." if path else ""
    return tuple(f"{prefix}{n}" for n in chosen if _get(module, n) is not None)


def _get(module, name):
    for part in name.split("."):
        module = getattr(module, part, None)
    return module


def table(path, module, name, grid, rows=0, partner=None):
    """A table of vectors on a grid, with rows for prefix tokens; or one of y and one of x."""
    names = [name, partner] if partner else [name]
    size, tokens = sum(_get(module, n).numel() for n in names), rows + math.prod(grid)
    width = _get(module, name).shape[-1] if partner else size / tokens
    key, shape = owned(path, module, *names), (tokens, width)
    return [Scheme("learned_absolute", "vectors", key, (tuple(grid),), (shape,), rows, size)]


def whole_grid(path, module, covers_prefix):
    if module.pos_embed is None:
        return []
    rows = module.num_prefix_tokens if covers_prefix else 0
    return table(path, module, "pos_embed", module.patch_embed.grid_size, rows)


def vision_transformer(path, module):
    return whole_grid(path, module, not module.no_embed_class)


def patches_only(path, module):
    return whole_grid(path, module, covers_prefix=False)


def beit(path, module):
    return whole_grid(path, module, covers_prefix=True)


def hiera(path, module):
    if module.pos_embed_win is None:
        return table(path, module, "pos_embed", module.tokens_spatial_shape)
    return [
        *table(path, module, "pos_embed", module.pos_embed.shape[2:]),
        *table(path, module, "pos_embed_win", module.mask_unit_size),
    ]


def hieradet(path, module):
    window = module.window_spec[0]
    return [
        *table(path, module, "pos_embed", module.global_pos_size),
        *table(path, module, "pos_embed_window", (window, window)),
    ]


def volo(path, module):
    return table(path, module, "pos_embed", module.pos_embed.shape[1:3])


def pit(path, module):
    grid = (module.patch_embed.height, module.patch_embed.width)
    return table(path, module, "pos_embed", grid)


def crossvit(path, module):
    return [
        scheme
        for i, patches in enumerate(module.patch_embed)
        for scheme in table(
            path,
            module,
            f"pos_embed_{i}",
            [s // p for s, p in zip(patches.img_size, patches.patch_size)],
            1,
        )
    ]


def tnt(path, module):
    pixels = module.pixel_embed
    return [
        *table(path, module, "patch_pos", pixels.grid_size, module.num_prefix_tokens),
        *table(path, module, "pixel_pos", pixels.new_patch_size),
    ]


def visformer(path, module):
    names = ("pos_embed1", "pos_embed2", "pos_embed3")
    return [
        scheme
        for name in names
        if (value := getattr(module, name)) is not None
        for scheme in table(path, module, name, value.shape[2:])
    ]


def nest_level(path, module):
    blocks = math.isqrt(module.pos_embed.shape[1])
    side = blocks * module.block_size
    return table(path, module, "pos_embed", (side, side))


def naflex(path, module):
    grid = module.pos_embed_grid_size
    if module.pos_embed_type == "factorized":
        return table(path, module, "pos_embed_y", grid, partner="pos_embed_x")
    return table(path, module, "pos_embed", grid) if module.pos_embed is not None else []


def qwen3(path, module):
    side = module.pos_embed_grid_size
    return table(path, module, "pos_embed", (side, side))


def gemma4(path, module):
    positions, key = module.position_embedding_size, owned(path, module, "position_embedding_table")
    shape = ((positions, module.embed_dim),)
    size = positions * module.embed_dim
    return [
        Scheme("learned_absolute", "vectors", key, (grid,), shape, 0, size)
        for grid in ((positions, 1), (1, positions))
    ]


def attention_pool(path, module):
    return table(path, module, "pos_embed", module.feat_size, 1)


def bias(
    path, module, grid, heads, rows=0, name="relative_position_bias_table", family="relative_bias"
):
    tokens = grid[0] * grid[1] + rows
    key = owned(path, module, name)
    size = _get(module, name).numel()
    shape = ((heads, tokens, tokens),)
    return [Scheme(family, "bias", key, (tuple(grid),), shape, rows, size)]


def swin(path, module):
    return bias(path, module, module.window_size, module.num_heads)


def rel_pos_bias(path, module):
    heads, rows = module.relative_position_bias_table.shape[-1], module.prefix_tokens
    return bias(path, module, module.window_size, heads, rows)


def rel_pos_bias_tf(path, module):
    return bias(path, module, module.window_size, module.num_heads)


def beit_attention(path, module):
    if module.relative_position_bias_table is None:
        return []
    return bias(path, module, module.window_size, module.num_heads, 1)


def distances(path, module):
    sides = getattr(module, "resolution", None)
    if sides is None:  # EfficientFormer's keeps the index, which has a row a patch
        sides = math.isqrt(module.attention_bias_idxs.shape[0])
    grid = sides if isinstance(sides, tuple) else (sides, sides)
    heads = module.attention_biases.shape[0]
    return bias(path, module, grid, heads, 0, "attention_biases", "distance_bias")


def network(path, module, name):
    """A bias that a network computes: in the window that the object has."""
    rows, window = getattr(module, "prefix_tokens", 0), tuple(module.window_size)
    tokens = window[0] * window[1] + rows
    keys = owned(f"{path}.{name}", _get(module, name))
    size = sum(parameter.numel() for parameter in _get(module, name).parameters())
    heads = (
        _get(module, name).fc2.out_features
        if hasattr(_get(module, name), "fc2")
        else module.num_heads
    )
    shape = ((heads, tokens, tokens),)
    return [Scheme("bias_network", "function", keys, (window,), shape, rows, size)]


def rel_pos_mlp(path, module):
    return network(path, module, "mlp")


def swin_v2(path, module):
    return network(path, module, "cpb_mlp")


def swin_v2_cr(path, module):
    return network(path, module, "meta_mlp")


def stored(family, kind, *names):
    """A scheme whose tensors are some of a module's, and whose grid no attribute tells."""

    def say(path, module):
        keys = owned(path, module, *names)
        size = sum(_get(module, key.removeprefix(f"{path}.")).numel() for key in keys)
        return [Scheme(family, kind, keys, parameters=size)] if keys else []

    return say


BY_AXIS = stored("decomposed_relative", "relative", "rel_pos_h", "rel_pos_w")

# Module → what it says; a type that is not here carries no position.
SAYS = {
    "vision_transformer.VisionTransformer": vision_transformer,
    "deit.VisionTransformerDistilled": vision_transformer,
    "eva.Eva": vision_transformer,
    "beit.Beit": beit,
    "beit.Attention": beit_attention,
    "cait.Cait": patches_only,
    "convit.ConVit": patches_only,
    "vision_transformer_sam.VisionTransformerSAM": patches_only,
    "hiera.Hiera": hiera,
    "hieradet_sam2.HieraDet": hieradet,
    "volo.VOLO": volo,
    "pit.PoolingVisionTransformer": pit,
    "crossvit.CrossVit": crossvit,
    "tnt.TNT": tnt,
    "visformer.Visformer": visformer,
    "nest.NestLevel": nest_level,
    "naflexvit.NaFlexEmbeds": naflex,
    "qwen3_vit.Qwen3VitEncoder": qwen3,
    "gemma4_vit.Gemma4PatchEmbed": gemma4,
    "attention_pool2d.AttentionPool2d": attention_pool,
    "swin_transformer.WindowAttention": swin,
    "pos_embed_rel.RelPosBias": rel_pos_bias,
    "pos_embed_rel.RelPosBiasTf": rel_pos_bias_tf,
    "levit.Attention": distances,
    "levit.AttentionDownsample": distances,
    "tiny_vit.Attention": distances,
    "efficientformer.Attention": distances,
    "efficientformer_v2.Attention2d": distances,
    "efficientformer_v2.Attention2dDownsample": distances,
    "efficientvit_msra.CascadedGroupAttention": distances,
    "pos_embed_rel.RelPosMlp": rel_pos_mlp,
    "swin_transformer_v2.WindowAttention": swin_v2,
    "swin_transformer_v2_cr.WindowMultiHeadAttention": swin_v2_cr,
    "vision_transformer_sam.Attention": BY_AXIS,
    "mvitv2.MultiScaleAttention": BY_AXIS,
    "mvitv2.MultiScaleAttentionPoolFirst": BY_AXIS,
    "bottleneck_attn.PosEmbedRel": stored(
        "decomposed_relative", "relative", "height_rel", "width_rel"
    ),
    "halo_attn.PosEmbedRel": stored("decomposed_relative", "relative", "height_rel", "width_rel"),
    "lambda_layer.LambdaLayer": stored(
        "lambda_relative", "relative", "pos_emb", "conv_lambda.weight", "conv_lambda.bias"
    ),
    "coat.ConvRelPosEnc": stored("conv_relative", "relative"),
    "coat.ConvPosEnc": stored("conditional", "function"),
    "davit.ConvPosEnc": stored("conditional", "function"),
    "twins.PosConv": stored("conditional", "function"),
    "csatv2.PosConv": stored("conditional", "function"),
    "fastvit.RepConditionalPosEnc": stored("conditional", "function"),
    "iformer.RepCPE": stored("conditional", "function"),
    "xcit.PositionalEncodingFourier": stored("fourier", "function"),
    "edgenext.PositionalEncodingFourier": stored("fourier", "function"),
    "convit.GPSA": stored(
        "gated_positional", "function", "pos_proj.weight", "pos_proj.bias", "gating_param"
    ),
}


def rotary(path, module):
    """Rotations; most are computed, and then no tensor holds them."""
    size = sum(parameter.numel() for parameter in module.parameters())
    return [Scheme("rotary", "phases", owned(path, module), parameters=size)]


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
    return together(found, depth=len(getattr(model, "blocks", ())))


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
