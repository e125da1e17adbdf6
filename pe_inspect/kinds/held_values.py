"""The arrays that a container holds: frozen; a large bias, or a norm, made when somebody looks."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pe_inspect.arrays import Float32, Int, Num

if TYPE_CHECKING:
    from pe_inspect.kinds.offset_network import OffsetNetwork

__all__ = ["HeldValues", "Lookup", "Unread", "frozen_array", "packed", "unpacked"]


def frozen_array(values: Any) -> Float32[np.ndarray, "..."]:
    """Return `values` as a float32, C-contiguous, read-only array."""
    array = np.ascontiguousarray(values, dtype=np.float32).view()
    array.flags.writeable = False
    return array


@dataclass(frozen=True, eq=False)
class Lookup:
    """A bias as the table that it is looked up in: `bias[h, i, j] = table[h, index[i, j]]`.

    The table is small and the bias is not (BEiT-L at 512 pixels: 0.25 MB against 67 MB in each of
    24 blocks). So the bias is computed when it is asked for, and lives only as long as somebody
    holds it.

    Attributes:
        table: one row a head, one column an offset.
        index: the column that each (query, key) pair takes; blocks may share one array.
        network: what computed the table, and computes that of any window; `None` of a stored one.
    """

    table: Num[np.ndarray, "heads offsets"]
    index: Int[np.ndarray, "queries keys"]
    network: OffsetNetwork | None = None
    _held: list[weakref.ref[np.ndarray]] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", frozen_array(self.table))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.table, self.index, self.network)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(heads, queries, keys), without computing the bias."""
        return (len(self.table), self.index.shape[0], self.index.shape[1])

    def expanded(self) -> Float32[np.ndarray, "heads queries keys"]:
        """The bias, read-only; the same array as long as an earlier one is still in use."""
        held = self._held[0]() if self._held else None
        if held is None:
            held = np.take(self.table, self.index, axis=1)
            held.flags.writeable = False
            self._held[:] = [weakref.ref(held)]
        return held


@dataclass(frozen=True, eq=False)
class Unread:
    """An array of a file that is read when somebody looks at it, once for all who hold it.

    Attributes:
        shape: what its header says.
        read: returns the numbers, of any type.
    """

    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]
    _held: list[np.ndarray] = field(default_factory=list, init=False, repr=False)

    def values(self) -> Float32[np.ndarray, "..."]:
        """The array as a container holds it."""
        if not self._held:
            self._held.append(frozen_array(self.read()))
        return self._held[0]


class HeldValues:
    """An attribute that is set to an array, a `Lookup` or an `Unread`, and read as an array."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(
        self, instance: Any, owner: type | None = None
    ) -> Float32[np.ndarray, "..."] | None:
        if instance is None:  # dataclasses ask the class for a default; there is none
            raise AttributeError(self._name)
        held = instance.__dict__[self._name]
        if isinstance(held, Unread):
            held = instance.__dict__[self._name] = held.values()
        return held.expanded() if isinstance(held, Lookup) else held

    def __set__(self, instance: Any, values: Any) -> None:
        is_kept = values is None or isinstance(values, Lookup | Unread)
        instance.__dict__[self._name] = values if is_kept else frozen_array(values)


def packed(
    held: Sequence[Float32[np.ndarray, "..."] | Lookup],
) -> tuple[list[list[str]], dict[str, np.ndarray]]:
    """Return, for each, the names of its arrays, and those arrays by name; shared ones once.

    An array has one name, a `Lookup` two: its table's and its index's, and those of its network.
    """
    names: dict[tuple[Any, ...], str] = {}
    arrays: dict[str, np.ndarray] = {}
    listed = []
    for each in held:
        parts: list[tuple[str, np.ndarray]] = (
            [("table", each.table), ("index", each.index), *_network_parts(each.network)]
            if isinstance(each, Lookup)
            else [("layer", each)]
        )
        listed.append([_named(what, array, names, arrays) for what, array in parts])
    return listed, arrays


def _named(
    what: str, array: Any, names: dict[tuple[Any, ...], str], arrays: dict[str, np.ndarray]
) -> str:
    place = (array.__array_interface__["data"][0], array.shape, array.dtype.str)
    name = names.setdefault(place, f"{what}.{len(names)}")
    arrays[name] = array
    return name


def _network_parts(network: OffsetNetwork | None) -> list[tuple[str, np.ndarray]]:
    if network is None:
        return []
    (first, second), (bias, last), trained = network.weights, network.biases, network.trained
    none = np.zeros(0, np.float32)
    parts = [first, bias, second, none if last is None else last]
    window = np.array([] if trained is None else trained, np.float64)
    return [*(("network", np.ascontiguousarray(part)) for part in parts), ("trained", window)]


def unpacked(names: Sequence[str], arrays: Mapping[str, np.ndarray]) -> Any:
    """Return the array, or the `Lookup`, that `packed` gave these names."""
    found = [arrays[name] for name in names]
    if len(found) == 1:
        return found[0]
    table, index, *parts = found
    return Lookup(table, index, _network(*parts) if parts else None)


def _network(
    first: np.ndarray, bias: np.ndarray, second: np.ndarray, last: np.ndarray, trained: np.ndarray
) -> OffsetNetwork:
    from pe_inspect.kinds.offset_network import OffsetNetwork

    window = (float(trained[0]), float(trained[1])) if trained.size else None
    return OffsetNetwork((first, second), (bias, last if last.size else None), window)
