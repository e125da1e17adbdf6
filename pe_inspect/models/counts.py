"""How many learned scalars a model has, in closed form: recipes are listed without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pe_inspect.kinds.joins import JOINS

if TYPE_CHECKING:
    from pe_inspect.models.config import ViTConfig

__all__ = ["CPB_HIDDEN", "FOURIER_FEATURES", "of_content", "of_positions"]

CPB_HIDDEN: Final = 512  # of the network behind `rel_bias_mlp`, as in Swin v2
FOURIER_FEATURES: Final = 32  # sines and cosines of each axis, as in XCiT


def of_content(config: ViTConfig) -> int:
    """Return the scalars that the model has with `scheme="none"`."""
    width, hidden = config.embed_dim, int(config.embed_dim * config.mlp_ratio)
    pixels = config.in_chans * config.patch_size[0] * config.patch_size[1]
    patches = (pixels + 1) * width if config.patch_projection else 0
    attention = (width + 1) * 3 * width + (width + 1) * width
    mlp = (width + 1) * hidden + (hidden + 1) * width
    norms_and_scales = (4 + 2 * bool(config.init_values)) * width
    heads = (1 + config.distilled) * (width + 1) * config.num_classes
    blocks = config.depth * (attention + mlp + norms_and_scales)
    return patches + config.num_prefix_tokens * width + blocks + 2 * width + heads


def of_positions(config: ViTConfig) -> int:
    """Return the scalars of the scheme and of the norms that its join brings."""
    return _of_scheme(config) + _of_join(config)


def _of_scheme(config: ViTConfig) -> int:
    (rows, columns), depth, heads = config.grid_size, config.depth, config.num_heads
    tables = depth if JOINS[config.join].has_table_per_block else 1
    buckets = 2 * config.max_relative_distance + 2
    width = config.embed_dim
    return {
        "learned": tables * (config.num_prefix_rows + config.num_patches) * width,
        "fourier": (2 * FOURIER_FEATURES + 1) * width,
        "relative": depth * 4 * buckets * (config.head_dim // 2),
        "rel_bias_1d": depth * heads * (2 * config.num_patches - 1),
        "rel_bias_2d": depth * heads * (2 * rows - 1) * (2 * columns - 1),
        "rel_bias_mlp": depth * (3 * CPB_HIDDEN + CPB_HIDDEN * heads),
        "rope_mixed": depth * width,  # two axes, half a head's channels each
        "peg": (config.peg_kernel**2 + 1) * width,
    }.get(config.scheme, 0)


def _of_join(config: ViTConfig) -> int:
    """Return γ and β of the position norms; that over a bias is as wide as there are keys."""
    join = JOINS[config.join]
    if not join.is_recurrent:
        return 0
    norms = config.depth - join.first_normed_block + join.before_last_norm
    width = config.embed_dim if config.has_table else config.num_patches
    return 2 * width * norms
