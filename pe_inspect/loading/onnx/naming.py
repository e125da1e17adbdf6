"""What a constant without a name of its own was called, by the node that uses it.

Exporters keep the names of parameters that they leave alone. A matrix that they transposed, a
table that they computed once for all, is a new constant (`onnx::MatMul_373`, `val_12`); the path
of the node that uses it, or the bias that is added behind it, says what it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pe_inspect.loading.onnx.graph import Graph, Node

__all__ = ["PASSED", "Role", "Uses", "is_anonymous"]

_MADE_UP: Final = re.compile(
    r"\d+|val_\d+|onnx::.*|.*_output_\d+|.*::.*|_?\w*_(quantized|scale|zero_point)"
)
PASSED: Final = frozenset({
    "Cast", "Reshape", "Transpose", "Unsqueeze", "Squeeze", "Flatten", "Identity", "Expand",
    "Resize", "DequantizeLinear",
})  # fmt: skip
"""What lets through the numbers that it is given, in their order or on another grid."""
NORMS: Final = re.compile(r"(\w*Layer|Group|Instance|Batch|RMS|Simplified\w*)Normalization")
FURTHEST: Final = 8


@dataclass(frozen=True)
class Role:
    """What a node does with a constant.

    Attributes:
        path: of the module; empty is the model's root.
        leaf: the parameter's name in it.
        is_transposed: whether the library keeps the matrix the other way round.
    """

    path: str
    leaf: str
    is_transposed: bool = False

    @property
    def name(self) -> str:
        """The whole name."""
        return f"{self.path}.{self.leaf}" if self.path else self.leaf


def is_anonymous(name: str, graph: Graph) -> bool:
    """Whether an exporter made a name up; one that declares its parameters is believed."""
    if graph.declared:
        return name not in graph.declared
    return _MADE_UP.fullmatch(name) is not None


class Uses:
    """Who uses which value of a graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.by_value: dict[str, list[tuple[Node, int]]] = {}
        for node in graph.nodes:
            for position, value in enumerate(node.inputs):
                self.by_value.setdefault(value, []).append((node, position))

    def of(self, value: str) -> tuple[Node, int] | None:
        """The first node that does something with a value, and the place that it has there."""
        for _ in range(FURTHEST):
            found = self.by_value.get(value)
            if not found:
                return None
            node, position = found[0]
            if node.op not in PASSED or position:
                return node, position
            value = node.outputs[0] if node.outputs else ""
        return None

    def reaches(self, value: str, op: str, through: frozenset[str]) -> bool:
        """Whether a value comes to an operation by way of certain others alone."""
        for _ in range(FURTHEST):
            users = [node for node, _ in self.by_value.get(value, [])]
            if any(node.op == op for node in users):
                return True
            onward = next((node for node in users if node.op in through and node.outputs), None)
            if onward is None:
                return False
            value = onward.outputs[0]
        return False

    def role(self, name: str, shape: tuple[int, ...]) -> Role | None:
        """What an anonymous constant is; `None` where no node uses it."""
        found = self.of(name)
        if found is None:
            return None
        node, position = found
        if node.op in ("MatMul", "Gemm", "MatMulInteger") and position == 1 and len(shape) == 2:
            stem = next(self._named_bias(node), node.path)
            return Role(stem, "weight", not node.numbers.get("transB", 0))
        return Role(node.path, self._leaf(node, position, shape))

    def _named_bias(self, node: Node) -> Iterator[str]:
        """The module whose bias is added to a product."""
        for user, _ in self.by_value.get(node.outputs[0] if node.outputs else "", []):
            for other in user.inputs if user.op == "Add" else ():
                is_own = other in self.graph.constants and not is_anonymous(other, self.graph)
                if is_own and other.endswith(".bias"):
                    yield other.removesuffix(".bias")

    def _leaf(self, node: Node, position: int, shape: tuple[int, ...]) -> str:
        wide = [side for side in shape if side > 1]
        if node.op in ("Conv", "ConvTranspose", "Gemm") or NORMS.fullmatch(node.op):
            return {1: "weight", 2: "bias", 3: "running_mean", 4: "running_var"}.get(position, "x")
        if node.op == "Gather" and not position:
            return "weight"
        if node.op == "Concat" and len(shape) == 3 and shape[:2] == (1, 1):
            return "cls_token"
        if node.op in ("Add", "Concat") and len(wide) > 1:
            return "position_embeddings" if node.path.endswith("embeddings") else "pos_embed"
        if len(wide) == 1 and node.op in ("Add", "Mul"):
            return "bias" if node.op == "Add" else "weight"
        return node.op.lower()
