"""Files of two gigabytes of every wire format, whose numbers are holes: they take no room on disk.

Written by hand where the format's own writer would need the numbers in memory; the tests hold the
readers against the real writers.
"""

from __future__ import annotations

import json
import math
import pickle
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

from large_vit import FLOAT32

__all__ = ["WRITERS"]

Shapes = Mapping[str, tuple[int, ...]]


def nbytes(shape: tuple[int, ...]) -> int:
    """Bytes of a float32 tensor."""
    return FLOAT32 * math.prod(shape)


def skip(file: IO[bytes], count: int) -> None:
    """Leave a hole; the file is as long as if it were written."""
    file.seek(count - 1, 1)
    file.write(b"\0")


def varint(value: int) -> bytes:
    """Return a number as protocol buffers write it."""
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


def payload(number: int, content: bytes) -> bytes:
    """Return one field of bytes."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def write_onnx(path: Path, shapes: Shapes) -> None:
    """Initializers alone, their numbers inline."""
    heads = []
    for name, shape in shapes.items():
        dims = b"".join(varint(1 << 3) + varint(side) for side in shape)
        said = dims + varint(2 << 3) + varint(1) + payload(8, name.encode())
        said += varint(9 << 3 | 2) + varint(nbytes(shape))
        whole = len(said) + nbytes(shape)
        heads.append((varint(5 << 3 | 2) + varint(whole) + said, nbytes(shape)))
    length = sum(len(head) + count for head, count in heads)
    with path.open("wb") as file:
        file.write(b"\x08\x08\x12\x04test" + varint(7 << 3 | 2) + varint(length))
        for head, count in heads:
            file.write(head)
            skip(file, count)


def write_gguf(path: Path, shapes: Shapes) -> None:
    """A head of llama.cpp's form, then one hole."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(shapes), 0)
    place = 0
    for name, shape in shapes.items():
        head += struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", len(shape))
        head += struct.pack(f"<{len(shape)}Q", *shape[::-1]) + struct.pack("<IQ", 0, place)
        place += -(-nbytes(shape) // 32) * 32
    with path.open("wb") as file:
        file.write(head + bytes(-len(head) % 32))
        skip(file, place)


def write_flax(path: Path, shapes: Shapes) -> None:
    """One map of arrays."""
    with path.open("wb") as file:
        file.write(b"\xdf" + struct.pack(">I", len(shapes)))
        for name, shape in shapes.items():
            said = bytes([0x93, 0x90 | len(shape)])
            said += b"".join(b"\xce" + struct.pack(">I", side) for side in shape)
            said += b"\xa7float32\xc6" + struct.pack(">I", nbytes(shape))
            length = len(said) + nbytes(shape)
            file.write(bytes([0xD9, len(name)]) + name.encode())
            file.write(b"\xc9" + struct.pack(">IB", length, 1) + said)
            skip(file, nbytes(shape))


def write_keras(path: Path, shapes: Shapes) -> None:
    """Datasets whose room is taken and never filled."""
    import h5py

    with h5py.File(path, "w") as file:
        for name, shape in shapes.items():
            how = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            how.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            how.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
            place = file.require_group("model_weights/" + name.rpartition(".")[0].replace(".", "/"))
            space, kind = h5py.h5s.create_simple(shape), h5py.h5t.IEEE_F32LE
            h5py.h5d.create(place.id, name.rpartition(".")[2].encode(), kind, space, how)


def write_zip(path: Path, members: Mapping[str, bytes | int]) -> None:
    """Members that are not compressed: bytes, or a hole of so many."""
    entries = b""
    with path.open("wb") as file:
        for name, content in members.items():
            size = content if isinstance(content, int) else len(content)
            start, crc = file.tell(), 0 if isinstance(content, int) else zlib.crc32(content)
            said = struct.pack("<IIIHH", crc, size, size, len(name), 0)
            file.write(struct.pack("<4sHHHHH", b"PK\3\4", 20, 0, 0, 0, 33) + said + name.encode())
            skip(file, size) if isinstance(content, int) else file.write(content)
            entries += struct.pack("<4sHHHHHH", b"PK\1\2", 20, 20, 0, 0, 0, 33) + said
            entries += struct.pack("<HHHII", 0, 0, 0, 0, start) + name.encode()
        start, count = file.tell(), len(members)
        file.write(entries)
        file.write(struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, count, count, len(entries), start, 0))


