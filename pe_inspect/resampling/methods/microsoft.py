"""What Microsoft's codes do on another resolution: Swin and BEiT."""

from __future__ import annotations

from pe_inspect.resampling.bias_rules import geometric_cubic
from pe_inspect.resampling.methods.torch_modes import bicubic
from pe_inspect.resampling.registering import library

__all__: list[str] = []

library(
    "swin",
    vectors=bicubic,
    bias=bicubic,
    call="size=(2H − 1, 2W − 1), mode='bicubic' on the table of offsets; size=(H, W) on vectors",
    source="microsoft/Swin-Transformer: utils.py, load_pretrained",
    of_authors=("donut-swin", "maskformer-swin", "swin"),
)
library(
    "beit",
    vectors=bicubic,
    bias=geometric_cubic,
    call="bias: cubic spline between offsets in geometric progression, interp2d(kind='cubic'); "
    "vectors: size=(H, W), mode='bicubic'; the 3 rows of CLS are kept",
    source="microsoft/unilm: beit/run_class_finetuning.py",
)
