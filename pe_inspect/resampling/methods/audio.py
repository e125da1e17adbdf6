"""What audio transformers do with spectrograms of another length."""

from __future__ import annotations

from pe_inspect.resampling.picked import cut_or_bilinear
from pe_inspect.resampling.registering import library

__all__: list[str] = []

library(
    "ast",
    vectors=cut_or_bilinear,
    call="an axis that becomes shorter is cut, from h//2 − H//2 on; a longer one is resampled: "
    "mode='bilinear', align_corners=False",
    source="YuanGongND/ast: src/models/ast_models.py",
    of_authors=("audio-spectrogram-transformer",),
)
