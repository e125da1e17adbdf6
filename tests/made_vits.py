"""A small ViT on oblong images of oblong patches, with every parameter away from its start."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from pe_inspect.models import ViTConfig
from pe_inspect.models.vit import VisionTransformer

SHAPE = {
    "img_size": (12, 32),
    "patch_size": (4, 8),
    "num_classes": 5,
    "embed_dim": 24,
    "depth": 2,
    "num_heads": 3,
    "mlp_ratio": 2.0,
}


def _vit(**changes: object) -> VisionTransformer:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = VisionTransformer(ViTConfig(**{**SHAPE, **changes})).eval()
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def _images(height: int = 12, width: int = 32) -> torch.Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="session")
def vit() -> Callable[..., VisionTransformer]:
    """A function that makes a 3×4 ViT of two blocks; its arguments change the config."""
    return _vit


@pytest.fixture(scope="session")
def images() -> Callable[..., torch.Tensor]:
    """A function that draws two images, 12×32 unless said."""
    return _images
