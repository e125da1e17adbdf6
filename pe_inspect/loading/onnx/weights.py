"""Which of a graph's constants are weights, and under which names."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from pe_inspect.arrays import Shaped
from pe_inspect.loading.byte_source import ByteSource
from pe_inspect.loading.checkpoint import StoredTensor, tensor_in_memory
from pe_inspect.loading.onnx.constants import external_files, lazy_constant
from pe_inspect.loading.onnx.graph import Graph
from pe_inspect.loading.onnx.naming import Role, Uses, is_anonymous
from pe_inspect.loading.onnx.quantised import widened_constants
from pe_inspect.loading.onnx.tables import (
    LARGEST_LOOK,
    TO_SOFTMAX,
    is_square,
    joined,
    joined_tables,
    ungathered,
)

__all__ = ["Weights"]


class Weights:
    """The weights of a graph.

    Attributes:
        tensors: by the names that they had in the model.
        notes: what was named, joined, un-gathered and widened, in words.
    """

    def __init__(self, graph: Graph, source: ByteSource) -> None:
        find = external_files(source)
        self.graph, self.uses = graph, Uses(graph)
        self.tensors: dict[str, StoredTensor] = {}
        self._done: Counter[str] = Counter()
        left = {name: lazy_constant(c, source, find) for name, c in graph.constants.items()}
        left = self._widened(left)
        left = self._joined(left)
        self._take(left)
        self.notes = tuple(self._told())

    def _widened(self, left: dict[str, StoredTensor]) -> dict[str, StoredTensor]:
        """Put the numbers that scaled integers stand for in their place."""
        found = list(widened_constants(self.graph, left))
        scales = {part for each in found for part in each.parts}
        self._done["scaled integers widened"] = len({each.name for each in found})
        widened = {each.name: each.tensor for each in found}
        return {name: widened.get(name, t) for name, t in left.items() if name not in scales}

    def _joined(self, left: dict[str, StoredTensor]) -> dict[str, StoredTensor]:
        """Join the rows of tables that folding cut; each table is taken once."""
        for each in joined_tables(self.graph, left):
            if all(part in left for part in each.parts):
                parts = [left.pop(part) for part in dict.fromkeys(each.parts)]
                leaf = "position_embeddings" if each.node.path.endswith("embeddings") else None
                role = Role(each.node.path, leaf or "pos_embed")
                self._add(role.name, joined(parts))
                self._done["tables joined from the rows that folding cut them into"] += 1
        return left

    def _take(self, left: dict[str, StoredTensor]) -> None:
        budget = LARGEST_LOOK
        for name, tensor in left.items():
            if not is_anonymous(name, self.graph):
                self._add(name, tensor)
            elif (known := name.removesuffix("_quantized")) != name and not is_anonymous(
                known, self.graph
            ):
                self._add(known, tensor)
            elif tensor.is_floating and tensor.size > 1:
                budget -= self._take_anonymous(name, tensor, budget)

    def _take_anonymous(self, name: str, tensor: StoredTensor, budget: int) -> int:
        role = self.uses.role(name, tensor.shape)
        if role is None:
            return 0
        table, index, looked_at = ungathered(self.uses, name, tensor, budget)
        if table is not None and index is not None:
            path = Role(role.path, "relative_position").name
            self._add(f"{path}_bias_table", table)
            self._add(f"{path}_index", tensor_in_memory("", index))
            self._done["gathered biases turned back into their tables"] += 1
            return looked_at
        role = self._in_attention(role, name, tensor)
        self._done["constants without a name, called after the nodes that use them"] += 1
        self._add(role.name, _transposed(tensor) if role.is_transposed else tensor)
        return looked_at

    def _in_attention(self, role: Role, name: str, tensor: StoredTensor) -> Role:
        """A square that is added to scores is a bias of heads, or a mask of windows."""
        shape = tensor.shape
        if not is_square(shape) or not self.uses.reaches(name, "Softmax", TO_SOFTMAX):
            return role
        is_bias = len(shape) == 3 or (len(shape) == 4 and shape[0] == 1 < shape[1])
        return replace(role, leaf="relative_position_bias" if is_bias else "attn_mask")

    def _add(self, name: str, tensor: StoredTensor) -> None:
        """Take a tensor; of two of one name the second is numbered."""
        free, number = name, 1
        while free in self.tensors:
            number += 1
            free = f"{name}_{number}"
        self.tensors[free] = tensor.named(free)

    def _told(self) -> list[str]:
        return [f"{what}: {count}" for what, count in self._done.items() if count]


def _transposed(tensor: StoredTensor) -> StoredTensor:
    """The matrix as its library keeps it: outputs × inputs."""

    def read() -> Shaped[np.ndarray, "..."]:
        return np.ascontiguousarray(tensor.read().T)

    return replace(tensor, shape=tensor.shape[::-1], read=read)
