"""Live models: `ViTConfig` is known without torch, `VisionTransformer` is in `models/vit.py`.

`models/schemes/` has a file a scheme, `models/rebuild.py` makes a live model of a checkpoint.
"""

from __future__ import annotations

from pe_inspect.models.config import ViTConfig

__all__ = ["ViTConfig"]
