"""GGUF files that the gguf package writes, and quantises, are what it says they are."""

from __future__ import annotations

import struct

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind

import pe_inspect as pei
from pe_inspect.errors import UnreadableCheckpoint, UsageError
from pe_inspect.loading import load
from pe_inspect.loading.gguf.blocks import BLOCKS, NAMES, PLAIN

RNG = np.random.default_rng(2)


def _tower():
    """A vision tower under llama.cpp's names: a 3×4 grid, one prefix token, two blocks."""
    shapes = {"v.class_embd": (32,), "v.position_embd.weight": (13, 32), "v.pre_ln.weight": (32,)}
    shapes["v.patch_embd.weight"] = (32, 3, 16, 16)
    for block in ("v.blk.0.", "v.blk.1."):
        for name in ("ln1", "ln2"):
            shapes |= {f"{block}{name}.weight": (32,), f"{block}{name}.bias": (32,)}
        for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
            shapes |= {f"{block}{name}.weight": (32, 32), f"{block}{name}.bias": (32,)}
        shapes |= {f"{block}ffn_up.weight": (64, 32), f"{block}ffn_down.weight": (32, 64)}
    return {name: RNG.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def _write(path, tensors, kinds=()):
    """Write as llama.cpp's converter does; `kinds` are those of single tensors."""
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_uint32("clip.vision.patch_size", 16)
    if len(tensors.get("v.position_embd.weight", ())) == 10:
        writer.add_uint32("clip.vision.image_size", 48)
    writer.add_uint32("clip.vision.attention.head_count", 4)
    writer.add_uint32("clip.vision.block_count", 2)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-6)
    writer.add_array("tokenizer.tokens", [f"word {i}" for i in range(300)])
    writer.add_array("clip.vision.image_mean", [0.5, 0.5, 0.5])
    for name, values in tensors.items():
        kind = dict(kinds).get(name, Kind.F32)
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_tower_s_table_is_found_with_what_the_settings_say(tmp_path):
    tower = _tower()
    path = _write(tmp_path / "mmproj.gguf", tower)
    ckpt = load(path)
    assert ckpt.format == "gguf"
    assert all((ckpt.tensor(name) == tower[ckpt.stored_key(name)]).all() for name in ckpt.keys)
    assert len(ckpt) == len(tower)
    hints = ckpt.hints
    assert (hints.num_heads, hints.patch_size, hints.ln_eps) == (4, (16, 16), 1e-6)
    (table,) = pei.extract(load(path, grid_size=(3, 4)))
    assert (table.grid_size, table.num_prefix_rows, table.embed_dim) == ((3, 4), 1, 32)


QUANTISED = [Kind.F16, Kind.BF16, Kind.Q8_0, Kind.Q4_0, Kind.Q4_1, Kind.Q5_0, Kind.Q5_1]


@pytest.mark.parametrize("kind", QUANTISED, ids=lambda kind: kind.name)
def test_narrow_numbers_are_widened_to_the_bit(kind, tmp_path):
    values = RNG.normal(size=(6, 64)).astype(np.float32)
    path = _write(tmp_path / "m.gguf", {"pos_embed": values}, {"pos_embed": kind})
    wanted = gguf.quants.dequantize(gguf.quants.quantize(values, kind), kind)
    np.testing.assert_array_equal(load(path).tensor("pos_embed"), wanted)


BY_BLOCKS = [kind for kind in Kind if kind.value in BLOCKS and kind.name != "Q8_K"]


@pytest.mark.parametrize("kind", BY_BLOCKS, ids=lambda kind: kind.name)
def test_blocks_of_any_bytes_are_what_ggml_makes_of_them(kind):
    block = BLOCKS[kind.value]
    assert (block.numbers, block.nbytes) == gguf.GGML_QUANT_SIZES[kind]
    packed = RNG.integers(0, 256, (50, block.nbytes), np.uint8)
    with np.errstate(all="ignore"):
        found = block.widen(packed)
        wanted = gguf.quants.dequantize(packed, kind)
    finite = np.isfinite(wanted)
    np.testing.assert_array_equal(found[finite], wanted[finite])


def test_blocks_of_256_bytes_with_one_scale_are_its_multiples():
    whole = RNG.integers(-128, 128, (3, 256)).astype(np.int8)
    scale = np.float32([[0.5], [1.25], [-3]])
    packed = np.hstack([scale.view(np.uint8), whole.view(np.uint8), np.zeros((3, 32), np.uint8)])
    np.testing.assert_array_equal(BLOCKS[15].widen(packed), scale * whole)


