"""The kernel that makes patches, for patches of another size (FlexiViT)."""

from __future__ import annotations

import numpy as np

from pe_inspect.baking.bakers import TensorChange
from pe_inspect.errors import UsageError
from pe_inspect.families.reading.grid import x
from pe_inspect.families.reading.tokens import PATCH_KERNELS, known_step
from pe_inspect.families.trunk import Trunk
from pe_inspect.resampling.methods.torch_modes import bicubic_aa
from pe_inspect.resampling.patch_kernel import pi_resize
from pe_inspect.resampling.target_grid import shown

__all__ = ["kernel_change"]

_FLAX = "embedding/kernel"  # (height, width, in, out)


def kernel_change(trunk: Trunk, patch_size: tuple[int, int] | None) -> TensorChange | None:
    """Return the PI-resized kernel; `None` where the patch stays as it is, or no kernel is it.

    Source: FlexiViT, arXiv:2212.08013, Eq. 2.

    Raises:
        UsageError: patches overlap or lie behind a stem, and another size of them is asked for.
    """
    if patch_size is None or known_step(trunk) in (None, patch_size):
        return None
    old = trunk.patch_kernel
    if old is None:
        raise UsageError(_no_kernel(trunk, patch_size))
    names = trunk.names
    key = next(names[name] for name in (_FLAX, *PATCH_KERNELS) if name in names)
    stored = trunk.tensor(key)
    is_flax = key.endswith(_FLAX)
    kernel = stored.transpose(3, 2, 0, 1) if is_flax else stored
    made = pi_resize(np.ascontiguousarray(kernel), patch_size, bicubic_aa)
    note = f"the patch kernel was PI-resized from {x(old)} to {x(patch_size)} pixels (bicubic-aa)"
    return TensorChange(key, made.transpose(2, 3, 1, 0) if is_flax else made, note)


def _no_kernel(trunk: Trunk, patch_size: tuple[int, int]) -> str:
    return (
        f"--patch-size {shown(patch_size)}: patches of {trunk.source} overlap or lie behind a "
        f"stem, {shown(known_step(trunk) or patch_size)} pixels apart, and no kernel alone "
        "makes them of another size. Leave --patch-size out."
    )
