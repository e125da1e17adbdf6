"""Small files that once cost gigabytes, minutes or a traceback, each made by a few lines.

`python tests/hostile/corpus.py FOLDER` writes them all; `tests/hostile/test_corpus.py` reads them.
"""

from __future__ import annotations

import io
import json
import pickle
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

__all__ = ["CORPUS", "write_corpus"]

CORPUS: dict[str, Callable[[], bytes]] = {}
"""File name → what makes its content."""


def hostile(name: str) -> Callable[[Callable[[], bytes]], Callable[[], bytes]]:
    """Enter a maker under its file's name."""

    def enter(make: Callable[[], bytes]) -> Callable[[], bytes]:
        CORPUS[name] = make
        return make

    return enter


def write_corpus(folder: Path) -> list[Path]:
    """Write every file, and return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in CORPUS.items():
        (folder / name).write_bytes(make())
    return [folder / name for name in CORPUS]


def torch_zip(pickled: bytes, method: int = zipfile.ZIP_STORED, **members: bytes) -> bytes:
    """An archive as torch.save writes it, around a pickle."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        file.writestr("archive/data.pkl", pickled)
        file.writestr("archive/version", b"3\n")
        for key, content in members.items():
            file.writestr(f"archive/data/{key}", content)
    return out.getvalue()


def safetensors(header: str | dict, data: bytes = b"") -> bytes:
    """A file of that header."""
    text = header.encode() if isinstance(header, str) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def vit(**changes: tuple[int, ...]) -> bytes:
    """A small ViT of zeros, with tensors of other shapes."""
    shapes = {
        "pos_embed": (1, 10, 8), "cls_token": (1, 1, 8), "patch_embed.proj.weight": (8, 3, 4, 4),
        "blocks.0.norm1.weight": (8,), "blocks.0.norm1.bias": (8,), "norm.weight": (8,),
    }  # fmt: skip
    shapes |= {name.replace("__", "."): shape for name, shape in changes.items()}
    header, place = {}, 0
    for name, shape in shapes.items():
        end = place + 4 * int(np.prod(shape, dtype=object))
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [place, end]}
        place = end
    return safetensors(header, bytes(place))


# opcodes of pickles, by hand: what no pickler writes

PROTO, STOP = b"\x80\x02", b"."


def text(word: str) -> bytes:
    """BINUNICODE."""
    raw = word.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def call(name: str, *arguments: bytes) -> bytes:
    """GLOBAL, a tuple, REDUCE."""
    module, _, short = name.rpartition(".")
    return b"c" + f"{module}\n{short}\n".encode() + b"(" + b"".join(arguments) + b"tR"


def doubling(name: str, times: int) -> bytes:
    """Something, then `name(x, x)` again and again."""
    body = text("x" * 64) + b"q\x00"
    for _ in range(times):
        body += b"c" + "{}\n{}\n".format(*name.rsplit(".", 1)).encode() + b"(h\x00h\x00tRq\x00"
    return PROTO + body + STOP


def nested(depth: int, opened: bytes = b"]", closed: bytes = b"a") -> bytes:
    return opened * depth + closed * (depth - 1)


@hostile("path_doubling.pth")
def _() -> bytes:
    return torch_zip(doubling("pathlib.PosixPath", 34))


@hostile("device_of_a_nest.pth")
def _() -> bytes:
    return torch_zip(PROTO + call("torch.device", nested(3000)) + STOP)


@hostile("ordered_copies.pth")
def _() -> bytes:
    whole = b"}(" + b"".join(b"K%cK\x01" % i for i in range(256)) + b"uq\x00"
    copies = b"".join(call("collections.OrderedDict", b"h\x00") for _ in range(40_000))
    return torch_zip(PROTO + whole + b"(" + copies + b"l" + STOP)


@hostile("encoded_copies.pth")
def _() -> bytes:
    whole = text("x" * 1_000_000) + b"q\x00"
    copies = b"".join(call("_codecs.encode", b"h\x00", text("latin1")) for _ in range(3000))
    return torch_zip(PROTO + whole + b"(" + copies + b"l" + STOP)


@hostile("lists_without_end.pth")
def _() -> bytes:
    return torch_zip(b"\x80\x02" + b"]" * 40_000_000, zipfile.ZIP_DEFLATED)


@hostile("lists.pth")
def _() -> bytes:
    return torch_zip(b"\x80\x02" + b"]" * 5_000_000)


@hostile("memo_without_end.pkl")
def _() -> bytes:
    return b"\x80\x04N" + b"\x94" * 3_000_000 + STOP


@hostile("huge_key.pth")
def _() -> bytes:
    return pickle.dumps({"x" * 1_000_000: [{"a": 1}] * 10_000, "w": np.ones(3)}, protocol=2)


@hostile("one_list_many_names.pth")
def _() -> bytes:
    shared = [np.ones(1), *range(50_000)]
    return pickle.dumps({f"part{i}": shared for i in range(2000)}, protocol=4)


