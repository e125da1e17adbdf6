"""ONNX models: the weights among their constants, under the names that they had in the model.

The wire format is walked here (`wire/protobuf.py`), because the onnx package takes the whole of a
file into memory, and a command that reads headers must not cost its import.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from pe_inspect.errors import UnreadableCheckpoint
from pe_inspect.loading.formats import Contents, SourceFile, damaged, reads
from pe_inspect.loading.wire.octets import octets_of
from pe_inspect.loading.wire.protobuf import Malformed

if TYPE_CHECKING:
    from pe_inspect.loading.onnx.graph import Graph

# A small version; then the text that names the program, or what else may come before the graph.
_BEGINNING: Final = re.compile(
    rb"\x08[\x01-\x40](?:[\x12\x1a\x22\x32](?:[\x01-\x7f][ -~]|\0)|[\x28\x3a\x42])", re.DOTALL
)


def is_onnx(file: SourceFile) -> bool:
    """A message that begins as ModelProto does: a graph of TensorFlow or Core ML does not."""
    return _BEGINNING.match(file.head) is not None


@reads(
    "onnx",
    name="onnx",
    suffixes=(".onnx",),
    when=is_onnx,
    way="the sizes of its tokens are part of its graph. Write from the PyTorch checkpoint that it "
    "was exported from, and export that anew",
)
def read_onnx(file: SourceFile) -> Contents:
    """Walk the graph; numbers stay in the file, or in those beside it.

    Raises:
        UnreadableCheckpoint: the file is truncated or damaged, or numbers beside it are missing.
    """
    from pe_inspect.loading.onnx.graph import read_graph
    from pe_inspect.loading.onnx.weights import Weights

    with octets_of(file.source) as data:
        try:
            graph = read_graph(data)
        except Malformed as error:
            raise damaged(file, f"is truncated, or no ONNX model ({error})") from error
    found = Weights(graph, file.source)
    if not found.tensors:
        raise UnreadableCheckpoint(
            f"{file} is an ONNX graph without weights. Give the file that holds them."
        )
    by = f"by {graph.producer}, " if graph.producer.isprintable() and graph.producer else ""
    notes = (f"an ONNX graph ({by}opset {graph.opset})", *found.notes)
    return Contents(found.tensors, file.source, {"stated": _stated(graph)}, notes)


def _stated(graph: Graph) -> dict[str, Any]:
    """What the graph says of the model: the image size that it takes, the ε of its norms."""
    shapes = [s for name, s in graph.input_shapes.items() if name not in graph.constants]
    image = next((shape for shape in shapes if len(shape) == 4 and shape[1] in (1, 3)), ())
    norms = [node for node in graph.nodes if node.op == "LayerNormalization"]
    eps = {float(f"{node.numbers.get('epsilon', 1e-5):.6g}") for node in norms}
    said = {"img_size": list(image[2:])} if image and min(image[2:]) > 0 else {}
    return {**said, **({"ln_eps": eps.pop()} if len(eps) == 1 else {})}
