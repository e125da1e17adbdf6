"""A pickle reader that can do nothing but rebuild references and plain values.

It walks the opcodes with the standard library's own pure-Python reader, and takes from it every
step that could reach an object's behaviour: calls go to the short table in `_globals`, BUILD goes
to records of ours, keys are scalars. A global that is not in the table is not looked up at all: it
becomes a hole, from then on nothing is called any more, and the walk goes on only to name the rest.
"""

from __future__ import annotations

import pickle
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable
from typing import Any, ClassVar, Final

from pe_inspect.errors import UnreadableCheckpoint, UnsafeCheckpoint, printable, reason
from pe_inspect.loading.inert import (
    Array,
    Bag,
    DType,
    Replacement,
    StorageRef,
    StorageType,
    plain_count,
    plain_key,
)
from pe_inspect.loading.pickle_globals import find_global

__all__ = ["FindMore", "load_plain"]

FindMore = Callable[[str, str], Any]
MOST_NAMES: Final = 40
FREE: Final = 128 << 20
MULTIPLE: Final = 8
"""What a pickle may make, in bytes of memory: so much, and eight times what was read of it."""
AN_ENTRY: Final = 100
A_NUMBER: Final = 256
_PRICES: Final = {
    **dict.fromkeys(b"(]l}d)t\x85\x86\x87\x8f\x91", 80),  # marks, lists, tuples, sets
    **dict.fromkeys(b"p\x94sQPcRiob\x81\x92\x93", 160),  # the memo, globals, calls
}
"""Opcodes that make more than sixteen bytes of memory of each that they are long."""


class _Hole(list[Any]):
    """Stands for an object whose global was refused; what is put into it is never looked at."""


Step = Callable[["_PlainUnpickler"], None]


def _priced(step: Step, price: int) -> Step:
    """Return a step that is paid for before it is taken."""

    def paid(reader: _PlainUnpickler) -> None:
        reader.spent += price
        if reader.spent > reader.limit:
            reader.spend(0)
        step(reader)

    return paid


def _copied(argument: Any) -> int:
    """Bytes of memory that a copy of an argument would take."""
    if isinstance(argument, str | bytes | bytearray):
        return 4 * len(argument)
    return AN_ENTRY * len(argument) if isinstance(argument, list | tuple | dict) else 0


