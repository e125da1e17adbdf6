"""What a native Vision Transformer is made of, known before torch is imported."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from types import MappingProxyType
from typing import Any, Final

from pe_inspect.errors import UsageError
from pe_inspect.kinds.joins import JOINS as _JOINS
from pe_inspect.registry import did_you_mean

__all__ = ["CPB_HIDDEN", "FOURIER_FEATURES", "JOINS", "SCHEMES", "ViTConfig"]

CPB_HIDDEN: Final = 512  # of the network behind `rel_bias_mlp`, as in Swin v2
FOURIER_FEATURES: Final = 32  # sines and cosines of each axis, as in XCiT

_LEARNED: Final = tuple(j.word for j in _JOINS.values() if j.at_input or j.in_blocks)
_FIXED: Final = tuple(join for join in _LEARNED if not _JOINS[join].has_table_per_block)

# Each scheme, and the joins that it can have; the first is its ordinary one.
SCHEMES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "none": ("none",),
        "learned": _LEARNED,
        "sincos1d": _FIXED,
        "sincos2d": _FIXED,
        "fourier": ("input",),
        "relative": ("layer",),
        "rel_bias_1d": ("layer", "lape"),
        "rel_bias_2d": ("layer", "lape"),
        "rel_bias_mlp": ("layer",),
        "rope_axial": ("layer",),
        "rope_mixed": ("layer",),
        "peg": ("layer",),
    }
)
JOINS: Final = tuple(_JOINS)
POOLS: Final = ("token", "avg")

_TABLES: Final = ("learned", "sincos1d", "sincos2d")
_ROTARY: Final = {"rope_axial": 10_000.0, "rope_mixed": 10.0}
_RATES: Final = ("pos_drop_rate", "proj_drop_rate", "attn_drop_rate", "drop_path_rate")


@dataclass(frozen=True)
class ViTConfig:
    """The shape of a `VisionTransformer`, in timm's words; it travels in `config.json`.

    Attributes:
        img_size: (H, W) pixels.
        patch_size: (H, W) pixels; divides `img_size`.
        in_chans: colour channels.
        num_classes: rows of the classification head.
        embed_dim: width of a token; a multiple of `num_heads`.
        depth: transformer blocks.
        num_heads: attention heads a block.
        mlp_ratio: hidden width of a block's MLP over `embed_dim`.
        scheme: where positions come from: a name in `SCHEMES`.
        join: how they enter: `"input"`, added once to the tokens; `"share"`, the same table before
            every block; `"unshare"`, a table of its own before each; `"lape"`, normalised anew
            beside every block's norm1 and never added to the residual stream; `"pvg"`, at the
            input and as LaPE from block 1 on; `"mpvg"`, beside the last norm too; `"layer"`,
            inside the blocks. The scheme's ordinary one unless given.
        ln_eps: ε of every LayerNorm.
        class_token: whether a CLS token leads the patches.
        distilled: whether DeiT's DIST token follows it, with a head of its own.
        reg_tokens: registers between those and the patches.
        no_embed_class: whether the table leaves the prefix tokens out.
        global_pool: what the head reads: `"token"` (CLS), or `"avg"`, the mean of the patches.
        patch_projection: whether patches are projected; without, `embed_dim` is the size of one.
        init_values: where LayerScale starts; 0 for none.
        max_relative_distance: of `relative`, in patches; offsets beyond it are clipped.
        rope_theta: base of the rotary frequencies; 0 for the scheme's own (10000 axial, 10 mixed).
        schh_compat: turn by s-chh's angles instead of RoFormer's: their exponents count from 1,
            so that the fastest frequency is √10 lower at 16 channels an axis, and positions too.
        peg_position: after which block `peg` convolves; −1 is ahead of the first.
        peg_kernel: its side, odd.
        pos_drop_rate: dropout of the tokens that enter the first block, in training.
        proj_drop_rate: dropout of what attention and MLP give.
        attn_drop_rate: dropout of attention weights.
        drop_path_rate: how often the last block's branches are skipped; from 0 on, linearly.
    """

    img_size: tuple[int, int] = (224, 224)
    patch_size: tuple[int, int] = (16, 16)
    in_chans: int = 3
    num_classes: int = 1000
    embed_dim: int = 192
    depth: int = 12
    num_heads: int = 3
    mlp_ratio: float = 4.0
    scheme: str = "learned"
    join: str = ""
    ln_eps: float = 1e-6
    class_token: bool = True
    distilled: bool = False
    reg_tokens: int = 0
    no_embed_class: bool = False
    global_pool: str = "token"
    patch_projection: bool = True
    init_values: float = 0.0
    max_relative_distance: int = 2
    rope_theta: float = 0.0
    schh_compat: bool = False
    peg_position: int = 0
    peg_kernel: int = 3
    pos_drop_rate: float = 0.0
    proj_drop_rate: float = 0.0
    attn_drop_rate: float = 0.0
    drop_path_rate: float = 0.0

    def __post_init__(self) -> None:
        _check_name("scheme", self.scheme, tuple(SCHEMES))
        if not self.join:
            object.__setattr__(self, "join", SCHEMES[self.scheme][0])
        _check_join(self.scheme, self.join, self.depth)
        for name in ("in_chans", "num_classes", "embed_dim", "depth", "num_heads"):
            _check_positive(name, getattr(self, name))
        _check_patches(self.img_size, self.patch_size)
        _check_heads(self.embed_dim, self.num_heads)
        _check_widths(self)
        _check_tokens(self)
        _check_ranges(self)

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> ViTConfig:
        """Rebuild from the `"model"` object of a `config.json`; other keys are ignored."""
        known = {f.name for f in fields(cls)}
        plain: dict[str, Any] = {key: value for key, value in saved.items() if key in known}
        for key in {"img_size", "patch_size"} & set(plain):
            plain[key] = tuple(plain[key])
        return cls(**plain)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON: the shape, and whatever else is not as usual."""
        usual = {f.name: f.default for f in fields(self) if f.name not in _ALWAYS_WRITTEN}
        plain = {k: v for k, v in asdict(self).items() if v != usual.get(k, MISSING)}
        return {**plain, "img_size": list(self.img_size), "patch_size": list(self.patch_size)}

    @property
    def grid_size(self) -> tuple[int, int]:
        """(H, W) patches."""
        return (self.img_size[0] // self.patch_size[0], self.img_size[1] // self.patch_size[1])

    @property
    def num_patches(self) -> int:
        """H·W."""
        return self.grid_size[0] * self.grid_size[1]

    @property
    def num_prefix_tokens(self) -> int:
        """Tokens ahead of the patches: CLS, DIST, registers."""
        return self.class_token + self.distilled + self.reg_tokens

    @property
    def num_prefix_rows(self) -> int:
        """How many of them a table has rows for: all or none."""
        return 0 if self.no_embed_class else self.num_prefix_tokens

    @property
    def num_tokens(self) -> int:
        """Prefix tokens and patches together."""
        return self.num_prefix_tokens + self.num_patches

    @property
    def head_dim(self) -> int:
        """Channels of an attention head."""
        return self.embed_dim // self.num_heads

    @property
    def has_table(self) -> bool:
        """Whether positions are a table of vectors, one a token."""
        return self.scheme in _TABLES

    @property
    def rope_base(self) -> float:
        """The base of the rotary frequencies: as said, else the scheme's own."""
        return self.rope_theta or _ROTARY.get(self.scheme, 0.0)

    @property
    def num_position_parameters(self) -> int:
        """Learned scalars that exist for positions only: tables, kernels, position norms."""
        return _scalars_of_scheme(self) + _scalars_of_join(self)

    @property
    def num_parameters(self) -> int:
        """All learned scalars of the model."""
        return _scalars_of_content(self) + self.num_position_parameters


_ALWAYS_WRITTEN: Final = tuple(f.name for f in fields(ViTConfig))[:11]  # as far as ln_eps


def _check_name(what: str, given: str, known: tuple[str, ...]) -> None:
    if given not in known:
        raise UsageError(did_you_mean(what, given, list(known)))


def _check_join(scheme: str, join: str, depth: int) -> None:
    fitting = SCHEMES[scheme]
    if join not in JOINS:
        raise UsageError(did_you_mean("join", join, list(fitting)))
    if join not in fitting:
        has_many = _JOINS[join].has_table_per_block
        why = " (it has one table for all)" if has_many and scheme in _TABLES else ""
        raise UsageError(
            f"scheme {scheme!r} cannot have join {join!r}{why}; it can have {' or '.join(fitting)}."
        )
    if _JOINS[join].is_recurrent and _JOINS[join].at_input and depth < 2:
        raise UsageError(
            f"join {join!r} begins in the second block and depth is {depth}; choose depth=2 or "
            "more, or join=input."
        )


def _check_positive(name: str, given: int) -> None:
    if given < 1:
        raise UsageError(f"{name} is {given}; it must be at least 1.")


def _check_patches(img_size: tuple[int, int], patch_size: tuple[int, int]) -> None:
    image, patch = ("×".join(map(str, size)) for size in (img_size, patch_size))
    if min(img_size) < 1 or min(patch_size) < 1:
        raise UsageError(f"img_size {image} and patch_size {patch} must be at least 1×1.")
    if img_size[0] % patch_size[0] or img_size[1] % patch_size[1]:
        raise UsageError(
            f"img_size {image} is not a whole number of {patch} patches; "
            "choose a patch_size that divides it."
        )


def _check_heads(embed_dim: int, num_heads: int) -> None:
    if embed_dim % num_heads:
        raise UsageError(
            f"embed_dim {embed_dim} cannot be split over num_heads {num_heads}; "
            f"choose a multiple, e.g. embed_dim={num_heads * max(1, round(embed_dim / num_heads))}."
        )


def _check_widths(config: ViTConfig) -> None:
    """Stop where the channels do not divide as the scheme divides them."""
    divisor = {"sincos1d": 2, "sincos2d": 4}.get(config.scheme, 1)
    if config.embed_dim % divisor:
        raise UsageError(
            f"scheme {config.scheme!r} pairs its channels; embed_dim {config.embed_dim} must be a "
            f"multiple of {divisor}."
        )
    divisor = {"relative": 2, "rope_axial": 4, "rope_mixed": 4}.get(config.scheme, 1)
    if config.head_dim % divisor:
        raise UsageError(
            f"scheme {config.scheme!r} divides a head's channels over two axes; embed_dim "
            f"{config.embed_dim} over num_heads {config.num_heads} is {config.head_dim}, which "
            f"must be a multiple of {divisor}."
        )
    size = config.in_chans * config.patch_size[0] * config.patch_size[1]
    if not config.patch_projection and config.embed_dim != size:
        raise UsageError(
            f"patch_projection is false and embed_dim is {config.embed_dim}; a raw patch of "
            f"{config.patch_size[0]}×{config.patch_size[1]}×{config.in_chans} has embed_dim={size}."
        )


def _check_tokens(config: ViTConfig) -> None:
    _check_name("global_pool", config.global_pool, POOLS)
    if config.distilled and (not config.class_token or config.global_pool != "token"):
        raise UsageError("distilled needs class_token=true and global_pool=token: it is two heads.")
    if config.global_pool == "token" and not config.class_token:
        raise UsageError(
            "class_token is false, and global_pool=token reads it; choose global_pool=avg."
        )
    if config.reg_tokens > config.num_patches:
        raise UsageError(
            f"reg_tokens is {config.reg_tokens}, more than the {config.num_patches} patches; "
            f"choose at most {config.num_patches}."
        )


def _check_ranges(config: ViTConfig) -> None:
    for name in _RATES:
        if not 0 <= getattr(config, name) < 1:
            raise UsageError(f"{name} is {getattr(config, name)}; it must be from 0 to below 1.")
    for name in ("reg_tokens", "init_values", "rope_theta"):
        if not 0 <= getattr(config, name) < math.inf:
            raise UsageError(f"{name} is {getattr(config, name)}; it must be 0 or more.")
    _check_positive("max_relative_distance", config.max_relative_distance)
    if config.schh_compat and config.scheme != "rope_axial":
        raise UsageError(
            f"schh_compat changes the angles of scheme 'rope_axial', and scheme is "
            f"{config.scheme!r}; leave it out."
        )
    if config.peg_kernel < 1 or not config.peg_kernel % 2:
        raise UsageError(f"peg_kernel is {config.peg_kernel}; it must be odd, e.g. 3.")
    if not -1 <= config.peg_position < config.depth:
        raise UsageError(
            f"peg_position is {config.peg_position}; it must be from -1, ahead of the first block, "
            f"to {config.depth - 1}."
        )


def _scalars_of_content(config: ViTConfig) -> int:
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


def _scalars_of_scheme(config: ViTConfig) -> int:
    """Return the scalars of tables, kernels and networks, in closed form."""
    (rows, columns), depth, heads = config.grid_size, config.depth, config.num_heads
    tables = depth if _JOINS[config.join].has_table_per_block else 1
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


def _scalars_of_join(config: ViTConfig) -> int:
    """Return γ and β of the position norms; that over a bias is as wide as there are keys."""
    join = _JOINS[config.join]
    if not join.is_recurrent:
        return 0
    norms = config.depth - join.first_normed_block + join.before_last_norm
    width = config.embed_dim if config.has_table else config.num_patches
    return 2 * width * norms
