"""The 1,797 handwritten digits that come inside scikit-learn: 8×8 pixels, no download."""

from __future__ import annotations

from typing import Final

import numpy as np

from pe_inspect.data.dataset import Dataset, Split
from pe_inspect.data.datasets import Request, datasets, refuse_argument

__all__ = ["read_digits"]

BRIGHTEST: Final = 16  # scikit-learn's digits hold the values 0 … 16
TEST_EVERY: Final = 5


@datasets.register("digits")
def read_digits(request: Request) -> Dataset:
    """Return the digits; every fifth image is a test image, so the split never changes.

    Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.
    """
    from sklearn.datasets import load_digits

    refuse_argument("digits", request)
    digits = load_digits()
    images = np.rint(digits.images * (255 / BRIGHTEST)).astype(np.uint8)[:, None]
    labels = digits.target.astype(np.int64)
    is_test = np.arange(len(labels)) % TEST_EVERY == TEST_EVERY - 1
    train, test = (Split(images[chosen], labels[chosen]) for chosen in (~is_test, is_test))
    return Dataset("digits", "digits (scikit-learn)", train, test, tuple("0123456789"))
