"""ONNX models of torch's two exporters are the originals, and so are graphs made by hand."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import timm
import torch
from onnx import TensorProto, helper, numpy_helper
from wire_messages import message

import pe_inspect as pei
from pe_inspect.errors import UnreadableCheckpoint
from pe_inspect.loading import load

pytestmark = pytest.mark.filterwarnings("ignore")


def _random(model):
    rng = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        with torch.no_grad():
            parameter.copy_(torch.randn(parameter.shape, generator=rng) * 0.3)
    return model.eval()


def _vit():
    sizes = {"img_size": (48, 64), "depth": 2, "embed_dim": 24, "num_heads": 3, "num_classes": 5}
    return _random(timm.create_model("vit_tiny_patch16_224", **sizes)), (1, 3, 48, 64)


def _swin():
    sizes = {"img_size": (32, 48), "window_size": (4, 2), "depths": (2,), "embed_dim": 12}
    name = "swin_tiny_patch4_window7_224"
    return _random(timm.create_model(name, num_heads=(2,), num_classes=5, **sizes)), (1, 3, 32, 48)


def _dinov2():
    from transformers import Dinov2Config, Dinov2Model

    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3}
    return _random(Dinov2Model(Dinov2Config(image_size=56, **sizes))), (1, 3, 56, 70)


def _rotary():
    sizes = {"img_size": (42, 56), "depth": 2, "embed_dim": 24, "num_heads": 3, "num_classes": 5}
    return _random(timm.create_model("eva02_tiny_patch14_224", **sizes)), (1, 3, 42, 56)


MODELS = {"vit": _vit, "swin": _swin, "dinov2": _dinov2, "rotary": _rotary}
TABLES = {
    "vit": "pos_embed",
    "swin": "layers.0.blocks.1.attn.relative_position_bias_table",
    "dinov2": "embeddings.position_embeddings",
    "rotary": "pos_embed",
}


def _export(kind, path, *, dynamo=False, fold=True):
    model, shape = MODELS[kind]()
    fused = timm.layers.use_fused_attn()
    timm.layers.set_fused_attn(enable=False)
    model, shape = MODELS[kind]()
    more = {"external_data": False} if dynamo else {"do_constant_folding": fold}
    torch.onnx.export(model, (torch.zeros(shape),), path, dynamo=dynamo, verbose=False, **more)
    timm.layers.set_fused_attn(enable=bool(fused))
    return model.state_dict()


def _hold_the_same(ckpt, state, skipped=()):
    for name, value in state.items():
        if name in skipped or not value.is_floating_point():
            continue
        np.testing.assert_array_equal(ckpt.tensor(name), value.numpy(), err_msg=name)


@pytest.mark.parametrize("kind", ["vit", "swin", "dinov2"])
def test_a_folded_export_has_the_original_s_names_and_numbers(kind, tmp_path):
    state = _export(kind, tmp_path / "m.onnx")
    ckpt = load(tmp_path / "m.onnx")
    assert ckpt.format == "onnx"
    _hold_the_same(ckpt, state, skipped={"embeddings.mask_token"})


@pytest.mark.sweep
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("way", ["dynamo", "folded", "not folded"])
def test_every_way_of_exporting_keeps_tables_and_biases(kind, way, tmp_path):
    state = _export(kind, tmp_path / "m.onnx", dynamo=way == "dynamo", fold=way == "folded")
    ckpt = load(tmp_path / "m.onnx")
    if (kind, way) != ("dinov2", "dynamo"):  # where the resized table alone is left
        name = TABLES[kind]
        np.testing.assert_array_equal(ckpt.tensor(name), state[name].numpy())
    matrices = [name for name in state if name.endswith(("proj.weight", "fc1.weight"))]
    _hold_the_same(ckpt, {name: state[name] for name in matrices})


def test_the_graph_tells_the_grid_and_the_epsilon(tmp_path):
    inputs = ["x", "norm.weight", "norm.bias"]
    nodes = [_node("Add", "/Add", "x", "pos_embed"), _node("LayerNormalization", "/norm", *inputs)]
    nodes[1].attribute.append(helper.make_attribute("epsilon", 1e-6))
    norm = {name: np.ones(8, np.float32) for name in inputs[1:]}
    kernel = {"patch_embed.proj.weight": np.ones((8, 3, 16, 16), np.float32)}
    model = _model(nodes, {"pos_embed": ROWS, **norm, **kernel})
    sides = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 48, 64])
    model.graph.input[0].CopyFrom(sides)
    onnx.save(model, tmp_path / "m.onnx")
    (table,) = pei.extract(tmp_path / "m.onnx")
    assert table.grid_size == (3, 4)
    hints = load(tmp_path / "m.onnx").hints
    assert (hints.img_size, hints.ln_eps) == ((48, 64), 1e-6)


def _model(nodes, constants, *, path=None, **about):
    """Save a graph of single-output nodes over constants by name."""
    initializers = [
        value if isinstance(value, TensorProto) else numpy_helper.from_array(value, name)
        for name, value in constants.items()
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 12, 8])]
    graph = helper.make_graph(nodes, "g", inputs, [], initializers)
    model = helper.make_model(graph, producer_name="test", **about)
    if path is not None:
        onnx.save(model, path)
    return model


def _node(op, name, *inputs, **attributes):
    return helper.make_node(op, list(inputs), [f"{name}_out"], name=name, **attributes)


RNG = np.random.default_rng(5)
ROWS = RNG.normal(size=(1, 12, 8)).astype(np.float32)
ROW = RNG.normal(size=(1, 1, 8)).astype(np.float32)


def test_a_table_in_two_parts_is_joined_in_the_order_of_its_rows(tmp_path):
    nodes = [
        _node("Reshape", "/Reshape", "onnx::Reshape_2", "shape"),
        _node("Concat", "/Concat", "onnx::Concat_1", "/Reshape_out", axis=1),
        _node("Add", "/Add", "x", "/Concat_out"),
    ]
    shape = np.array([1, 12, 8])
    constants = {"onnx::Concat_1": ROW, "onnx::Reshape_2": ROWS, "shape": shape}
    _model(nodes, constants, path=tmp_path / "m.onnx")
    ckpt = load(tmp_path / "m.onnx")
    np.testing.assert_array_equal(ckpt.tensor("pos_embed"), np.concatenate([ROW, ROWS], 1))
    assert "tables joined from the rows that folding cut them into: 1" in ckpt.notes


def test_a_folded_class_token_stays_beside_its_table(tmp_path):
    nodes = [
        _node("Add", "/Add", "x", "onnx::Add_1"),
        _node("Concat", "/Concat", "onnx::Concat_2", "/Add_out", axis=1),
    ]
    _model(nodes, {"onnx::Add_1": ROWS, "onnx::Concat_2": ROW}, path=tmp_path / "m.onnx")
    ckpt = load(tmp_path / "m.onnx")
    np.testing.assert_array_equal(ckpt.tensor("pos_embed"), ROWS)
    np.testing.assert_array_equal(ckpt.tensor("cls_token"), ROW)


def _gathered(table, window, prefix=0):
    """A loop over pairs of tokens, as the definition says it."""
    height, width = window
    tokens, rows = height * width + prefix, (2 * height - 1) * (2 * width - 1)
    bias = np.empty((table.shape[1], tokens, tokens), np.float32)
    for i in range(tokens):
        for j in range(tokens):
            if min(i, j) < prefix:
                row = rows + (2 if i == j else i >= prefix)
            else:
                (y, x), (v, u) = divmod(i - prefix, width), divmod(j - prefix, width)
                row = (y - v + height - 1) * (2 * width - 1) + x - u + width - 1
            bias[:, i, j] = table[row]
    return bias


def _attention(bias, path):
    nodes = [
        _node("MatMul", "/blocks.0/attn/MatMul", "q", "k"),
        _node("Add", "/blocks.0/attn/Add", "/blocks.0/attn/MatMul_out", "onnx::Add_9"),
        _node("Softmax", "/blocks.0/attn/Softmax", "/blocks.0/attn/Add_out"),
    ]
    _model(nodes, {"onnx::Add_9": bias}, path=path)


@pytest.mark.parametrize(("window", "prefix"), [((3, 5), 0), ((4, 3), 1)])
def test_a_gathered_bias_becomes_its_table_and_index(window, prefix, tmp_path):
    rows = (2 * window[0] - 1) * (2 * window[1] - 1) + 3 * prefix
    table = RNG.normal(size=(rows, 2)).astype(np.float32)
    _attention(_gathered(table, window, prefix)[None], tmp_path / "m.onnx")
    ckpt = load(tmp_path / "m.onnx")
    stem = "blocks.0.attn.relative_position"
    np.testing.assert_array_equal(ckpt.tensor(f"{stem}_bias_table"), table)
    index = ckpt.tensor(f"{stem}_index")
    np.testing.assert_array_equal(table[index].transpose(2, 0, 1), _gathered(table, window, prefix))


def test_a_bias_that_no_table_gathers_to_stays_as_it_is(tmp_path):
    bias = RNG.normal(size=(1, 2, 12, 12)).astype(np.float32)
    _attention(bias, tmp_path / "m.onnx")
    ckpt = load(tmp_path / "m.onnx")
    np.testing.assert_array_equal(ckpt.tensor("blocks.0.attn.relative_position_bias"), bias)


def test_a_mask_is_no_bias(tmp_path):
    _attention(np.zeros((1, 6, 1, 12, 12), np.float32), tmp_path / "m.onnx")
    assert list(load(tmp_path / "m.onnx").keys) == ["blocks.0.attn.attn_mask"]


def _typed(name, code, values):
    return helper.make_tensor(name, code, values.shape, values.ravel().tolist())


@pytest.mark.parametrize("code", [TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.FLOAT])
@pytest.mark.parametrize("is_raw", [True, False])
def test_narrow_floats_are_widened_however_they_are_written(code, is_raw, tmp_path):
    tensor = _typed("pos_embed", code, ROWS)
    wanted = numpy_helper.to_array(tensor).astype(np.float32)
    if is_raw:
        raw = numpy_helper.to_array(tensor)
        tensor = numpy_helper.from_array(raw, "pos_embed")
    _model([_node("Add", "/Add", "x", "pos_embed")], {"pos_embed": tensor}, path=tmp_path / "m")
    np.testing.assert_array_equal(load(tmp_path / "m").tensor("pos_embed"), wanted)


@pytest.mark.parametrize("axis", [0, 1])
def test_integers_with_a_scale_are_what_dequantize_linear_makes_of_them(axis, tmp_path):
    whole = RNG.integers(-128, 127, (6, 8)).astype(np.int8)
    scale = RNG.uniform(0.01, 0.1, whole.shape[axis]).astype(np.float32)
    zero = RNG.integers(-9, 9, whole.shape[axis]).astype(np.int8)
    stem = "onnx::MatMul_1"
    values = (whole, scale, zero)
    parts = dict(zip([f"{stem}_quantized", f"{stem}_scale", f"{stem}_zero_point"], values))
    nodes = [
        _node("DequantizeLinear", "/dq", *parts, axis=axis),
        _node("MatMul", "/blocks.0/fc/MatMul", "x", "/dq_out"),
    ]
    model = _model(nodes, parts, path=tmp_path / "m.onnx", opset_imports=[_opset(19)])
    from onnx.reference import ReferenceEvaluator

    single = helper.make_graph(nodes[:1], "g", [], [], model.graph.initializer)
    single.output.append(helper.make_tensor_value_info("/dq_out", TensorProto.FLOAT, whole.shape))
    alone = helper.make_model(single, opset_imports=[_opset(19)])
    (wanted,) = ReferenceEvaluator(alone).run(None, {})
    found = load(tmp_path / "m.onnx")
    np.testing.assert_allclose(found.tensor("blocks.0.fc.weight"), wanted.T, rtol=1e-6)
    assert "scaled integers widened: 1" in found.notes


def _opset(version):
    return helper.make_opsetid("", version)


@pytest.fixture
def outside(tmp_path):
    """A model whose numbers lie beside it."""
    model = _model([_node("Add", "/Add", "x", "pos_embed")], {"pos_embed": ROWS})
    how = {"save_as_external_data": True, "location": "m.data", "size_threshold": 0}
    onnx.save(model, tmp_path / "m.onnx", **how)
    return tmp_path / "m.onnx"


def test_numbers_beside_the_file_are_read_from_there(outside):
    np.testing.assert_array_equal(load(outside).tensor("pos_embed"), ROWS)


def test_missing_or_short_numbers_beside_the_file_are_told(outside):
    data = outside.with_name("m.data")
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(UnreadableCheckpoint, match=r"m\.data is truncated or damaged: pos_embed"):
        load(outside)
    data.unlink()
    with pytest.raises(UnreadableCheckpoint, match=r"keeps its numbers in 'm\.data', which is not"):
        load(outside)


@pytest.mark.parametrize("name", ["../m.data", "/etc/passwd", "a/../../m.data", "C:\\m.data", ""])
def test_numbers_outside_of_the_folder_are_not_looked_for(name, outside):
    model = onnx.load(outside, load_external_data=False)
    model.graph.initializer[0].external_data[0].value = name
    outside.write_bytes(model.SerializeToString())
    with pytest.raises(UnreadableCheckpoint, match="outside of its folder"):
        load(outside)


def test_a_folder_with_nothing_else_opens_its_onnx_file_with_its_config(tmp_path):
    (tmp_path / "onnx").mkdir()
    model = _model([_node("Add", "/Add", "x", "pos_embed")], {"pos_embed": ROWS})
    how = {"save_as_external_data": True, "location": "model.onnx_data", "size_threshold": 0}
    onnx.save(model, tmp_path / "onnx" / "model.onnx", **how)
    (tmp_path / "config.json").write_text('{"model_type": "vit", "num_attention_heads": 2}')
    ckpt = load(tmp_path)
    np.testing.assert_array_equal(ckpt.tensor("pos_embed"), ROWS)
    assert ckpt.hints.num_heads == 2


def test_numbers_of_four_bits_are_named_and_not_read(tmp_path):
    tensor = helper.make_tensor("pos_embed", TensorProto.INT4, (4, 8), [1] * 32)
    constants = {"pos_embed": tensor, "norm.weight": np.ones(8, np.float32)}
    _model([], constants, path=tmp_path / "m.onnx")
    with pytest.raises(UnreadableCheckpoint, match="numbers of int4"):
        load(tmp_path / "m.onnx").tensor("pos_embed")


def test_a_message_nested_without_end_is_one_line(tmp_path):
    nested = b""
    for _ in range(20_000):
        nested = message((1, nested))
    content = message((1, 8), (7, nested))
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(UnreadableCheckpoint, match=r"without weights|is truncated"):
        load(tmp_path / "m.onnx")


CUT = {
    "after a producer": b"\x08\x08\x12\x07pytorch\x1a\x052.1.0:\xd3\x01\n\x0f",
    "without a producer": b"\x08\x0a:\x1f\n\x0c\n\x01x",
}


@pytest.mark.parametrize("kind", CUT)
def test_a_cut_model_is_known_by_its_beginning(kind, tmp_path):
    (tmp_path / "m.pth").write_bytes(CUT[kind])
    with pytest.raises(UnreadableCheckpoint, match="is truncated, or no ONNX model"):
        load(tmp_path / "m.pth")


def test_a_truncated_model_is_caught_at_every_length(tmp_path):
    path = tmp_path / "m.onnx"
    _model([_node("Add", "/Add", "x", "pos_embed")], {"pos_embed": ROWS}, path=path)
    whole = path.read_bytes()
    for length in range(0, len(whole) - 40, 67):
        path.write_bytes(whole[:length])
        with pytest.raises(UnreadableCheckpoint):
            load(path)


def test_an_onnx_file_is_not_written_and_says_what_to_do(tmp_path):
    from pe_inspect.errors import UsageError
    from pe_inspect.loading.byte_source import LocalFile
    from pe_inspect.loading.rewriting import written_as

    path = tmp_path / "m.onnx"
    _model([_node("Add", "/Add", "x", "pos_embed")], {"pos_embed": ROWS}, path=path)
    with pytest.raises(UsageError, match="is onnx, and is not written: the sizes of its tokens"):
        written_as(LocalFile(path))