@hostile("big_number.pth")
def _() -> bytes:
    return torch_zip(PROTO + b"}" + b"\x8b" + struct.pack("<I", 1 << 20) + bytes(1 << 20) + b"Ns.")


def _tensor(key: bytes, shape: bytes, strides: bytes) -> bytes:
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + key + text("cpu") + b"K\x04tQ"
    return call("torch._utils._rebuild_tensor_v2", storage, b"K\x00", shape, strides, b"\x89", b"}")


def _sides(*sides: int) -> bytes:
    return b"(" + b"".join(b"J" + struct.pack("<i", side) for side in sides) + b"t"


@hostile("strides_of_zero.pth")
def _() -> bytes:
    wide = _tensor(text("0"), _sides(1, 250_000, 1000), _sides(0, 0, 0))
    body = b"}(" + text("pos_embed") + wide
    body += text("patch_embed.proj.weight") + _tensor(
        text("0"), _sides(1000, 3, 4, 4), _sides(*[0] * 4)
    )
    return torch_zip(PROTO + body + b"u.", **{"0": bytes(16)})


@hostile("key_of_a_nest.pth")
def _() -> bytes:
    nest = b")" + b"\x85" * 20_000
    body = b"}(" + text("w") + _tensor(nest, _sides(4), _sides(1)) + b"u."
    return torch_zip(PROTO + body, **{"0": bytes(16)})


def _legacy(tree: bytes, order: bytes, data: bytes = b"") -> bytes:
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
    head = magic + pickle.dumps(1001, protocol=2) + pickle.dumps({"little_endian": True}, 2)
    return head + tree + order + data


@hostile("legacy_nested_keys.pt")
def _() -> bytes:
    return _legacy(PROTO + b"}.", PROTO + b"](" + b")" + b"\x85" * 100_000 + b"e.")


@hostile("legacy_long_keys.pt")
def _() -> bytes:
    digits = b"\x8b" + struct.pack("<I", 200) + b"\x7f" * 200
    return _legacy(PROTO + b"}.", PROTO + b"](" + digits + b"e.")


@hostile("legacy_long_shape.pt")
def _() -> bytes:
    side = b"\x8b" + struct.pack("<I", 2500) + b"\x7f" * 2500
    tree = PROTO + b"}(" + text("w") + _tensor(text("0"), b"(" + side + b"t", _sides(1)) + b"u."
    return _legacy(tree, PROTO + b"](" + text("0") + b"e.", struct.pack("<Q", 4) + bytes(16))


def _packed(method: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        file.writestr("pos_embed.npy", bytes(100_000_000))
    return out.getvalue()


@hostile("bzip2.npz")
def _() -> bytes:
    return _packed(zipfile.ZIP_BZIP2)


@hostile("lzma.npz")
def _() -> bytes:
    return _packed(zipfile.ZIP_LZMA)


@hostile("bomb.npz")
def _() -> bytes:
    return _packed(zipfile.ZIP_DEFLATED)


def npy(header: str, version: int = 1) -> bytes:
    raw = header.encode("latin-1")
    length = struct.pack("<H" if version == 1 else "<I", len(raw))
    return b"\x93NUMPY" + bytes([version, 0]) + length + raw


def _member(content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.npy", content)
    return out.getvalue()


@hostile("header_of_a_gigabyte.npz")
def _() -> bytes:
    return _member(b"\x93NUMPY\x02\x00" + struct.pack("<I", 1_500_000_000) + b" " * 10_000_000)


@hostile("long_shape.npy")
def _() -> bytes:
    return npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({'9' * 4200},), }}")


@hostile("longer_shape.npy")
def _() -> bytes:
    return npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({'9' * 5200},), }}")


@hostile("wrong_shape.npy")
def _() -> bytes:
    return npy("{'descr': '<f4', 'fortran_order': False, 'shape': ('a', 2.5, None), }")


@hostile("no_shape.npy")
def _() -> bytes:
    return npy("{'descr': '<f4', 'fortran_order': False, 'shape': 3 if 1is 1 else '\\d', }")


@hostile("alias_type.npy")
def _() -> bytes:
    return npy("{'descr': 'a10', 'fortran_order': False, 'shape': (3,), }") + bytes(30)


@hostile("nested_header.npy")
def _() -> bytes:
    return npy("(" * 4000)


@hostile("many_axes.npy")
def _() -> bytes:
    return npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({'1,' * 4000}), }}")


@hostile("far_block.safetensors")
def _() -> bytes:
    return vit(blocks__999999999__norm1__weight=(8,), blocks__999999999__norm1__bias=(8,))


@hostile("block_of_digits.safetensors")
def _() -> bytes:
    return vit(**{f"blocks__{'9' * 5000}__norm1__weight": (8,)})


@hostile("block_of_some_digits.safetensors")
def _() -> bytes:
    return vit(**{f"blocks__{'9' * 400}__norm1__weight": (8,)})


for _name in ("pos_embed", "blocks__0__norm1__weight", "cls_token", "patch_embed__proj__weight"):
    for _shape in ((10**9, 0), (0, 10**9), (1, 10**9, 0)):
        CORPUS[f"{_name}_{len(_shape)}_{_shape[0]}.safetensors"] = lambda n=_name, s=_shape: vit(
            **{n: s}
        )


