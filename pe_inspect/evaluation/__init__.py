"""Running a live model: its accuracy at other resolutions, and without its positions.

`evaluate` in `run.py` is the way in. A host of `live/hosts/` puts arrays into a model of one
library for a while.
"""

from __future__ import annotations

from pe_inspect.evaluation.run import EvaluationProgress, evaluate

__all__ = ["EvaluationProgress", "evaluate"]
