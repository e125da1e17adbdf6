"""What a native Vision Transformer is made of, known before torch is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from pe_inspect.errors import UsageError
from pe_inspect.registry import did_you_mean

__all__ = ["JOINS", "SCHEMES", "ViTConfig"]

SCHEMES: Final = ("learned",)
JOINS: Final = ("input", "lape")


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
        scheme: where positions come from: `"learned"`, one table row a token, CLS included.
        join: how they enter: `"input"`, added once to the tokens; `"lape"`, normalised anew
            before every block's attention and never added to the residual stream.
        ln_eps: ε of every LayerNorm.
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
    join: str = "input"
    ln_eps: float = 1e-6

    def __post_init__(self) -> None:
        _check_name("scheme", self.scheme, SCHEMES)
        _check_name("join", self.join, JOINS)
        for name in ("in_chans", "num_classes", "embed_dim", "depth", "num_heads"):
            _check_positive(name, getattr(self, name))
        _check_patches(self.img_size, self.patch_size)
        _check_heads(self.embed_dim, self.num_heads)

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> ViTConfig:
        """Rebuild from the `"model"` object of a `config.json`; other keys are ignored."""
        known = {f.name for f in fields(cls)}
        plain: dict[str, Any] = {key: value for key, value in saved.items() if key in known}
        for key in {"img_size", "patch_size"} & set(plain):
            plain[key] = tuple(plain[key])
        return cls(**plain)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        plain = asdict(self)
        return {**plain, "img_size": list(self.img_size), "patch_size": list(self.patch_size)}

    @property
    def grid_size(self) -> tuple[int, int]:
        """(H, W) patches."""
        return (self.img_size[0] // self.patch_size[0], self.img_size[1] // self.patch_size[1])

    @property
    def num_prefix_tokens(self) -> int:
        """Tokens ahead of the patches: CLS."""
        return 1

    @property
    def num_tokens(self) -> int:
        """Prefix tokens and patches together."""
        return self.num_prefix_tokens + self.grid_size[0] * self.grid_size[1]

    @property
    def num_position_parameters(self) -> int:
        """Learned scalars that exist for positions only: the table, and LaPE's γ and β."""
        norms = 2 * self.embed_dim * self.depth if self.join == "lape" else 0
        return self.num_tokens * self.embed_dim + norms

    @property
    def num_parameters(self) -> int:
        """All learned scalars of the model."""
        width, hidden = self.embed_dim, int(self.embed_dim * self.mlp_ratio)
        patches = (self.in_chans * self.patch_size[0] * self.patch_size[1] + 1) * width
        attention = (width + 1) * 3 * width + (width + 1) * width
        mlp = (width + 1) * hidden + (hidden + 1) * width
        block = attention + mlp + 2 * 2 * width
        head = 2 * width + (width + 1) * self.num_classes
        cls_token = width
        return patches + cls_token + self.num_position_parameters + self.depth * block + head


def _check_name(what: str, given: str, known: tuple[str, ...]) -> None:
    if given not in known:
        raise UsageError(did_you_mean(what, given, list(known)))


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