def _meta(*sides: int) -> bytes:
    """A tensor on the meta device: a shape, and nothing else."""
    return call(
        "torch._utils._rebuild_meta_tensor_no_storage", b"ctorch\nfloat32\n", _sides(*sides)
    )


def _on_meta(**shapes: tuple[int, ...]) -> bytes:
    known = {
        "pos_embed": (1, 10, 8),
        "cls_token": (1, 1, 8),
        "patch_embed__proj__weight": (8, 3, 4, 4),
    }
    items = {name.replace("__", "."): _meta(*shape) for name, shape in {**known, **shapes}.items()}
    return torch_zip(PROTO + b"}(" + b"".join(text(k) + v for k, v in items.items()) + b"u.")


LARGE = {
    "pos_embed": (1, 2_000_000_001, 8),
    "blocks__0__attn__relative_position_bias_table": (2_000_000_001, 3),
    "blocks__0__attn__rel_pos_h": (2_000_000_001, 8),
    "blocks__0__attn__attention_biases": (3, 2_000_000_001),
    "layers__0__blocks__0__attn__relative_position_bias_table": (1_999_810_561, 3),
    "layers__0__blocks__0__attn__relative_position_index": (44_000, 44_000),
    "rope__freqs": (2, 12, 2_000_000_000),
    "patch_embed__proj__weight": (2_000_000_000, 3, 2_000_000_000, 2_000_000_000),
    "blocks__0__norm1__weight": (2_000_000_000,),
}
for _name, _shape in LARGE.items():
    CORPUS[f"meta_{_name}.pth"] = lambda n=_name, s=_shape: _on_meta(**{n: s})


@hostile("empty_scale.safetensors")
def _() -> bytes:
    return vit(blocks__0__gamma_1=(10**9, 0), blocks__0__attn__logit_scale=(10**9, 0))


@hostile("named_twice.safetensors")
def _() -> bytes:
    entry = '{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    names = [f'"w{i}":{entry}' for i in range(30_000)]
    return safetensors("{" + ",".join([*names, names[-1]]) + "}")


@hostile("many_axes.safetensors")
def _() -> bytes:
    return safetensors(
        {"a": {"dtype": "F32", "shape": [1] * 100_000, "data_offsets": [0, 4]}}, bytes(4)
    )


@hostile("lists.safetensors")
def _() -> bytes:
    return safetensors('{"a":[' + "[]," * 6_000_000 + "[]]}")


@hostile("nested.safetensors")
def _() -> bytes:
    return safetensors('{"a":' + "[" * 90_000 + "]" * 90_000 + "}")


@hostile("nested_metadata.pe.safetensors")
def _() -> bytes:
    metadata = {"pe_inspect": "[" * 100_000}
    return safetensors({"__metadata__": metadata})


@hostile("long_offsets.safetensors")
def _() -> bytes:
    return safetensors('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,' + "9" * 4000 + "]}}")


@hostile("words_in_metadata.safetensors")
def _() -> bytes:
    return safetensors({"__metadata__": {"pe_inspect": 3, "x": [1]}})


def extraction(**changes: object) -> bytes:
    """A saved extraction, with other values in its header."""
    about = {
        "version": 1, "family": "learned_absolute", "kind": "vectors", "join": "input",
        "layers": [["input", [3, 4], 0, "", ["layer.0"]]], "norms": [], "relation": {}, "facts": {},
    }  # fmt: skip
    said = json.dumps({**about, **changes})
    entry = {"dtype": "F32", "shape": [12, 8], "data_offsets": [0, 384]}
    return safetensors({"__metadata__": {"pe_inspect": said}, "layer.0": entry}, bytes(384))


WRONG = {
    "depth": "deep", "num_prefix_tokens": float("inf"),
    "norms": [["blocks.0", "norm1", float("inf")]],
    "layers": [["input", ["a", "b"], 0, "", ["layer.0"]]], "patch_size": [[1], 2], "keys": 3,
    "relation": {"combine": 7}, "facts": [1], "kind": {}, "join": 5, "notes": [[[]]],
    "stored": "yes", "num_parameters": 10**60,
}  # fmt: skip
for _field, _value in WRONG.items():
    CORPUS[f"wrong_{_field}.pe.safetensors"] = lambda f=_field, v=_value: extraction(**{f: v})
CORPUS["rows_of_infinity.pe.safetensors"] = lambda: extraction(
    layers=[["input", [3, float("inf")], 0, "", ["layer.0"]]]
)
CORPUS["depth_beyond.pe.safetensors"] = lambda: extraction(depth=10**12)
CORPUS["rows_beyond.pe.safetensors"] = lambda: extraction(
    layers=[["input", [3, 4], 10**18, "", ["layer.0"]]]
)


if __name__ == "__main__":
    sys.stdout.writelines(f"{path}\n" for path in write_corpus(Path(sys.argv[1])))
