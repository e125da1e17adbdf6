"""How close an answer in float32 has to come to an oracle's: a bound that holds on any processor.

Two right programs differ in the last digits: a processor has its own order of sums, fused products
and exponentials. What they may differ by follows from the size of the numbers, not from what one
machine showed. A wrong answer is off by thousands of times that.
"""

from __future__ import annotations

import numpy as np
import torch

EPSILON = float(np.finfo(np.float32).eps)
ROOM = 4  # times the bound of one processor, for the next


def _array(values):
    tensor = values.detach().cpu() if isinstance(values, torch.Tensor) else values
    return np.asarray(tensor)


def float32_tolerance(values, operations=8):
    """The largest difference that rounding explains: ε · largest magnitude · operations · ROOM.

    Args:
        values: What was computed, or what it was computed through where that is larger: of a sine,
            the angles. Non-finite values do not count.
        operations: How many roundings of that size may add up, one after the other: a few for a
            product and a short sum; the longer side of a grid whose places are float32; 32 and
            more for a norm or a model.
    """
    magnitudes = np.abs(_array(values))
    largest = magnitudes[np.isfinite(magnitudes)].max(initial=0.0)
    return EPSILON * ROOM * operations * float(largest)


# Of numbers of size one: cosines, shares, and relative to any number.
ROUNDING = float32_tolerance(1.0)


def assert_close(found, expected, operations=8, at=None, message=""):
    """Assert that two arrays or tensors differ by no more than float32's rounding explains.

    Args:
        found: Our answer.
        expected: The oracle's, or one number for all.
        operations: As `float32_tolerance` has it.
        at: What the answer was computed through, where that is larger than the answer.
        message: Said beside the difference.
    """
    tolerance = float32_tolerance(expected if at is None else at, operations)
    if isinstance(found, torch.Tensor) and isinstance(expected, torch.Tensor):
        torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
    else:
        np.testing.assert_allclose(
            _array(found), _array(expected), rtol=0, atol=tolerance, err_msg=message
        )
