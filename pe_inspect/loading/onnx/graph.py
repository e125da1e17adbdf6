"""An ONNX model's graph: its nodes, and its constants as places in the file.

Source: onnx/onnx, onnx.proto, whose field numbers these are. Of nodes no sub-graph is entered, so
that nesting costs nothing; of constants no number is read.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from pe_inspect.loading.wire.octets import Octets
from pe_inspect.loading.wire.protobuf import (
    BYTES,
    FOUR,
    VARINT,
    Malformed,
    WireField,
    fields,
    signed,
    text,
    varints,
)

__all__ = ["Constant", "Graph", "Node", "read_graph"]

MOST_NODES: Final = 200_000
MOST_CONSTANTS: Final = 100_000
MOST_AXES: Final = 32
SCOPES: Final = "pkg.torch.onnx.name_scopes"
SIGNATURE: Final = "pkg.torch.export.graph_signature.InputSpec.kind"
_PLACES: Final = {
    4: "float32", 5: "varints", 7: "varints", 9: "raw", 10: "float64", 11: "varints",
}  # fmt: skip


class Node(NamedTuple):
    """One operation.

    Attributes:
        op: what it does: `"MatMul"`.
        path: the module that it belongs to, dotted, as far as the exporter tells.
        inputs: names of values; an empty one is left out.
        outputs: names of values.
        numbers: its attributes that are numbers.
    """

    op: str
    path: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    numbers: Mapping[str, float]


@dataclass(frozen=True)
class Constant:
    """A tensor of the graph.

    Attributes:
        name: as nodes use it.
        code: ONNX's number of its type.
        shape: sides.
        kind: `"raw"`, `"float32"`, `"float64"`, `"varints"`, `"external"`, or `""` for none.
        start: where its bytes begin.
        stop: where they end.
        elsewhere: of an external one, what the file says of its place.
    """

    name: str
    code: int
    shape: tuple[int, ...]
    kind: str = ""
    start: int = 0
    stop: int = 0
    elsewhere: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Graph:
    """What a model's message holds, as far as weights are concerned.

    Attributes:
        producer: the program that wrote it.
        opset: the version of ONNX's own operations; 0 where none is stated.
        nodes: in the order of the file, which is that of computation.
        constants: by name: initializers and the values of Constant nodes.
        declared: names that the exporter says are parameters or buffers; it may say of none.
        input_shapes: the sides of the graph's inputs, 0 where one is free.
    """

    producer: str = ""
    opset: int = 0
    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Constant] = field(default_factory=dict)
    declared: set[str] = field(default_factory=set)
    input_shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)


def read_graph(data: Octets) -> Graph:
    """Walk a model's message.

    Raises:
        Malformed: it is none, or has more parts than any model.
    """
    graph, found = Graph(), False
    for part in fields(data):
        if part.number == 2 and part.wire == BYTES:
            graph.producer = text(data, part)
        elif part.number == 8 and part.wire == BYTES:
            graph.opset = graph.opset or _opset(data, part)
        elif part.number == 7 and part.wire == BYTES:
            _read_into(graph, data, part)
            found = True
    if not found:
        raise Malformed("a model without a graph")
    return graph


def _opset(data: Octets, part: WireField) -> int:
    inner = {f.number: f for f in fields(data, part.start, part.stop)}
    is_own = 1 not in inner or text(data, inner[1]) in ("", "ai.onnx")
    return inner[2].value if is_own and 2 in inner else 0


def _read_into(graph: Graph, data: Octets, whole: WireField) -> None:
    for part in fields(data, whole.start, whole.stop):
        if part.wire != BYTES:
            continue
        if part.number == 1:
            _add_node(graph, data, part)
        elif part.number == 5:
            _add_constant(graph, read_constant(data, part))
        elif part.number == 11:
            name, shape, _ = _value(data, part)
            graph.input_shapes[name] = shape
        elif part.number == 13:
            name, _, is_declared = _value(data, part)
            graph.declared.update([name] if is_declared else [])


def _add_constant(graph: Graph, constant: Constant) -> None:
    if len(graph.constants) >= MOST_CONSTANTS:
        raise Malformed(f"more than {MOST_CONSTANTS} constants")
    graph.constants[constant.name] = constant


def _add_node(graph: Graph, data: Octets, part: WireField) -> None:
    if len(graph.nodes) >= MOST_NODES:
        raise Malformed(f"more than {MOST_NODES} nodes")
    inputs, outputs, names = list[str](), list[str](), {3: "", 4: ""}
    numbers, scopes, value = dict[str, float](), "", None
    for f in fields(data, part.start, part.stop):
        if f.number in (1, 2):
            (inputs if f.number == 1 else outputs).append(text(data, f))
        elif f.number in names:
            names[f.number] = text(data, f)
        elif f.number == 5 and f.wire == BYTES:
            name, number, tensor = _attribute(data, f)
            numbers[name], value = number, tensor or value
        elif f.number == 9 and f.wire == BYTES:
            key, said = _pair(data, f)
            scopes = said if key == SCOPES else scopes
    if names[4] == "Constant" and value is not None and outputs:
        _add_constant(graph, read_constant(data, value, outputs[0]))
    path = _path_of_scopes(scopes) if scopes else _path_of_name(names[3])
    graph.nodes.append(Node(names[4], path, tuple(inputs), tuple(outputs), numbers))


def _attribute(data: Octets, part: WireField) -> tuple[str, float, WireField | None]:
    name, number, tensor = "", 0.0, None
    for f in fields(data, part.start, part.stop):
        if f.number == 1:
            name = text(data, f)
        elif f.number == 3 and f.wire == VARINT:
            number = signed(f.value)
        elif f.number == 2 and f.wire == FOUR:
            number = struct.unpack("<f", data[f.start : f.stop])[0]
        elif f.number == 5 and f.wire == BYTES:
            tensor = f
    return name, number, tensor


def _pair(data: Octets, part: WireField) -> tuple[str, str]:
    found = {f.number: f for f in fields(data, part.start, part.stop)}
    return tuple(text(data, found[n]) if n in found else "" for n in (1, 2))  # type: ignore[return-value]


def _path_of_scopes(scopes: str) -> str:
    """The last scope but the operation's own: `['', 'blocks.0', 'blocks.0.attn', 'linear']`."""
    names = re.findall(r"'([^']*)'", scopes)
    return names[-2] if len(names) > 1 else ""


