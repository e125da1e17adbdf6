"""Protocol buffers have no magic: the fields that a file begins with, and their order, tell.

Sources: the published .proto files of TensorFlow (SavedModel, GraphDef, MetaGraphDef), Core ML
(Model) and ONNX (ModelProto).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Final

from pe_inspect.loading.foreign.kinds import EXPORT, Kind, UnknownFile
from pe_inspect.loading.wire.octets import Octets, octets_of
from pe_inspect.loading.wire.protobuf import BYTES, VARINT, Malformed, WireField, fields

__all__ = ["MESSAGES"]

MOST_LOOKED_AT: Final = 64


def _begins(is_kind: Callable[[Octets, list[WireField]], bool], file: UnknownFile) -> bool:
    with octets_of(file.source) as data:
        try:
            found = list(islice(fields(data), MOST_LOOKED_AT))
            return bool(found) and is_kind(data, found)
        except Malformed:
            return False


def _numbers(found: list[WireField]) -> set[tuple[int, int]]:
    return {(field.number, field.wire) for field in found}


def _is_saved_model(_data: Octets, found: list[WireField]) -> bool:
    """A version of 1, and graphs; nothing else."""
    version = found[0]
    return version[:3] == (1, VARINT, 1) and _numbers(found[1:]) == {(2, BYTES)}


def _is_core_ml(_data: Octets, found: list[WireField]) -> bool:
    """A version, a description, and the model itself under one of the numbers from 200 on."""
    is_first = found[0][:2] == (1, VARINT)
    return is_first and any(f.number >= 200 and f.wire == BYTES for f in found)


def _is_graph(data: Octets, found: list[WireField]) -> bool:
    """Nodes, each with a name and an operation: TensorFlow's frozen graphs."""
    if found[0][:2] != (1, BYTES):
        return False
    inner = list(islice(fields(data, found[0].start, found[0].stop), 2))
    return [field[:2] for field in inner] == [(1, BYTES), (2, BYTES)] and all(
        data[field.start : field.stop].decode("latin-1").isprintable() for field in inner
    )


def _is_meta_graph(data: Octets, found: list[WireField]) -> bool:
    """What a graph needs beside its nodes, then the graph."""
    order = [field[:2] for field in found[:2]]
    if order != [(1, BYTES), (2, BYTES)]:
        return False
    graph = list(islice(fields(data, found[1].start, found[1].stop), MOST_LOOKED_AT))
    return bool(graph) and _is_graph(data, graph)


MESSAGES: Final = (
    Kind(
        partial(_begins, _is_saved_model),
        "is the graph of a TensorFlow SavedModel, whose numbers lie in variables/ beside it",
        "load it with tensorflow.saved_model.load(DIR), and numpy.savez its variables under their "
        "names",
    ),
    Kind(
        partial(_begins, _is_core_ml),
        "is a Core ML model, made for Apple's devices",
        "give the checkpoint that it was converted from",
    ),
    Kind(
        partial(_begins, _is_meta_graph),
        "is the graph of a TensorFlow checkpoint, without its numbers",
        "read those beside it with tensorflow.train.load_checkpoint(PREFIX), and numpy.savez them",
    ),
    Kind(
        partial(_begins, _is_graph),
        "is a frozen TensorFlow graph",
        f"give the checkpoint that it was frozen from, or {EXPORT}",
    ),
)