class _PlainUnpickler(pickle._Unpickler):
    """Rebuilds plain values; collects the names of the globals that it refuses."""

    dispatch: ClassVar[dict[int, Callable[..., None]]] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]
    append: Callable[[Any], None]
    proto: int
    pop_mark: Callable[[], list[Any]]
    read: Callable[[int], bytes]

    def __init__(self, file: Any, more: FindMore | None = None) -> None:
        super().__init__(file, encoding="latin1")
        self.more = more
        self.refused: dict[str, None] = {}
        self.storages: dict[str, StorageRef] = {}
        self.file, self.start = file, file.tell()
        self.spent, self.limit = 0, FREE

    def spend(self, more: int) -> None:
        """Count what is about to be made.

        Raises:
            UnpicklingError: it is far more than the bytes that were read.
        """
        self.spent += more
        if self.spent > self.limit:
            self.limit = FREE + MULTIPLE * (self.file.tell() - self.start)
        if self.spent > self.limit:
            raise pickle.UnpicklingError("it makes far more than it is long")

    def find_class(self, module: str, name: str) -> Any:
        """Look a global up in the table; nothing is imported."""
        if self.proto < 3:  # these spell Python 2's names, for `subprocess` too
            module, name = NAME_MAPPING.get((module, name), (module, name))
            module = IMPORT_MAPPING.get(module, module)
        known = self.more(module, name) if self.more else None
        known = find_global(module, name) if known is None else known
        return self._hole(f"{module}.{name}") if known is None else known

    def get_extension(self, code: int) -> None:
        """An extension code stands for a global that only the writer's registry knows."""
        self.append(self._hole(f"extension registry code {code}"))

    def persistent_load(self, pid: Any) -> Any:
        """`("storage", type, key, location, numel[, view])`: a reference, nothing is read."""
        if self.refused:
            return _Hole()
        _, kind, key, *rest = pid
        if pid[0] != "storage" or not isinstance(kind, StorageType) or type(key) is not str:
            raise pickle.UnpicklingError("a persistent id that is no storage")
        view = rest[2] if len(rest) > 2 and rest[2] is not None else (key, 0, 0)
        start, count = plain_count(view[1]), plain_count(rest[1])
        self.storages[key] = StorageRef(key, kind.dtype, start, count)
        return self.storages[key]

    def _hole(self, name: str) -> _Hole:
        self.refused[printable(name)] = None
        return _Hole()

    def _call(self, function: Any, arguments: Any) -> Any:
        if self.refused:
            return _Hole()
        if not isinstance(function, Replacement):
            raise pickle.UnpicklingError(f"a call of {type(function).__name__}")
        self.spend(sum(map(_copied, arguments)))
        return function.function(*arguments)

    def _instantiate(self, klass: Any, arguments: Any) -> None:
        """INST and OBJ."""
        self.append(self._call(klass, arguments))

    def load_reduce(self) -> None:
        """REDUCE, and NEWOBJ, which differs only in how the class would make its instance."""
        arguments = self.stack.pop()
        self.stack[-1] = self._call(self.stack[-1], arguments)

    dispatch[pickle.REDUCE[0]] = load_reduce
    dispatch[pickle.NEWOBJ[0]] = load_reduce

    def load_newobj_ex(self) -> None:
        """NEWOBJ_EX; no class of the table takes keywords."""
        keywords, arguments = self.stack.pop(), self.stack.pop()
        if keywords and not self.refused:
            raise pickle.UnpicklingError("keywords for a class")
        self.stack[-1] = self._call(self.stack[-1], arguments)

    dispatch[pickle.NEWOBJ_EX[0]] = load_newobj_ex

    def load_build(self) -> None:
        """BUILD: only records of ours take a state; a dict's attributes are dropped."""
        state, target = self.stack.pop(), self.stack[-1]
        self.spend(sum(map(_copied, state)) if isinstance(state, tuple) else 0)
        if isinstance(target, Bag | DType | Array) and not self.refused:
            target.set_state(state)
        elif not isinstance(target, dict | _Hole) and not self.refused:
            raise pickle.UnpicklingError(f"a state for {type(target).__name__}")

    dispatch[pickle.BUILD[0]] = load_build

    def _set(self, target: Any, items: list[Any]) -> None:
        if isinstance(target, _Hole) or self.refused:
            return
        if type(target) is not dict:
            raise pickle.UnpicklingError(f"items for {type(target).__name__}")
        self.spend(AN_ENTRY * (len(items) // 2))
        target.update({plain_key(key): items[i + 1] for i, key in enumerate(items) if i % 2 == 0})

    def load_setitem(self) -> None:
        """SETITEM."""
        value, key = self.stack.pop(), self.stack.pop()
        self._set(self.stack[-1], [key, value])

    def load_setitems(self) -> None:
        """SETITEMS."""
        items = self.pop_mark()
        self._set(self.stack[-1], items)

    def load_dict(self) -> None:
        """DICT."""
        made: dict[Any, Any] = {}
        self._set(made, self.pop_mark())
        self.append(made)

    def load_empty_set(self) -> None:
        """EMPTY_SET: a list, for nothing here asks for membership."""
        self.append([])

    def load_additems(self) -> None:
        """ADDITEMS."""
        items = self.pop_mark()
        self.stack[-1].extend(items)

    def load_frozenset(self) -> None:
        """FROZENSET."""
        items = self.pop_mark()  # puts the stack below the mark back, `append` with it
        self.append(items)

    def load_long4(self) -> None:
        """LONG4: a number, and no library."""
        count = int.from_bytes(self.read(4), "little")
        if count > A_NUMBER:
            raise pickle.UnpicklingError(f"a number of {count:,} bytes")
        self.append(pickle.decode_long(self.read(count)))

    dispatch[pickle.LONG4[0]] = load_long4
    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = load_setitems
    dispatch[pickle.DICT[0]] = load_dict
    dispatch[pickle.EMPTY_SET[0]] = load_empty_set
    dispatch[pickle.ADDITEMS[0]] = load_additems
    dispatch[pickle.FROZENSET[0]] = load_frozenset

    for _code, _price in _PRICES.items():
        dispatch[_code] = _priced(dispatch[_code], _price)


def load_plain(
    file: Any,
    source: str,
    storages: dict[str, StorageRef] | None = None,
    more: FindMore | None = None,
) -> Any:
    """Read one pickle: dicts, lists, scalars, and the records of `_inert`.

    Args:
        file: with `read` and `readline`; at the first opcode, left just after the last one.
        source: what messages call the file.
        storages: filled with every storage that the pickle refers to, by key.
        more: what stands in place of globals that only one format's pickles name; an inert thing
            as all of the table are, or `None`.

    Raises:
        UnsafeCheckpoint: the pickle names globals that are not in the table. None was looked up.
        UnreadableCheckpoint: the pickle is truncated or damaged.
    """
    reader = _PlainUnpickler(file, more)
    try:
        value = reader.load()
    except Exception as error:  # a stranger's bytes: any step of the walk may find nonsense
        if not reader.refused:
            raise UnreadableCheckpoint(
                f"{source}: its pickle is truncated or damaged ({reason(error)}). "
                "Copy or download it again."
            ) from error
    if reader.refused:
        raise UnsafeCheckpoint(_unsafe(source, list(reader.refused)))
    if storages is not None:
        storages.update(reader.storages)
    return value


def _unsafe(source: str, names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    listed = ", ".join(names[:MOST_NAMES]) + more
    message = (
        f"{source} needs pickle globals that could run code ({listed}). Nothing was run. "
        "If you trust the file, pass --trust-pickle."
    )
    if any(".nn." in name or name.startswith("timm.models.") for name in names):
        message += (
            "\nIt looks like a whole pickled model; a state dict is safe and portable: "
            'torch.save(model.state_dict(), "weights.pth").'
        )
    return message
