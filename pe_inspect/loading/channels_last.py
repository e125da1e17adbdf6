"""Weights of libraries that put channels last (Flax, Keras), as PyTorch's names and axes have them.

A dense kernel is (inputs, outputs) there, a convolution's (height, width, inputs, outputs); norms
have a scale or gamma, embeddings a table of that name. The rules are those by which transformers
turns Flax and TensorFlow weights into PyTorch's (`modeling_flax_pytorch_utils`,
`modeling_tf_pytorch_utils`); heads that Keras keeps as axes of their own become one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from pe_inspect.arrays import Shaped
from pe_inspect.loading.checkpoint import StoredTensor

__all__ = ["as_torch_has_them"]

_LEAVES: Final = {
    "kernel": "weight", "depthwise_kernel": "weight", "pointwise_kernel": "weight",
    "gamma": "weight", "scale": "weight", "beta": "bias", "embeddings": "weight",
    "embedding": "weight", "moving_mean": "running_mean", "moving_variance": "running_var",
    "mean": "running_mean", "var": "running_var", "class_token": "cls_token",
}  # fmt: skip
# what becomes of the axes of a kernel, by their number
_AXES: Final = {2: (1, 0), 4: (3, 2, 0, 1), 5: (4, 3, 0, 1, 2)}
_DEPTHWISE: Final = (2, 3, 0, 1)


def as_torch_has_them(
    tensors: Mapping[str, StoredTensor], separator: str = "/"
) -> dict[str, StoredTensor]:
    """Return the tensors by PyTorch's names, their axes in its order; nothing is read.

    Args:
        tensors: by path, as the library has them; the last part of a path is the variable.
        separator: of the parts of a path.
    """
    found: dict[str, StoredTensor] = {}
    for path, tensor in tensors.items():
        *modules, leaf = path.split(separator)
        bias = tensors.get(separator.join([*modules, "bias"]))
        name = ".".join([*modules, _LEAVES.get(leaf, leaf)])
        turned = _turned(tensor, leaf, bias.shape if bias is not None else None, modules)
        found[name if name not in found else f"{name}.{leaf}"] = turned
    return found


def _turned(
    tensor: StoredTensor, leaf: str, bias: tuple[int, ...] | None, modules: list[str]
) -> StoredTensor:
    shape = tensor.shape
    if leaf == "bias" and len(shape) == 2:  # heads and their numbers
        return _with(tensor, (math.prod(shape),), None)
    if leaf == "depthwise_kernel" and len(shape) == 4:
        axes = tuple(shape[axis] for axis in _DEPTHWISE)
        return _with(tensor, (axes[0] * axes[1], 1, *axes[2:]), _DEPTHWISE)
    if not leaf.endswith("kernel"):
        return tensor
    if len(shape) == 3:
        return _turned_heads(tensor, bias, any("conv" in name.lower() for name in modules))
    axes = _AXES.get(len(shape), ())
    return _with(tensor, tuple(shape[axis] for axis in axes), axes) if axes else tensor


def _turned_heads(
    tensor: StoredTensor, bias: tuple[int, ...] | None, is_convolution: bool
) -> StoredTensor:
    """A projection to heads, or from them; or a convolution along one axis."""
    first, second, third = tensor.shape
    if is_convolution:
        return _with(tensor, (third, second, first), (2, 1, 0))
    if bias is not None and len(bias) == 1:
        return _with(tensor, (third, first * second), (2, 0, 1))
    return _with(tensor, (second * third, first), (1, 2, 0))


def _with(
    tensor: StoredTensor, shape: tuple[int, ...], axes: tuple[int, ...] | None
) -> StoredTensor:
    def read() -> Shaped[np.ndarray, "..."]:
        values = tensor.read()
        turned = values if axes is None else values.transpose(axes)
        return np.ascontiguousarray(turned).reshape(shape)

    return replace(tensor, shape=shape, read=read)