def _path_of_name(name: str) -> str:
    """`/blocks/blocks.0/attn/qkv/MatMul` is `blocks.0.attn.qkv`: a list and its member are one."""
    steps = name.removeprefix("/").split("/")[:-1]
    kept = [
        step
        for i, step in enumerate(steps)
        if i + 1 == len(steps) or not steps[i + 1].startswith(f"{step}.")
    ]
    return ".".join(kept)


def _value(data: Octets, part: WireField) -> tuple[str, tuple[int, ...], bool]:
    """A value's name, the sides of its type, and whether the exporter calls it a parameter."""
    name, shape, is_declared = "", tuple[int, ...](), False
    for f in fields(data, part.start, part.stop):
        if f.number == 1:
            name = text(data, f)
        elif f.number == 2 and f.wire == BYTES:
            shape = _type_shape(data, f)
        elif f.number == 4 and f.wire == BYTES:
            key, said = _pair(data, f)
            is_declared |= key == SIGNATURE and said in ("PARAMETER", "BUFFER")
    return name, shape, is_declared


def _type_shape(data: Octets, part: WireField) -> tuple[int, ...]:
    """TypeProto.tensor_type.shape.dim[…].dim_value, four messages deep."""
    found = part
    for number in (1, 2):
        inner = [
            f
            for f in fields(data, found.start, found.stop)
            if f.number == number and f.wire == BYTES
        ]
        if not inner:
            return ()
        found = inner[0]
    sides = (f for f in fields(data, found.start, found.stop) if f.number == 1 and f.wire == BYTES)
    return tuple(_side(data, f) for f, _ in zip(sides, range(MOST_AXES)))


def _side(data: Octets, part: WireField) -> int:
    stated = (f.value for f in fields(data, part.start, part.stop) if f.number == 1)
    return next(stated, 0)


def read_constant(data: Octets, part: WireField, name: str = "") -> Constant:
    """Read a tensor's message: everything but its numbers.

    Raises:
        Malformed: it is none, or has impossible sides.
    """
    code, sides, elsewhere = 0, list[int](), dict[str, str]()
    place, is_elsewhere = ("", 0, 0), False
    for f in fields(data, part.start, part.stop):
        if f.number == 1:
            sides += _dims(data, f, len(sides))
        elif f.number == 2:
            code = f.value
        elif f.number == 8 and not name:
            name = text(data, f)
        elif f.number in _PLACES and f.wire == BYTES:
            place = _placed_once(place, f)
        elif f.number == 13 and f.wire == BYTES:
            elsewhere.update([_pair(data, f)])
        elif f.number == 14:
            is_elsewhere = f.value == 1
    if min(sides, default=0) < 0:
        raise Malformed(f"{name!r} has a side below zero")
    if is_elsewhere:
        return Constant(name, code, tuple(sides), "external", elsewhere=elsewhere)
    return Constant(name, code, tuple(sides), *place)


def _placed_once(before: tuple[str, int, int], part: WireField) -> tuple[str, int, int]:
    if before[0]:
        raise Malformed("a tensor whose numbers are written twice")
    return _PLACES[part.number], part.start, part.stop


def _dims(data: Octets, part: WireField, known: int) -> Iterator[int]:
    if part.wire == VARINT:
        values = [signed(part.value)]
    elif part.wire == BYTES and part.value <= 10 * MOST_AXES:
        values = varints(data[part.start : part.stop]).tolist()
    else:
        raise Malformed("sides that are no numbers")
    if known + len(values) > MOST_AXES:
        raise Malformed(f"more than {MOST_AXES} axes")
    yield from values
