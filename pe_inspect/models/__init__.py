"""Live models. `ViTConfig` is known without torch; `VisionTransformer` is in `models/vit.py`."""

from __future__ import annotations

from pe_inspect.models.config import ViTConfig

__all__ = ["ViTConfig"]