def test_every_type_of_the_package_is_read_or_has_a_name():
    named = {kind.value: kind.name for kind in Kind}
    assert {**PLAIN, **BLOCKS, **NAMES}.keys() >= named.keys() - {41}
    assert all(named.get(number, name) == name for number, name in NAMES.items())


def _with_type(path, kind):
    """Change the type of the file's only tensor, whose entry ends its head."""
    content = bytearray(path.read_bytes())
    at = content.rindex(b"pos_embed") + len(b"pos_embed") + 4 + 16
    content[at : at + 4] = struct.pack("<I", kind)
    path.write_bytes(content)


@pytest.mark.parametrize(("kind", "said"), [(23, "quantised as IQ4_XS"), (77, "as type 77")])
def test_an_unknown_quantisation_is_listed_and_named(kind, said, tmp_path):
    path = _write(tmp_path / "m.gguf", {"pos_embed": np.ones((4, 32), np.float32)})
    _with_type(path, kind)
    ckpt = load(path)
    assert ckpt.shape("pos_embed") == (4, 32)
    with pytest.raises(UnreadableCheckpoint, match=said):
        ckpt.tensor("pos_embed")


def test_a_truncated_file_is_caught_at_every_length(tmp_path):
    path = _write(tmp_path / "m.gguf", {"pos_embed": np.ones((4, 32), np.float32)})
    whole = path.read_bytes()
    for length in range(4, len(whole) - 32, 211):
        path.write_bytes(whole[:length])
        with pytest.raises(UnreadableCheckpoint):
            load(path)


@pytest.mark.parametrize(("at", "value"), [(8, 1 << 60), (16, 1 << 60), (4, 1), (4, 3 << 24)])
def test_a_head_that_lies_is_one_line(at, value, tmp_path):
    path = _write(tmp_path / "m.gguf", {"pos_embed": np.ones((4, 32), np.float32)})
    content = bytearray(path.read_bytes())
    content[at : at + 4] = struct.pack("<Q", value)[:4] if at == 4 else content[at : at + 4]
    if at != 4:
        content[at : at + 8] = struct.pack("<Q", value)
    path.write_bytes(content)
    with pytest.raises(UnreadableCheckpoint, match="is truncated or damaged"):
        load(path)


@pytest.fixture
def square(tmp_path):
    """A square tower: 3×3 patches of 16 pixels and a class token, its table in half floats."""
    tower = _tower() | {"v.position_embd.weight": RNG.normal(size=(10, 32)).astype(np.float32)}
    kinds = {"v.position_embd.weight": Kind.F16, "v.blk.0.attn_q.weight": Kind.Q8_0}
    return _write(tmp_path / "m.gguf", tower, kinds)


def test_a_written_file_has_the_new_table_and_its_image_size(square, tmp_path):
    target = tmp_path / "new.gguf"
    pei.bake(square, target, res=80)
    old, new = gguf.GGUFReader(square), gguf.GGUFReader(target)
    sizes = [reader.fields["clip.vision.image_size"].contents() for reader in (old, new)]
    assert sizes == [48, 80]
    assert [t.name for t in new.tensors] == [t.name for t in old.tensors]
    for before, after in zip(old.tensors, new.tensors):
        if before.name == "v.position_embd.weight":
            assert (after.data.shape, after.tensor_type) == ((26, 32), Kind.F16)
        else:
            np.testing.assert_array_equal(after.data, before.data, err_msg=before.name)
    (table,) = pei.extract(target)
    assert (table.grid_size, table.num_prefix_rows) == ((5, 5), 1)


def test_a_grid_that_is_no_square_is_refused(square, tmp_path):
    with pytest.raises(UsageError, match=r"no square; llama\.cpp"):
        pei.bake(square, tmp_path / "new.gguf", grid=(3, 5))
    assert not (tmp_path / "new.gguf").exists()


def test_a_quantised_table_is_not_written_and_says_what_to_do(tmp_path):
    tower = _tower() | {"v.position_embd.weight": RNG.normal(size=(10, 32)).astype(np.float32)}
    path = _write(tmp_path / "m.gguf", tower, {"v.position_embd.weight": Kind.Q8_0})
    with pytest.raises(UsageError, match=r"quantised \(Q8_0\).*Write from the \.safetensors"):
        pei.bake(path, tmp_path / "new.gguf", res=80)
