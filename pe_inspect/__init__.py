"""pe-inspect: see what a Vision Transformer's position embedding learned.

    import pe_inspect as pei

    ckpt = pei.load("ckpt.pth")
    tables = pei.extract(ckpt)
    result = pei.similarity(tables[0])
    pei.figure(result).savefig("similarity.png")

A question takes whatever holds a position embedding: one of these tables, the checkpoint, a path
or a name, a module or a state dict. Where it holds several, `family=` chooses. `pei.report` makes
the page of any of them, `pei.gallery` that of a whole folder.

The names are resolved on first use: `import pe_inspect` loads neither torch nor matplotlib.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from pe_inspect.analysis.attention import attention
    from pe_inspect.analysis.contribution import contribution
    from pe_inspect.analysis.evaluate import EvaluationResult
    from pe_inspect.analysis.interpolate import InterpolationResult
    from pe_inspect.analysis.layernorm import LayerNormResult
    from pe_inspect.analysis.probe import probe
    from pe_inspect.analysis.similarity import SimilarityResult
    from pe_inspect.analysis.structure import StructureResult
    from pe_inspect.baking.bake import Baked
    from pe_inspect.errors import (
        AmbiguousCheckpoint,
        NoPositionEmbedding,
        OutputError,
        PEInspectError,
        UnreadableCheckpoint,
        UnsafeCheckpoint,
        UsageError,
    )
    from pe_inspect.figures import figure
    from pe_inspect.front.compare import compare
    from pe_inspect.front.doctor import doctor
    from pe_inspect.front.evolution import evolution
    from pe_inspect.front.filters import filters
    from pe_inspect.front.gallery import gallery
    from pe_inspect.front.report import report
    from pe_inspect.front.subject import Subject
    from pe_inspect.kinds.position_embedding import LayerNormParams, LayerPE, PositionEmbedding
    from pe_inspect.loading import Checkpoint, Hints, load
    from pe_inspect.traces import Trace
    from pe_inspect.version import __version__ as __version__

    # What a type checker sees of the functions that take any subject: `help` shows all of them.
    def bake(subject: Subject, path: Any, *, family: str | None = None, **options: Any) -> Baked:
        """Write the same checkpoint at another resolution."""

    def evaluate(subject: Subject, *data: Any, **options: Any) -> EvaluationResult:
        """Measure a checkpoint's accuracy, at other sizes and with positions changed."""

    def extract(
        subject: Subject, *, family: str | None = None, with_sha256: bool = True
    ) -> tuple[PositionEmbedding, ...]:
        """Return every position embedding that is there."""

    def interpolate(
        subject: Subject, *, family: str | None = None, **options: Any
    ) -> InterpolationResult:
        """Put every table of an embedding on another grid."""

    def layernorm(
        subject: Subject, *, family: str | None = None, **options: Any
    ) -> LayerNormResult:
        """Say what each norm holds, and what it does to the position embedding."""

    def rebuild(subject: Subject, *, family: str | None = None) -> torch.nn.Module:
        """Return a live module whose logits equal the original's."""

    def similarity(
        subject: Subject, *, family: str | None = None, **options: Any
    ) -> SimilarityResult:
        """Say how alike positions are, in every layer."""

    def structure(
        subject: Subject, *, family: str | None = None, **options: Any
    ) -> StructureResult:
        """Say what the maps look like, in numbers."""

    def trace(
        subject: Subject, images: Any = None, *, family: str | None = None, **options: Any
    ) -> Trace:
        """Run a model on images, and return what it did with positions."""


_HOMES = {
    "__version__": "version",
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
    "compare": "front.compare",
    "contribution": "analysis.contribution",
    "doctor": "front.doctor",
    "evaluate": "evaluation",
    "evolution": "front.evolution",
    "filters": "front.filters",
    "gallery": "front.gallery",
    "interpolate": "analysis.interpolate",
    "layernorm": "analysis.layernorm",
    "probe": "analysis.probe",
    "similarity": "analysis.similarity",
    "structure": "analysis.structure",
    "figure": "figures",
    "rebuild": "live.rebuild",
    "report": "front.report",
    "trace": "live.trace",
}

_ASKED_OF = {
    **dict.fromkeys(("interpolate", "layernorm", "similarity", "structure"), "embedding"),
    **dict.fromkeys(("bake", "evaluate", "extract", "rebuild"), "checkpoint"),
    "trace": "model",
    **dict.fromkeys(("attention", "contribution", "probe"), "trace"),
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
    "compare",
    "contribution",
    "doctor",
    "evaluate",
    "evolution",
    "extract",
    "figure",
    "filters",
    "gallery",
    "interpolate",
    "layernorm",
    "load",
    "probe",
    "rebuild",
    "report",
    "similarity",
    "structure",
    "trace",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pe_inspect.extras import needed

    with needed(f"pe_inspect.{name}"):
        found = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    return _asked_of_anything(name, found)


def _asked_of_anything(name: str, found: Any) -> Any:
    """Return a public function that takes any subject; other names are as they are."""
    if name not in _ASKED_OF:
        return found
    from pe_inspect.front.adapted import asked_of_any

    return asked_of_any(found, _ASKED_OF[name])


def __dir__() -> list[str]:
    return sorted(__all__)
