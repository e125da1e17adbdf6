"""The large model whose files the benchmarks make: names and shapes of a plain ViT."""

from __future__ import annotations

FLOAT32 = 4


def vit_shapes(gigabytes: float) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a plain ViT of width 1024 with as many blocks as make the size."""
    width = 1024
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 197, width),
        "patch_embed.proj.weight": (width, 3, 16, 16),
        "norm.weight": (width,),
        "norm.bias": (width,),
    }
    block = {
        "norm1.weight": (width,),
        "norm1.bias": (width,),
        "attn.qkv.weight": (3 * width, width),
        "attn.proj.weight": (width, width),
        "norm2.weight": (width,),
        "norm2.bias": (width,),
        "mlp.fc1.weight": (4 * width, width),
        "mlp.fc2.weight": (width, 4 * width),
    }
    depth = round(gigabytes * 1e9 / (FLOAT32 * 12 * width**2))
    return shapes | {f"blocks.{i}.{k}": s for i in range(depth) for k, s in block.items()}
