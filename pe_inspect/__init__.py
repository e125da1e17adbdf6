"""pe-inspect: see what a Vision Transformer's position embedding learned.

    import pe_inspect as pei

    ckpt = pei.load("ckpt.pth")
    tables = pei.extract(ckpt)
    result = pei.similarity(tables[0])
    pei.figure(result).savefig("similarity.png")

The names are resolved on first use: `import pe_inspect` loads neither torch nor matplotlib.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from pe_inspect._version import __version__ as __version__

if TYPE_CHECKING:
    from pe_inspect.analysis.attention import attention
    from pe_inspect.analysis.contribution import contribution
    from pe_inspect.analysis.evolution import evolution
    from pe_inspect.analysis.interpolate import interpolate
    from pe_inspect.analysis.layernorm import layernorm
    from pe_inspect.analysis.probe import probe
    from pe_inspect.analysis.similarity import similarity
    from pe_inspect.baking.bake import bake
    from pe_inspect.diagnosis.diagnosis import doctor
    from pe_inspect.errors import (
        AmbiguousCheckpoint,
        NoPositionEmbedding,
        OutputError,
        PEInspectError,
        UnreadableCheckpoint,
        UnsafeCheckpoint,
        UsageError,
    )
    from pe_inspect.evaluation import evaluate
    from pe_inspect.families import extract
    from pe_inspect.figures import figure
    from pe_inspect.kinds.position_embedding import LayerNormParams, LayerPE, PositionEmbedding
    from pe_inspect.live.rebuild import rebuild
    from pe_inspect.live.trace import trace
    from pe_inspect.loading import Checkpoint, Hints, load
    from pe_inspect.page import report
    from pe_inspect.traces import Trace

_HOMES = {
    "AmbiguousCheckpoint": "errors",
    "NoPositionEmbedding": "errors",
    "OutputError": "errors",
    "PEInspectError": "errors",
    "UnreadableCheckpoint": "errors",
    "UnsafeCheckpoint": "errors",
    "UsageError": "errors",
    "Trace": "traces",
    "LayerNormParams": "kinds.position_embedding",
    "LayerPE": "kinds.position_embedding",
    "PositionEmbedding": "kinds.position_embedding",
    "Checkpoint": "loading",
    "Hints": "loading",
    "load": "loading",
    "extract": "families",
    "attention": "analysis.attention",
    "bake": "baking.bake",
    "contribution": "analysis.contribution",
    "doctor": "diagnosis.diagnosis",
    "evaluate": "evaluation",
    "evolution": "analysis.evolution",
    "interpolate": "analysis.interpolate",
    "layernorm": "analysis.layernorm",
    "probe": "analysis.probe",
    "similarity": "analysis.similarity",
    "figure": "figures",
    "rebuild": "live.rebuild",
    "report": "page",
    "trace": "live.trace",
}

__all__ = [
    "AmbiguousCheckpoint",
    "Checkpoint",
    "Hints",
    "LayerNormParams",
    "LayerPE",
    "NoPositionEmbedding",
    "OutputError",
    "PEInspectError",
    "PositionEmbedding",
    "Trace",
    "UnreadableCheckpoint",
    "UnsafeCheckpoint",
    "UsageError",
    "attention",
    "bake",
    "contribution",
    "doctor",
    "evaluate",
    "evolution",
    "extract",
    "figure",
    "interpolate",
    "layernorm",
    "load",
    "probe",
    "rebuild",
    "report",
    "similarity",
    "trace",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
