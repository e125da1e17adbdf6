"""Damaged files of the formats that are walked here: some of each, more of them in the sweep.

Each begins as a small file that opens; what is done to it is in `fuzzing.py`. None may raise but to
refuse the file in a plain line, and none may take more memory than the file could fill.
"""

from __future__ import annotations

import os

import h5py
import msgpack
import numpy as np
import onnx
import pytest
import torch
import torch.distributed.checkpoint as dcp
from fuzzing import fuzz
from gguf import GGMLQuantizationType, GGUFWriter, quants
from onnx import helper, numpy_helper

pytestmark = pytest.mark.filterwarnings("ignore")
ROWS = np.random.default_rng(1).normal(size=(4, 32)).astype(np.float32)
FEW, MANY = 60, int(os.environ.get("PE_INSPECT_FUZZ", "600"))
"""Files a reader; `make nightly` asks 100,000 in the sweep (`PE_INSPECT_FUZZ=100000`)."""


class Small(torch.nn.Module):
    """A table and a matrix."""

    def __init__(self):
        super().__init__()
        self.pos_embed = torch.nn.Parameter(torch.ones(4, 8))
        self.head = torch.nn.Linear(8, 2)

    def forward(self, x):
        return self.head(x + self.pos_embed)


def _onnx(path):
    def node(op, name, *inputs, **more):
        return helper.make_node(op, list(inputs), [f"{name}_out"], name=name, **more)

    bias = np.zeros((1, 2, 6, 6), np.float32)
    bias[0] = np.arange(6)[:, None] - np.arange(6)
    nodes = [
        node("DequantizeLinear", "/dq", "w_quantized", "w_scale"),
        node("MatMul", "/fc/MatMul", "x", "/dq_out"),
        node("Concat", "/Concat", "onnx::Concat_1", "onnx::Concat_2", axis=1),
        node("Add", "/Add", "x", "/Concat_out"),
        node("Add", "/a/Add", "s", "onnx::Add_9"),
        node("Softmax", "/a/Softmax", "/a/Add_out"),
    ]
    arrays = {
        "w_quantized": np.ones((4, 3), np.int8), "w_scale": np.float32([0.5]),
        "onnx::Concat_1": ROWS[None, :1, :4], "onnx::Concat_2": ROWS[None, :, :4],
        "onnx::Add_9": bias,
    }  # fmt: skip
    constants = [numpy_helper.from_array(values, name) for name, values in arrays.items()]
    half = helper.make_tensor("norm.weight", onnx.TensorProto.FLOAT16, [4], [1, 2, 3, 4])
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [], [], [*constants, half])), path)


def _gguf(path):
    writer = GGUFWriter(path, "clip")
    writer.add_array("names", ["a", "bc"])
    writer.add_tensor("v.position_embd.weight", ROWS)
    kind = GGMLQuantizationType.Q4_0
    writer.add_tensor("v.blk.0.ffn.weight", quants.quantize(ROWS, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _flax(path):
    packed = msgpack.packb((ROWS.shape, "float32", ROWS.tobytes()))
    layer = {"kernel": msgpack.ExtType(1, packed), "bias": msgpack.ExtType(1, packed)}
    path.write_bytes(msgpack.packb({"params": {"a": {"0": layer}, "n": [1, 2.5, None]}}))


def _keras(path):
    with h5py.File(path, "w") as file:
        file["layers/dense/vars/0"] = ROWS
        file["layers/dense/vars/1"] = ROWS[0]
        file["layers/dense/vars"].attrs["name"] = "head"
        file.create_dataset("layers/pos/vars/0", data=ROWS, compression="gzip")


def _pt2(path):
    torch.export.save(torch.export.export(Small(), (torch.zeros(4, 8),)), path)


def _torchscript(path):
    torch.jit.save(torch.jit.trace(Small(), (torch.zeros(4, 8),)), path)


FILES = {
    "m.onnx": _onnx,
    "m.gguf": _gguf,
    "m.msgpack": _flax,
    "m.h5": _keras,
    "m.pt2": _pt2,
    "m.pt": _torchscript,
}


@pytest.mark.parametrize("name", FILES)
def test_damaged_files_are_read_or_refused(name, tmp_path):
    FILES[name](tmp_path / name)
    assert fuzz((tmp_path / name).read_bytes(), tmp_path / name, FEW) < FEW


@pytest.mark.sweep
@pytest.mark.parametrize("name", FILES)
def test_many_damaged_files_are_read_or_refused(name, tmp_path):
    FILES[name](tmp_path / name)
    assert fuzz((tmp_path / name).read_bytes(), tmp_path / name, MANY) < MANY


def _dcp(folder):
    dcp.save({"model": {"pos_embed": torch.ones(4, 8), "b": torch.ones(3)}}, checkpoint_id=folder)


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.sweep)])
@pytest.mark.parametrize("name", [".metadata", "__0_0.distcp"])
def test_damaged_folders_are_read_or_refused(name, count, tmp_path):
    _dcp(tmp_path / "run")
    path = tmp_path / "run" / name
    assert fuzz(path.read_bytes(), path, count // 2, opened=tmp_path / "run") < count
