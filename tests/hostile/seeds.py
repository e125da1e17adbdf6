"""One small whole file of each format, from which fuzzers go astray; and odd plain values."""

from __future__ import annotations

import argparse
import io
import pickle
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from safetensors.numpy import save

__all__ = ["JSON", "PROGRAMS", "SEEDS", "STATE", "astray"]

_RNG = np.random.default_rng(3)
STATE = {
    name: _RNG.normal(size=shape).astype(np.float32)
    for name, shape in {
        "cls_token": (1, 1, 8), "pos_embed": (1, 13, 8), "patch_embed.proj.weight": (8, 3, 4, 4),
        "blocks.0.norm1.weight": (8,), "blocks.0.norm1.bias": (8,), "norm.weight": (8,),
    }.items()
}  # fmt: skip
"""A ViT of one block on a grid of 3×4."""


def _of_torch(**options: Any) -> bytes:
    out = io.BytesIO()
    model = {name: torch.from_numpy(value) for name, value in STATE.items()}
    args = argparse.Namespace(patch_size=4, img_size=[12, 16], lr=0.1)
    torch.save({"model": model, "args": args, "epoch": 3}, out, **options)
    return out.getvalue()


def _of_numpy(write: Any, *arrays: Any, **named: Any) -> bytes:
    out = io.BytesIO()
    write(out, *arrays, **named)
    return out.getvalue()


def _extraction() -> bytes:
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from pe_inspect.kinds.position_embedding import LayerNormParams, LayerPE, PositionEmbedding

    norm = LayerNormParams("blocks.0", "norm1", np.ones(8), np.zeros(8), 1e-6)
    table = LayerPE("input", STATE["pos_embed"][0], (3, 4), 1)
    pe = PositionEmbedding("learned_absolute", "vectors", "input", (table,), (norm,), depth=1)
    with TemporaryDirectory() as folder:
        return pe.save(Path(folder) / "x.pe.safetensors").read_bytes()


def _of_gguf() -> bytes:
    from pathlib import Path
    from tempfile import TemporaryDirectory

    import gguf

    with TemporaryDirectory() as folder:
        path = Path(folder) / "x.gguf"
        writer = gguf.GGUFWriter(path, "clip")
        writer.add_uint32("clip.vision.patch_size", 4)
        writer.add_array("tokenizer.tokens", ["a", "b"])
        for name, values in STATE.items():
            writer.add_tensor(name, values)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path.read_bytes()


def _of_onnx() -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    weights = [numpy_helper.from_array(values, name) for name, values in STATE.items()]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 13, 8]) for name in "xy"]
    node = helper.make_node("Add", ["x", "pos_embed"], ["y"])
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], weights)
    return helper.make_model(graph).SerializeToString()


class _Program(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        for name, values in STATE.items():
            self.register_parameter(
                name.replace(".", "_"), torch.nn.Parameter(torch.from_numpy(values))
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.pos_embed


def _of_torchscript() -> bytes:
    out = io.BytesIO()
    torch.jit.save(torch.jit.script(_Program()), out)
    return out.getvalue()


def _of_export() -> bytes:
    out = io.BytesIO()
    torch.export.save(torch.export.export(_Program(), (torch.zeros(1, 13, 8),)), out)
    return out.getvalue()


PROGRAMS: dict[str, Any] = {
    "x.gguf": _of_gguf, "x.onnx": _of_onnx, "script.pt": _of_torchscript, "x.pt2": _of_export,
}  # fmt: skip
"""Formats whose writers take a moment: what makes the file."""
SEEDS: dict[str, bytes] = {
    "zip.pth": _of_torch(),
    "legacy.pth": _of_torch(_use_new_zipfile_serialization=False),
    "plain.pkl": pickle.dumps({"state_dict": STATE, "epoch": 3}, protocol=4),
    "old.pkl": pickle.dumps({"state_dict": STATE}, protocol=2),
    "x.safetensors": save(STATE, metadata={"format": "pt"}),
    "x.pe.safetensors": _extraction(),
    "x.npz": _of_numpy(np.savez, **STATE),
    "packed.npz": _of_numpy(np.savez_compressed, **STATE),
    "x.npy": _of_numpy(np.save, STATE["pos_embed"]),
}

_NUMBERS = [0, -1, 1, 3, 4, 13, 2**31, 2**63, 10**30, 0.5, -0.0, 1e308, 1e-320]
_WORDS = ["", "a", "14x14", "9" * 50, "é" * 200, "\0", "vit", "lape", "../x", "timm:vit", "true"]
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.sampled_from(_NUMBERS), st.sampled_from(_WORDS),
              st.sampled_from([float("inf"), float("nan")])),
    lambda inner: st.one_of(st.lists(inner, max_size=4),
                            st.dictionaries(st.sampled_from(_WORDS), inner, max_size=3)),
    max_leaves=8,
)  # fmt: skip
"""Values that JSON can say, and that no writer meant."""


@st.composite
def astray(draw: Any, content: bytes) -> bytes:
    """A file with a few bytes changed, cut out, doubled, or with its end lost."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 5))):
        place = draw(st.integers(0, max(len(changed) - 1, 0)))
        far = place + draw(st.integers(0, 40))
        match draw(st.sampled_from(["set", "set", "set", "cut", "double", "put", "end"])):
            case "set":
                changed[place : place + 1] = bytes([draw(st.integers(0, 255))])
            case "cut":
                del changed[place:far]
            case "double":
                changed[place:place] = changed[place:far]
            case "put":
                changed[place:place] = draw(st.sampled_from(_PIECES))
            case "end":
                del changed[place:]
    return bytes(changed)


_PIECES = [
    b"\xff" * 8, b"\0" * 8, b"9" * 30, b"[[", b"{", b'"', b"\x80\x04", b"(", b"R", b"\x94", b"]}",
    b"cos\nsystem\n", b"\x85", b"PK\x03\x04", b"-1", b"1e999", b".", b"q\0", b"h\0", b"}(",
]  # fmt: skip
