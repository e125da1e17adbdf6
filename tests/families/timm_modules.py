"""What each type of timm's modules says of the position that it holds, by its attributes.

Every type that holds position has a function here, which asks the module's attributes
(`grid_size`, `window_size`, `num_prefix_tokens`, …) and never the names of a state dict.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace


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


def along_axes(path, module, names, grid, rows=None):
    """A pair of tables of offsets, one an axis; of the rows, the last ones may be all in use."""
    values = [_get(module, name) for name in names]
    if None in values:
        return []
    shapes = tuple((rows or len(value), value.shape[1]) for value in values)
    size = sum(value.numel() for value in values)
    keys = owned(path, module, *names)
    return [Scheme("decomposed_relative", "relative", keys, (grid,) * 2, shapes, 0, size)]


def by_axis(path, module):
    names = ("rel_pos_h", "rel_pos_w")
    tables = [_get(module, name) for name in names]
    grid = tuple((len(values) + 1) // 2 for values in tables if values is not None)
    return along_axes(path, module, names, grid)


def bottleneck(path, module):
    grid = (module.height, module.width)
    return along_axes(path, module, ("height_rel", "width_rel"), grid)


def halo(path, module):
    """Keys come from a window around a block; some of the table's offsets never occur."""
    block = module.pos_embed.block_size  # fewer queries than patches where the block is strided
    rows = module.win_size - 1 + block
    names = ("pos_embed.height_rel", "pos_embed.width_rel")
    return along_axes(path, module, names, (block, block), rows)


def lambdas(path, module):
    """A table of all offsets on the grid that it is built for; a convolution runs on any."""
    if module.pos_emb is None:
        names = ("conv_lambda.weight", "conv_lambda.bias")
        return stored("lambda_relative", "relative", *names)(path, module)
    (height, width), (*_, channels) = module.feat_size, module.pos_emb.shape
    shape = ((2 * height - 1) * (2 * width - 1), channels)
    keys, size = owned(path, module, "pos_emb"), module.pos_emb.numel()
    grid = (height, width)
    return [Scheme("lambda_relative", "relative", keys, (grid,), (shape,), 0, size)]


def kernels(path, module):
    """CoaT's: one table of offsets for each size of kernel, (k·k, channels)."""
    (scheme,) = stored("conv_relative", "relative")(path, module)
    shapes = [(math.prod(conv.kernel_size), conv.out_channels) for conv in module.conv_list]
    return [replace(scheme, shapes=tuple(shapes))]


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
    "vision_transformer_sam.Attention": by_axis,
    "mvitv2.MultiScaleAttention": by_axis,
    "mvitv2.MultiScaleAttentionPoolFirst": by_axis,
    "bottleneck_attn.PosEmbedRel": bottleneck,
    "halo_attn.HaloAttn": halo,
    "lambda_layer.LambdaLayer": lambdas,
    "coat.ConvRelPosEnc": kernels,
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
