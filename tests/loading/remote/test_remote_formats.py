"""Files of other tools behind a URL: the head comes, and the numbers that are asked for."""

from __future__ import annotations

import msgpack
import numpy as np
import onnx
import pytest
import torch
import torch.distributed.checkpoint as dcp
from gguf import GGUFWriter
from onnx import helper, numpy_helper

from pe_inspect.loading import load

pytestmark = pytest.mark.filterwarnings("ignore")
TABLE = np.arange(4 * 32, dtype=np.float32).reshape(4, 32)
LARGE = np.zeros((1024, 1024), np.float32)
ARRAYS = {"pos_embed": TABLE, "head.weight": LARGE, "norm.weight": TABLE[0]}


def _onnx(path):
    constants = [numpy_helper.from_array(values, name) for name, values in ARRAYS.items()]
    onnx.save(helper.make_model(helper.make_graph([], "g", [], [], constants)), path)


def _outside(path):
    constants = [numpy_helper.from_array(values, name) for name, values in ARRAYS.items()]
    model = helper.make_model(helper.make_graph([], "g", [], [], constants))
    how = {"save_as_external_data": True, "location": "m.onnx_data", "size_threshold": 0}
    onnx.save(model, path, **how)


def _gguf(path):
    writer = GGUFWriter(path, "clip")
    for name, values in ARRAYS.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _flax(path):
    def packed(values):
        said = (values.shape, "float32", values.tobytes())
        return msgpack.ExtType(1, msgpack.packb(said))

    path.write_bytes(msgpack.packb({name: packed(values) for name, values in ARRAYS.items()}))


def _dcp(path):
    state = {name: torch.from_numpy(values) for name, values in ARRAYS.items()}
    dcp.save({"model": state}, checkpoint_id=path.parent)


WRITERS = {
    "m.onnx": _onnx,
    "outside.onnx": _outside,
    "m.gguf": _gguf,
    "m.msgpack": _flax,
    ".metadata": _dcp,
}


@pytest.mark.parametrize("name", WRITERS)
def test_only_what_is_asked_for_is_fetched(name, server, tmp_path):
    folder = tmp_path / "written"
    folder.mkdir()
    WRITERS[name](folder / name)
    for file in folder.iterdir():
        server.put(f"/run/{file.name}", file.read_bytes())
    ckpt = load(f"{server.url}/run/{name}")
    np.testing.assert_array_equal(ckpt.tensor("pos_embed"), TABLE)
    assert ckpt.shape("head.weight") == LARGE.shape
    assert server.sent < LARGE.nbytes / 4
