"""What a pickle's objects become here: plain records without behaviour.

None has a `__dict__`, none is called, and what BUILD may hand to each is decided in `set_state`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pe_inspect.bounded import MOST_AXES

__all__ = [
    "Array",
    "Bag",
    "DType",
    "Record",
    "Replacement",
    "StorageRef",
    "StorageType",
    "TensorRef",
    "plain_count",
    "plain_key",
    "plain_sides",
]

_KEYS: Final = (str, int, float, bool, bytes, type(None))


LARGEST: Final = 1 << 63
LONGEST_CODE: Final = 16


def plain_key(key: Any) -> Any:
    """Return `key` if hashing it is safe: a deep nest of tuples overflows the C stack.

    Raises:
        TypeError: it is neither a scalar, a tuple of scalars, nor a record of ours.
    """
    parts = key if type(key) is tuple else (key,)
    if any(type(part) not in _KEYS for part in parts) and not isinstance(key, Record):
        raise TypeError(f"a {type(key).__name__} as a key")
    return key


def plain_count(number: Any) -> int:
    """Return a number of elements.

    Raises:
        TypeError: it is none, or none that a file of this world has.
    """
    if type(number) is not int or not 0 <= number < LARGEST:
        raise TypeError("a number of elements that is none")
    return number


def plain_sides(shape: Any) -> tuple[int, ...]:
    """Return a shape.

    Raises:
        TypeError: it is no tuple of at most 32 whole numbers.
    """
    if not isinstance(shape, tuple | list) or len(shape) > MOST_AXES:
        raise TypeError("a shape that is no tuple of a few whole numbers")
    return tuple(map(plain_count, shape))


@dataclass(frozen=True, slots=True)
class Replacement:
    """What stands in a callable's place. Only the unpickler calls it, through `function`."""

    name: str
    function: Callable[..., Any]


@dataclass(frozen=True, slots=True)
class StorageType:
    """`torch.FloatStorage` and its kin: the type of the numbers; `None` means bytes."""

    dtype: str | None


@dataclass(frozen=True, slots=True)
class StorageRef:
    """A storage by its key in the archive, and its elements; none of it has been read."""

    key: str
    dtype: str | None
    start: int = 0
    count: int = 0


@dataclass(frozen=True, slots=True)
class TensorRef:
    """A view of a storage. `problem` says why it is one that cannot be read."""

    shape: tuple[int, ...]
    dtype: str
    storage: StorageRef | None = None
    start: int = 0
    strides: tuple[int, ...] = ()
    problem: str = ""


class Bag:
    """An object of which only the attributes are kept: a Namespace."""

    __slots__ = ("values",)

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def set_state(self, state: Any) -> None:
        """Take what BUILD hands over; slots' state and other forms are of no interest."""
        if isinstance(state, dict):
            self.values = state


class Record(Bag):
    """An object of a class that only one format's pickles name; equal to itself alone."""

    __slots__ = ("of",)

    def __init__(self, of: str) -> None:
        super().__init__()
        self.of = of

    def set_state(self, state: Any) -> None:
        """Take what BUILD hands over; a state without names is kept under `"state"`."""
        self.values = state if isinstance(state, dict) else {"state": state}


@dataclass(slots=True)
class DType:
    """A numpy dtype as a pickle describes it."""

    code: str
    order: str = "="

    def set_state(self, state: Any) -> None:
        """`(version, byte order, …)`."""
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "|", "="):
            self.order = state[1]

    def numpy(self) -> np.dtype:
        """The real one, where it is a plain number or text."""
        if len(self.code) > LONGEST_CODE:
            raise ValueError("a type of many fields is not read")
        dtype = np.dtype(self.code).newbyteorder(self.order)  # type: ignore[arg-type]
        if dtype.kind not in "biufcSU":
            raise ValueError(f"arrays of {dtype} are not read")
        return dtype


@dataclass(slots=True)
class Array:
    """A numpy array as a pickle describes it."""

    values: np.ndarray | None = None

    def set_state(self, state: Any) -> None:
        """`(version, shape, dtype, is Fortran order, bytes)`."""
        _, shape, dtype, is_fortran, content = state
        if isinstance(content, str):  # Python 2 wrote the bytes as text
            content = content.encode("latin-1")
        if isinstance(content, bytes | bytearray):  # else a list of objects: no numbers
            flat = np.frombuffer(content, dtype.numpy())
            sides = plain_sides(shape)
            self.values = flat.reshape(sides, order="F" if is_fortran else "C")
