"""The convolution that looks at the image, with its values: the filters that make patches."""

from __future__ import annotations

from typing import Final

import numpy as np

from pe_inspect.arrays import Float32
from pe_inspect.families.reading.tokens import PATCH_KERNELS, first_kernel
from pe_inspect.families.trunk import Trunk

__all__ = ["patch_filters"]

_FLAX: Final = "embedding/kernel"  # (height, width, in, out)
_MOST_BANDS: Final = 16  # of an image, spectral ones included
_CONVOLUTIONS: Final = (4, 5)  # axes: with frames, there is one more


def patch_filters(
    trunk: Trunk, embed_dim: int | None
) -> tuple[str, Float32[np.ndarray, "embed_dim channels *sides"]] | None:
    """Return the name and the values of the filters; `None` where no single convolution is it.

    Behind a stem, patches are made by several. Of an unknown name it is the only convolution from
    few bands to the width of the table.

    Args:
        trunk: the checkpoint's reading.
        embed_dim: the width of its position table, where there is one.
    """
    key = _named(trunk) or _by_shape(trunk, embed_dim)
    if key is None:
        return None
    stored = np.asarray(trunk.tensor(key))
    values = stored.transpose(3, 2, 0, 1) if key.endswith(_FLAX) else stored
    return key, np.ascontiguousarray(values, np.float32)


def _named(trunk: Trunk) -> str | None:
    if first_kernel(trunk) is None:
        return None
    names = trunk.names
    return next((names[name] for name in (_FLAX, *PATCH_KERNELS) if name in names), None)


def _by_shape(trunk: Trunk, embed_dim: int | None) -> str | None:
    found = [key for key in trunk if _may_be_filters(trunk.shape(key), embed_dim)]
    return found[0] if len(found) == 1 else None


def _may_be_filters(shape: tuple[int, ...], embed_dim: int | None) -> bool:
    is_convolution = len(shape) in _CONVOLUTIONS and min(shape[2:]) > 0 and max(shape[2:]) > 1
    return is_convolution and shape[0] == embed_dim and 1 < shape[1] <= _MOST_BANDS
