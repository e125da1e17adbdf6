"""Running a live model: its accuracy at other resolutions, and without its positions.

`evaluate` in `run.py` is the way in. What it changes inside a model goes through the model's host
(`pe_inspect.live`).
"""

from __future__ import annotations

from pe_inspect.evaluation.run import EvaluationProgress, evaluate

__all__ = ["EvaluationProgress", "evaluate"]
