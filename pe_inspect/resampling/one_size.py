"""Types of models that take images of one size alone: their libraries have no rule for another.

A config.json names nothing else than its type, so that the types are listed. Tests ask each whose
images generic inputs can make for another size, and it stops; the others (Llama 4, Mllama, Molmo 2,
PVT, CogVideoX with a stored table) were read in their sources.
"""

from __future__ import annotations

from typing import Final

__all__ = ["ONE_SIZE"]

ONE_SIZE: Final = (
    "aimv2_vision_model", "CogVideoXTransformer3DModel", "eomt", "got_ocr2_vision",
    "llama4_vision_model", "mgp-str", "mllama_vision_model", "molmo2_vision", "ovis2_vision",
    "pp_formulanet_vision", "pvt", "sam_hq_vision_model", "sam_vision_model", "slanext_vision",
    "videomt", "vitpose_backbone", "vivit",
)  # fmt: skip
