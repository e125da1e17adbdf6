"""Flax's msgpack files, written by the msgpack package in the form that flax gives them."""

from __future__ import annotations

import msgpack
import numpy as np
import pytest

from pe_inspect.errors import UnreadableCheckpoint, UsageError
from pe_inspect.loading import load
from pe_inspect.loading.byte_source import LocalFile
from pe_inspect.loading.rewriting import written_as

RNG = np.random.default_rng(8)


def _array(values, dtype=None):
    """An array as flax.serialization packs it: an extension of shape, type and bytes."""
    said = (values.shape, dtype or values.dtype.name, values.tobytes())
    return msgpack.ExtType(1, msgpack.packb(said, use_bin_type=True))


def _numbers(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def _nested(flat):
    tree = {}
    for path, value in flat.items():
        *steps, last = path.split("/")
        node = tree
        for step in steps:
            node = node.setdefault(step, {})
        node[last] = value
    return tree


def _save(path, flat):
    packed = {name: v if isinstance(v, msgpack.ExtType) else _array(v) for name, v in flat.items()}
    path.write_bytes(msgpack.packb(_nested(packed), use_bin_type=True))
    return path


LAYER = "vit/encoder/layer/0"
PORT = {
    "vit/embeddings/cls_token": (1, 1, 8),
    "vit/embeddings/position_embeddings": (1, 13, 8),
    "vit/embeddings/patch_embeddings/projection/kernel": (4, 5, 3, 8),
    f"{LAYER}/attention/attention/query/kernel": (8, 6),
    f"{LAYER}/attention/attention/query/bias": (6,),
    f"{LAYER}/layernorm_before/scale": (8,),
    f"{LAYER}/layernorm_before/bias": (8,),
    "vit/word/embedding": (30, 8),
}


def test_a_port_of_pytorch_s_modules_has_their_names_and_axes(tmp_path):
    flat = {path: _numbers(*shape) for path, shape in PORT.items()}
    ckpt = load(_save(tmp_path / "flax_model.msgpack", flat))
    assert ckpt.format == "flax"
    wanted = {
        "embeddings.position_embeddings": flat["vit/embeddings/position_embeddings"],
        "embeddings.patch_embeddings.projection.weight": flat[
            "vit/embeddings/patch_embeddings/projection/kernel"
        ].transpose(3, 2, 0, 1),
        "encoder.layer.0.attention.attention.query.weight": flat[
            f"{LAYER}/attention/attention/query/kernel"
        ].T,
        "encoder.layer.0.layernorm_before.weight": flat[f"{LAYER}/layernorm_before/scale"],
        "word.weight": flat["vit/word/embedding"],
    }
    for name, values in wanted.items():
        np.testing.assert_array_equal(ckpt.tensor(name), values, err_msg=name)


def test_a_folder_of_it_opens_with_its_config(tmp_path):
    _save(tmp_path / "flax_model.msgpack", {p: _numbers(*s) for p, s in PORT.items()})
    (tmp_path / "config.json").write_text('{"model_type": "vit", "num_attention_heads": 2}')
    ckpt = load(tmp_path)
    assert (ckpt.hints.num_heads, ckpt.shape("embeddings.position_embeddings")) == (2, (1, 13, 8))


def test_jax_s_own_names_stay(tmp_path):
    table = _numbers(1, 13, 8)
    flat = {"params/Transformer/posembed_input/pos_embedding": table, "params/cls": table[:, :1]}
    flat["opt_state/mu/Transformer/posembed_input/pos_embedding"] = table
    ckpt = load(_save(tmp_path / "m.msgpack", flat))
    np.testing.assert_array_equal(ckpt.tensor("Transformer/posembed_input/pos_embedding"), table)
    assert len(ckpt) == 2


def test_narrow_numbers_and_arrays_in_pieces_are_whole(tmp_path):
    table = _numbers(4, 6)
    halves = (table.view(np.uint32) >> 16).astype(np.uint16)
    low = msgpack.ExtType(1, msgpack.packb((halves.shape, "bfloat16", halves.tobytes())))
    pieces = {str(i): _array(part) for i, part in enumerate(np.split(table.ravel(), [7, 20]))}
    said = {"__msgpack_chunked_array__": True, "shape": {"0": 4, "1": 6}, "chunks": pieces}
    path = tmp_path / "m.msgpack"
    path.write_bytes(msgpack.packb({"params": {"low": low, "pos_embed": said}}))
    ckpt = load(path)
    np.testing.assert_array_equal(ckpt.tensor("pos_embed"), table)
    wanted = (halves.astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(ckpt.tensor("low"), wanted)


def _deep(levels):
    return b"\x81\xa1a" * levels + b"\xc0"


BAD = {
    "deep": (_deep(5_000), "nested too deeply"),
    "many": (b"\x81\xa1a\xdd\xff\xff\xff\xff\xc0", "parts in 1 bytes"),
    "long": (b"\x81\xa1a\xc6\xff\xff\xff\xff\xc0", "within a value"),
    "no arrays": (msgpack.packb({"step": 3}), "without arrays"),
    "lie": (
        msgpack.packb({"a": msgpack.ExtType(1, msgpack.packb(((9, 9), "float32", b"abc")))}),
        "needs 324 bytes",
    ),
    "no array": (msgpack.packb({"a": msgpack.ExtType(1, b"\xc0")}), "an array that is none"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_file_that_lies_is_one_line(kind, tmp_path):
    content, said = BAD[kind]
    (tmp_path / "m.msgpack").write_bytes(content)
    with pytest.raises(UnreadableCheckpoint, match=said) as error:
        load(tmp_path / "m.msgpack")
    assert "\n" not in str(error.value)


def test_it_is_not_written_and_says_what_to_do(tmp_path):
    path = _save(tmp_path / "m.msgpack", {"pos_embed": _numbers(4, 6)})
    with pytest.raises(UsageError, match=r"is flax, and is not written: load it with flax"):
        written_as(LocalFile(path))
