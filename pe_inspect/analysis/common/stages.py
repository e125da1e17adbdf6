"""Arrays by layer where layers differ in shape: stacked, or one array a stage."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["stacked_by_stage"]


def stacked_by_stage(name: str, arrays: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Stack arrays of consecutive layers under `name`, or under `name/stage0`, … by their shapes.

    Args:
        name: the key.
        arrays: one a layer, in order; a stage is a run of layers with arrays of one shape.
    """
    stages: list[list[np.ndarray]] = []
    for array in arrays:
        if not stages or stages[-1][0].shape != array.shape:
            stages.append([])
        stages[-1].append(array)
    if len(stages) == 1:
        return {name: np.stack(stages[0])}
    return {f"{name}/stage{i}": np.stack(stage) for i, stage in enumerate(stages)}
