"""Binary files that begin with a magic of their own, and the few that only their names tell."""

from __future__ import annotations

import re
from typing import Final

from pe_inspect.loading.byte_source import suffix_of
from pe_inspect.loading.foreign.kinds import (
    AGAIN,
    EXPORT,
    WEIGHTS,
    Kind,
    UnknownFile,
    named,
    starts,
)

__all__ = ["BINARIES"]

_FROM: Final = "give the checkpoint that it was converted from"
TABLE_END: Final = bytes.fromhex("57fb808b247547db")
"""The last eight bytes of the tables in which TensorFlow indexes its checkpoints."""


def _is_bundle(file: UnknownFile) -> bool:
    """TensorFlow's index of a checkpoint, by the end of the file; its data have no mark at all."""
    with file.source.open() as stream:
        stream.seek(max(file.source.size - len(TABLE_END), 0))
        if stream.read(len(TABLE_END)) == TABLE_END:
            return True
    return re.search(r"\.data-\d{5}-of-\d{5}$|\.index$", file.source.name) is not None


def _is_paddle(file: UnknownFile) -> bool:
    """A tensor as Paddle's inference files begin: version 0, no levels, version 0, its type."""
    head = file.head
    description = int.from_bytes(head[16:20], "little")
    return head[:16] == bytes(16) and 0 < description < 256 and head[20:21] == b"\x08"


def _is_beside_a_graph(file: UnknownFile) -> bool:
    """The numbers of an OpenVINO or ncnn model have no mark; their graph lies beside them."""
    stem, _, suffix = file.source.name.rpartition(".")
    beside = (f"{stem}.{graph}" for graph in ("xml", "param"))
    return suffix == "bin" and any(file.source.folder.find(name) for name in beside)


BINARIES: Final = (
    Kind(starts(b"ORTM", at=4), "is an ONNX Runtime model", "give the .onnx that it was made from"),
    Kind(starts(b"\xff\xd8\xff"), "is a JPEG picture", WEIGHTS),
    Kind(starts(b"\x89PNG", b"GIF8", b"RIFF", b"BM"), "is a picture", WEIGHTS),
    Kind(starts(b"%PDF"), "is a PDF document", WEIGHTS),
    Kind(starts(b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe"), "is a program or library", WEIGHTS),
    Kind(starts(b"PAR1", b"ARROW1", b"SQLite format"), "is a table of data, not weights", WEIGHTS),
    Kind(starts(b"MATLAB 5.0"), "is a MATLAB file", EXPORT),
    Kind(starts(b"TFL3", at=4), "is a TFLite model, a graph made for phones", _FROM),
    Kind(
        starts(b"ET12", b"eh00", at=4),
        "is an ExecuTorch program, made for phones",
        "give the PyTorch checkpoint that it was exported from",
    ),
    Kind(starts(b"ftrt", b"ptrt"), "is a TensorRT engine, made for one kind of GPU", _FROM),
    Kind(
        starts(b"lmgg", b"tjgg", b"fmgg", b"algg"),
        "is a GGML file of before GGUF, whose layout differs by program",
        "convert the model anew with today's llama.cpp, or give what it was made from",
    ),
    Kind(
        _is_paddle,
        "is a Paddle inference model, whose numbers have no names here",
        "give the .pdparams that it was made from",
    ),
    Kind(
        named(".pdmodel", ".pdopt"),
        "is a Paddle graph or optimizer, without weights",
        "give the .pdparams beside it",
    ),
    Kind(
        _is_beside_a_graph,
        "holds the numbers of an OpenVINO or ncnn model, whose graph beside it does not name them",
        _FROM,
    ),
    Kind(
        _is_bundle,
        "is part of a TensorFlow checkpoint",
        "read it with tensorflow.train.load_checkpoint(PREFIX), and numpy.savez its variables "
        "under their names",
    ),
    Kind(
        lambda file: suffix_of(file.source.name) == ".safetensors",
        "is no safetensors file, or its start is damaged",
        AGAIN,
    ),
)