def write_pt2(path: Path, shapes: Shapes) -> None:
    """Today's layout of torch.export."""
    config, members = {}, dict[str, bytes | int]()
    for i, (name, shape) in enumerate(shapes.items()):
        strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        meta = {"dtype": 7, "storage_offset": {"as_int": 0}}
        meta |= {"sizes": [{"as_int": n} for n in shape]}
        meta |= {"strides": [{"as_int": n} for n in strides]}
        config[name] = {"path_name": f"weight_{i}", "tensor_meta": meta}
        members[f"m/data/weights/weight_{i}"] = nbytes(shape)
    said = json.dumps({"config": config}).encode()
    words = {"m/archive_format": b"pt2", "m/data/weights/model_weights_config.json": said}
    write_zip(path, {**members, **words})


def _pickled_text(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def _pickled_tensors(shapes: Shapes) -> Iterator[bytes]:
    for i, (name, shape) in enumerate(shapes.items()):
        count = b"J" + struct.pack("<i", math.prod(shape))
        sides = b"(" + b"".join(b"J" + struct.pack("<i", side) for side in shape) + b"t"
        steps = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        strides = b"(" + b"".join(b"J" + struct.pack("<i", step) for step in steps) + b"t"
        storage = b"(" + _pickled_text("storage") + b"ctorch\nFloatStorage\n"
        storage += _pickled_text(str(i)) + _pickled_text("cpu") + count + b"tQ"
        yield _pickled_text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\0"
        yield sides + strides + b"\x89ccollections\nOrderedDict\n)RtR"


def write_torchscript(path: Path, shapes: Shapes) -> None:
    """One module whose attributes are the tensors, and no code."""
    head = b"\x80\x02c__torch__\nModel\n)\x81}("
    pickled = head + b"".join(_pickled_tensors(shapes)) + b"ub."
    data = {f"m/data/{i}": nbytes(shape) for i, shape in enumerate(shapes.values())}
    write_zip(
        path, {"m/data.pkl": pickled, **data, "m/constants.pkl": b"\x80\x02).", "m/version": b"3"}
    )


def write_dcp(path: Path, shapes: Shapes) -> None:
    """A folder of one rank; of the chunks in its file the table's alone is there, the one read."""
    import torch
    from torch.distributed.checkpoint import metadata as dcp
    from torch.distributed.checkpoint.filesystem import _StorageInfo

    path.mkdir()
    tensors, places = {}, {}
    with (path / "__0_0.distcp").open("wb") as file:
        for name, shape in shapes.items():
            place, start = file.tell(), torch.Size([0] * len(shape))
            if name == "pos_embed":
                torch.save(torch.zeros(shape), file)
            else:
                skip(file, nbytes(shape) + 1024)
            chunk = dcp.ChunkStorageMetadata(start, torch.Size(shape))
            properties = dcp.TensorProperties(dtype=torch.float32)
            tensors[name] = dcp.TensorStorageMetadata(properties, torch.Size(shape), [chunk])
            info = _StorageInfo("__0_0.distcp", place, file.tell() - place)
            places[dcp.MetadataIndex(name, start)] = info
    (path / ".metadata").write_bytes(pickle.dumps(dcp.Metadata(tensors, None, places)))


WRITERS: dict[str, Callable[[Path, Shapes], None]] = {
    "run": write_dcp,
    "big.onnx": write_onnx,
    "big.gguf": write_gguf,
    "big.pt2": write_pt2,
    "big.pt": write_torchscript,
    "big.msgpack": write_flax,
    "big.h5": write_keras,
}
"""By the name of the file or folder."""
