"""The native Vision Transformer: timm's layers under timm's key names, every scheme and join.

With a learned table and `join="input"` a state dict goes into timm's `VisionTransformer` and back
as it is. What a scheme does is in `models/schemes/`; how tables join is here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import cast

import torch
from timm.layers.drop import DropPath
from timm.layers.layer_scale import LayerScale
from timm.layers.mlp import Mlp
from timm.layers.patch_embed import PatchEmbed
from timm.layers.weight_init import trunc_normal_
from torch import nn
from torch.nn import functional

from pe_inspect.arrays import Float
from pe_inspect.errors import UsageError
from pe_inspect.kinds.joins import JOINS
from pe_inspect.models.attention import Grid
from pe_inspect.models.config import ViTConfig
from pe_inspect.models.scheme import Scheme
from pe_inspect.models.schemes import schemes

__all__ = ["Block", "RawPatches", "VisionTransformer"]


class Block(nn.Module):
    """A pre-norm transformer block.

    Args:
        config: width, heads, MLP ratio, ε.
        attention: what attends; the scheme's own.
        has_pe_norm: whether a table passes a norm of the block's own, as under LaPE.
        drop_path: how often a branch is skipped in training.
    """

    def __init__(
        self, config: ViTConfig, attention: nn.Module, has_pe_norm: bool, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        width, drop = config.embed_dim, config.proj_drop_rate
        norm = partial(nn.LayerNorm, width, eps=config.ln_eps)
        scale = partial(LayerScale, width, init_values=config.init_values)
        self.norm1 = norm()
        self.pe_norm = norm() if has_pe_norm else None
        self.attn = attention
        self.ls1 = scale() if config.init_values else nn.Identity()
        self.norm2 = norm()
        self.mlp = Mlp(width, hidden_features=int(width * config.mlp_ratio), drop=(0.0, drop))
        self.ls2 = scale() if config.init_values else nn.Identity()
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(
        self,
        x: Float[torch.Tensor, "batch tokens dim"],
        omega: torch.Tensor | None = None,
        grid_size: Grid | None = None,
        rotation: torch.Tensor | None = None,
    ) -> Float[torch.Tensor, "batch tokens dim"]:
        """Attend, then apply the MLP, each beside the residual stream.

        Args:
            x: the tokens.
            omega: positions (1, tokens, dim) beside the normalised tokens, if any.
            grid_size: (H, W) of the patches, for attentions that ask.
            rotation: of q and k, for attentions that turn them.
        """
        normed = self.norm1(x)
        attended = self.attn(normed if omega is None else normed + omega, grid_size, rotation)
        x = x + self.drop_path(self.ls1(attended))
        out: torch.Tensor = x + self.drop_path(self.ls2(self.mlp(self.norm2(x))))
        return out


class RawPatches(nn.Module):
    """Patches as they are, flattened, channels first: nothing is projected.

    Args:
        patch_size: (H, W) pixels.
    """

    def __init__(self, patch_size: Grid) -> None:
        super().__init__()
        self.patch_size = patch_size

    def forward(
        self, images: Float[torch.Tensor, "batch channels height width"]
    ) -> Float[torch.Tensor, "batch patches pixels"]:
        """Cut the images up, row-major."""
        return functional.unfold(images, self.patch_size, stride=self.patch_size).transpose(1, 2)


class VisionTransformer(nn.Module):
    """A ViT whose positions come from one scheme and enter by one join.

    Images may be of any size that is a whole number of patches: each scheme follows its own rule.

    Args:
        config: the model's shape.

    Source: arXiv:2010.11929, Eq. 1–4; LaPE: ICCV 2023, Eq. 9–11; PVG and MPVG: arXiv:2502.02919.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.config = config
        self.scheme: Scheme = schemes[config.scheme](config)
        self.patch_embed = _patches(config)
        for name in _tokens(config):
            self.register_parameter(name, nn.Parameter(torch.zeros(1, 1, config.embed_dim)))
        if config.reg_tokens:
            registers = torch.zeros(1, config.reg_tokens, config.embed_dim)
            self.reg_token = nn.Parameter(registers)
        self._table_names = self._keep_tables()
        self.pos_drop = nn.Dropout(config.pos_drop_rate)
        self.rope = self.scheme.rotations()
        convolution = self.scheme.convolution()
        self.pos_block = nn.ModuleList([convolution]) if convolution is not None else None
        self.blocks = nn.ModuleList(self._block(i) for i in range(config.depth))
        norm = partial(nn.LayerNorm, config.embed_dim, eps=config.ln_eps)
        self.norm = norm()
        self.pe_norm = norm() if JOINS[config.join].before_last_norm else None
        self.head = nn.Linear(config.embed_dim, config.num_classes)
        if config.distilled:
            self.head_dist = nn.Linear(config.embed_dim, config.num_classes)
        self._initialise()

    def forward(
        self, images: Float[torch.Tensor, "batch channels height width"]
    ) -> Float[torch.Tensor, "batch classes"]:
        """Return the logits of normalised images; a distilled model's are the mean of two heads.

        Raises:
            UsageError: the images are no whole number of patches.
        """
        logits = self.head_logits(images)
        return logits[0] if len(logits) == 1 else (logits[0] + logits[1]) / 2

    def head_logits(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the logits of every head: CLS's (or the mean's), and DIST's where there is one."""
        features = self.forward_features(images)
        if self.config.global_pool == "avg":
            return (self.head(features[:, self.config.num_prefix_tokens :].mean(dim=1)),)
        own: torch.Tensor = self.head(features[:, 0])
        return (own, self.head_dist(features[:, 1])) if self.config.distilled else (own,)

    def forward_features(
        self, images: Float[torch.Tensor, "batch channels height width"]
    ) -> Float[torch.Tensor, "batch tokens dim"]:
        """Return every token after the last norm, prefix tokens first."""
        grid = self._grid_of(images)
        tables = self.tables(grid)
        x = self._enter(images, tables)
        rotation = self.rope(grid) if self.rope is not None else None
        x = self._convolve(-1, x, grid)
        for i, (block, omega) in enumerate(zip(self.each_block(), self._beside(tables))):
            own = rotation[i] if rotation is not None and rotation.ndim == 4 else rotation
            x = block(self._with_table(i, x, tables), omega, grid, own)
            x = self._convolve(i, x, grid)
        features: torch.Tensor = self.norm(x)
        if self.pe_norm is not None:
            features = features + self.over_tokens(self.pe_norm(tables[0]))
        return features

    def tables(self, grid_size: Grid) -> list[torch.Tensor]:
        """Return the tables of a grid, (1, rows, dim) each: none, one, or one a block."""
        held = (getattr(self, name) for name in self._table_names)
        return [self.scheme.table_at(table, grid_size) for table in held]

    def joined_positions(self, grid_size: Grid | None = None) -> list[torch.Tensor | None]:
        """Return what each block adds beside norm1: ω_l = LN_{ω|l}(ω_{l−1}), from the table on.

        `None` where the block adds nothing there: under `input`, `share` and `unshare`, in the
        first block of `pvg` and `mpvg`, and without a table.
        """
        return self._beside(self.tables(grid_size or self.config.grid_size))

    def no_weight_decay(self) -> set[str]:
        """Return the names of the parameters that are embeddings, as timm's models do."""
        inner = ("_token", "relative_position_bias_table", "_embedding_table.weight", "rope.freqs")
        names = (name for name, _ in self.named_parameters())
        return {n for n in names if n.endswith(inner) or n in self._table_names}

    def each_block(self) -> Iterator[Block]:
        """Yield the blocks in order, by their own type."""
        return iter(cast("Iterable[Block]", self.blocks))

    def _keep_tables(self) -> tuple[str, ...]:
        """Register the scheme's table: `pos_embed`, or `pos_embed0` … one a block; name them."""
        config, table = self.config, self.scheme.table()
        if table is None:
            return ()
        unshared = JOINS[config.join].has_table_per_block
        names = [f"pos_embed{i}" for i in range(config.depth)] if unshared else ["pos_embed"]
        for name in names:
            if isinstance(table, nn.Module):
                self.add_module(name, table)
            elif self.scheme.is_learned:
                self.register_parameter(name, nn.Parameter(table.clone()))
            else:
                self.register_buffer(name, table)
        return tuple(names)

    def _block(self, index: int) -> Block:
        config, join = self.config, JOINS[self.config.join]
        norms = config.has_table and join.is_recurrent and index >= join.first_normed_block
        drop_path = config.drop_path_rate * index / max(1, config.depth - 1)
        return Block(config, self.scheme.attention(), norms, drop_path)

    def _grid_of(self, images: torch.Tensor) -> Grid:
        (height, width), (down, across) = images.shape[-2:], self.config.patch_size
        if height % down or width % across or not height or not width:
            raise UsageError(
                f"images of {height}×{width} pixels are no whole number of {down}×{across} "
                f"patches; resize them to e.g. {_nearest(height, down)}×{_nearest(width, across)}."
            )
        return height // down, width // across

    def _enter(self, images: torch.Tensor, tables: list[torch.Tensor]) -> torch.Tensor:
        """Return prefix tokens and patches, with the table where it joins at the input."""
        names = (*_tokens(self.config), *(["reg_token"] if self.config.reg_tokens else []))
        prefix = (getattr(self, name).expand(len(images), -1, -1) for name in names)
        x = torch.cat((*prefix, self.patch_embed(images)), dim=1)
        if JOINS[self.config.join].at_input:
            x = x + self.over_tokens(tables[0])
        return cast("torch.Tensor", self.pos_drop(x))

    def _with_table(self, block: int, x: torch.Tensor, tables: list[torch.Tensor]) -> torch.Tensor:
        """Add to the residual stream what enters it ahead of a block."""
        join = JOINS[self.config.join]
        if join.is_recurrent or not join.in_blocks:
            return x
        return x + self.over_tokens(tables[block if join.has_table_per_block else 0])

    def _beside(self, tables: list[torch.Tensor]) -> list[torch.Tensor | None]:
        omega = tables[0] if tables else None
        beside: list[torch.Tensor | None] = []
        for block in self.each_block():
            if omega is None or block.pe_norm is None:
                beside.append(None)
            else:
                omega = cast("torch.Tensor", block.pe_norm(omega))
                beside.append(self.over_tokens(omega))
        return beside

    def over_tokens(self, table: torch.Tensor) -> torch.Tensor:
        """Give the tokens that a table has no rows for rows of zeros."""
        missing = self.config.num_prefix_tokens - self.config.num_prefix_rows
        return functional.pad(table, (0, 0, missing, 0)) if missing else table

    def _convolve(self, block: int, x: torch.Tensor, grid_size: Grid) -> torch.Tensor:
        if self.pos_block is None or block != self.config.peg_position:
            return x
        prefix = self.config.num_prefix_tokens
        return torch.cat((x[:, :prefix], self.pos_block[0](x[:, prefix:], grid_size)), dim=1)

    def _initialise(self) -> None:
        """Start as timm does: linear weights of σ 0.02, truncated; convolutions as torch."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for name, parameter in self.named_parameters():
            if name.startswith("pos_embed") and parameter.ndim == 3:
                trunc_normal_(parameter, std=0.02)
        for name, parameter in self.named_parameters():
            if name.endswith(("_token", "relative_position_bias_table")):
                trunc_normal_(parameter, std=0.02)


def _patches(config: ViTConfig) -> nn.Module:
    if not config.patch_projection:
        return RawPatches(config.patch_size)
    return PatchEmbed(
        config.img_size,
        config.patch_size,  # type: ignore[arg-type]  # timm takes a pair, and says int
        config.in_chans,
        config.embed_dim,
        strict_img_size=False,
    )


def _tokens(config: ViTConfig) -> tuple[str, ...]:
    """Return the names of the single prefix tokens, in timm's order."""
    return ("cls_token",) * config.class_token + ("dist_token",) * config.distilled


def _nearest(side: int, patch: int) -> int:
    return max(1, round(side / patch)) * patch
