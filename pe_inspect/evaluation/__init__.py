"""Running a live model: its accuracy at other resolutions, and without its positions.

`evaluate` in `run.py` is the way in. A host (`_hosts.py`) puts arrays into a model of one library
for a while: `_native.py` for ours, `_timm.py` for timm's.
"""

from __future__ import annotations

from pe_inspect.evaluation.run import EvaluationProgress, evaluate

__all__ = ["EvaluationProgress", "evaluate"]
