"""The globals that a checkpoint's pickle may name, each with the inert thing it becomes here.

Nothing in this table can run code, import, open a file or allocate more than it is handed. A
pickle that names anything else is refused as a whole, and every such name is told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from pe_inspect.loading.inert import (
    Array,
    Bag,
    DType,
    Replacement,
    StorageRef,
    StorageType,
    TensorRef,
    plain_count,
    plain_key,
    plain_sides,
)

__all__ = ["find_global"]


def _returns_only(*allowed: type) -> Callable[..., Any]:
    """Return a function that hands back its one argument, if it is of these types."""

    def same(value: Any) -> Any:
        if not isinstance(value, allowed):
            raise TypeError(f"a {type(value).__name__} where {allowed} was expected")
        return value

    return same


def _empty_list(items: Sequence[Any] = (), maxlen: int | None = None) -> list[Any]:
    del maxlen
    return list(_returns_only(list, tuple)(items))


def _mapping(*arguments: Any) -> dict[Any, Any]:
    """OrderedDict, Counter, defaultdict: a dict, whatever the default factory was."""
    last = arguments[-1] if arguments else None
    if isinstance(last, dict):
        return dict(last)
    return {plain_key(k): value for k, value in last} if isinstance(last, list) else {}


def _set(items: Sequence[Any] = ()) -> list[Any]:
    """A set stays in the order of the file: nothing here asks for membership."""
    return _returns_only(list, tuple)(items)  # type: ignore[no-any-return]


def _encoded(text: str, encoding: str = "latin1") -> bytes:
    """`_codecs.encode`, which protocol 2 uses to spell bytes, and nothing else of it."""
    if encoding not in ("latin1", "latin-1", "ascii", "utf-8") or not isinstance(text, str):
        raise ValueError(f"encoding {encoding!r}")
    return text.encode(encoding)


def _bytes(content: bytes | str | Sequence[int] = b"", encoding: str = "latin-1") -> bytes:
    if isinstance(content, str):
        return _encoded(content, encoding)
    return bytes(_returns_only(bytes, bytearray, list, tuple)(content))


def _path(*parts: str) -> str:
    from pathlib import PurePosixPath

    return str(PurePosixPath(*(_returns_only(str)(part) for part in parts)))


def _windows_path(*parts: str) -> str:
    from pathlib import PureWindowsPath

    return str(PureWindowsPath(*(_returns_only(str)(part) for part in parts)))


def _from_datetime(name: str) -> Callable[..., Any]:
    """Return a function that makes `datetime.<name>` of plain arguments."""

    def make(*arguments: Any) -> Any:
        import datetime

        return getattr(datetime, name)(*arguments)

    return make


def _device(kind: str, index: int | None = None) -> str:
    word = _returns_only(str)(kind)
    return str(word) if index is None else f"{word}:{plain_count(index)}"


def _scalar(dtype: DType, content: bytes | str = b"") -> Any:
    """`numpy.core.multiarray.scalar`: the plain Python number."""
    raw = content.encode("latin-1") if isinstance(content, str) else content
    return np.frombuffer(raw, dtype.numpy(), count=1)[0].item()


def _array_in_band(content: Any, dtype: DType, shape: Any, order: str, *_: Any) -> Array:
    """`numpy._core.numeric._frombuffer`, by which protocol 5 spells contiguous arrays."""
    array = Array()
    if order in ("C", "F"):
        array.set_state((1, shape, dtype, order == "F", _returns_only(bytes, bytearray)(content)))
    return array


def _rebuild_tensor(storage: Any, start: int, shape: Any, strides: Any, *_: Any) -> TensorRef:
    if not isinstance(storage, StorageRef) or storage.dtype is None:
        raise TypeError("a tensor without a typed storage")
    first = plain_count(start) + storage.start
    return TensorRef(plain_sides(shape), storage.dtype, storage, first, plain_sides(strides))


def _rebuild_tensor_v3(
    storage: Any, start: int, shape: Any, strides: Any, _grad: Any, _hooks: Any, dtype: str, *_: Any
) -> TensorRef:
    """The form of types without a storage class of their own: fp8, unsigned integers."""
    typed = StorageRef(storage.key, dtype.removeprefix("torch."))
    return _rebuild_tensor(typed, start, shape, strides)


def _same_tensor(data: Any, *_: Any) -> Any:
    """`_rebuild_parameter`: what it wraps."""
    return data


def _rebuild_from_type(function: Any, _type: Any, arguments: Any, _state: Any = None) -> Any:
    """A tensor with attributes of its own: the tensor, by one of our rebuilders only."""
    if not isinstance(function, Replacement) or not function.name.startswith("_rebuild"):
        raise TypeError("a rebuilder that is none")
    return function.function(*arguments)


def _sparse(_layout: Any, data: Any) -> TensorRef:
    dtypes = [part.dtype for part in data if isinstance(part, TensorRef)]  # indices come first
    shape = next((plain_sides(part) for part in data if isinstance(part, tuple)), ())
    return TensorRef(shape, dtypes[-1], problem="a sparse layout")


def _quantized(storage: Any, _start: int, shape: Any, *_: Any) -> TensorRef:
    return TensorRef(plain_sides(shape), str(storage.dtype), problem="quantized numbers")


def _meta(dtype: str, shape: Any, *_: Any) -> TensorRef:
    problem = "a shape on the meta device and no numbers"
    return TensorRef(plain_sides(shape), dtype.removeprefix("torch."), problem=problem)


def _nested(*_: Any) -> TensorRef:
    return TensorRef((), "nested", problem="a nested tensor")


_STORAGES: Final = {
    "Double": "float64",
    "Float": "float32",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
    "ComplexDouble": "complex128",
    "ComplexFloat": "complex64",
    "QInt8": "qint8",
    "QUInt8": "quint8",
    "QInt32": "qint32",
    "QUInt4x2": "quint4x2",
    "QUInt2x4": "quint2x4",
}

_REBUILDERS: Final[dict[str, Callable[..., Any]]] = {
    "_rebuild_tensor": _rebuild_tensor,
    "_rebuild_tensor_v2": _rebuild_tensor,
    "_rebuild_tensor_v3": _rebuild_tensor_v3,
    "_rebuild_parameter": _same_tensor,
    "_rebuild_parameter_with_state": _same_tensor,
    "_rebuild_sparse_tensor": _sparse,
    "_rebuild_sparse_csr_tensor": _sparse,
    "_rebuild_qtensor": _quantized,
    "_rebuild_meta_tensor_no_storage": _meta,
    "_rebuild_nested_tensor": _nested,
}

_CALLABLES: Final[dict[str, Callable[..., Any]]] = {
    "collections.OrderedDict": _mapping,
    "collections.defaultdict": _mapping,
    "collections.Counter": _mapping,
    "collections.deque": _empty_list,
    "argparse.Namespace": lambda: Bag(),
    "types.SimpleNamespace": lambda: Bag(),
    "builtins.set": _set,
    "builtins.frozenset": _set,
    "builtins.slice": lambda *ends: [*ends],
    "builtins.range": lambda *ends: [*ends],
    "builtins.complex": lambda real, imag=0.0: [real, imag],
    "builtins.bytes": _bytes,
    "builtins.bytearray": _bytes,
    "_codecs.encode": _encoded,
    "torch.Size": lambda sides=(): plain_sides(sides),
    "torch.device": _device,
    "torch.serialization._get_layout": _returns_only(str),
    "torch._tensor._rebuild_from_type_v2": _rebuild_from_type,
    "torch._tensor._rebuild_from_type": _rebuild_from_type,
    "numpy.dtype": lambda code, *_: DType(_returns_only(str)(code)),
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.multiarray._reconstruct": lambda *_: Array(),
    "numpy.core.numeric._frombuffer": _array_in_band,
    **{f"torch._utils.{name}": function for name, function in _REBUILDERS.items()},
    **{f"pathlib.{name}": _path for name in ("PosixPath", "PurePosixPath", "Path", "PurePath")},
    **{f"pathlib.{name}": _windows_path for name in ("WindowsPath", "PureWindowsPath")},
    **{
        f"datetime.{name}": _from_datetime(name)
        for name in ("datetime", "date", "time", "timedelta", "timezone")
    },
}

_PLAIN_TYPES: Final = frozenset({
    "int", "float", "str", "bool", "list", "dict", "tuple", "bytes", "complex", "set",
    "NoneType", "object",
})  # fmt: skip
_NUMPY_TYPES: Final = frozenset({
    "ndarray", "bool_", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
    "uint64", "float16", "float32", "float64", "complex64", "complex128",
})  # fmt: skip
_TORCH_DTYPES: Final = frozenset({
    "float32", "float64", "float16", "bfloat16", "float", "half", "double", "int8", "int16",
    "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool", "complex32", "complex64",
    "complex128", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz",
    "float8_e8m0fnu", "float4_e2m1fn_x2", "qint8", "quint8", "qint32", "strided", "sparse_coo",
    "sparse_csr", "contiguous_format", "channels_last", "preserve_format", "per_tensor_affine",
    "per_channel_affine", "per_channel_affine_float_qparams", "per_tensor_symmetric",
    "per_channel_symmetric", "Tensor",
})  # fmt: skip
_SAME_MODULE: Final = {
    "numpy._core.multiarray": "numpy.core.multiarray",
    "numpy._core.numeric": "numpy.core.numeric",
    "pathlib._local": "pathlib",
    "torch.storage": "torch",
    "torch.cuda": "torch",
    "torch.nn.parameter": "torch",
}


def find_global(module: str, name: str) -> Any | None:
    """Return what stands in place of `module.name`, or `None` where it is not on the list."""
    module = _SAME_MODULE.get(module, module)
    full = f"{module}.{name}"
    if full in _CALLABLES:
        return Replacement(name, _CALLABLES[full])
    if module == "torch":
        return _torch_global(name)
    if module == "numpy.dtypes" and name.endswith("DType") and name[:-5].isalnum():
        code = name[:-5].lower()
        return Replacement(name, lambda *_: DType(code))
    is_a_name = module == "builtins" and name in _PLAIN_TYPES
    return full if is_a_name or (module == "numpy" and name in _NUMPY_TYPES) else None


def _torch_global(name: str) -> Any | None:
    if name == "UntypedStorage":
        return StorageType(None)
    if name.endswith("Storage") and name[:-7] in _STORAGES:
        return StorageType(_STORAGES[name[:-7]])
    if name == "Parameter":
        return Replacement(name, _same_tensor)
    return f"torch.{name}" if name in _TORCH_DTYPES else None
