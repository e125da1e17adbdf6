"""Where a pickle describes its tensors: a walk over its opcodes that builds nothing.

Only positions and plain constants are kept, so no global is looked up and nothing is called.
"""

from __future__ import annotations

import pickletools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pe_inspect.errors import UnreadableCheckpoint

__all__ = ["Item", "TensorCall", "Walk", "walk"]

_TUPLES: Final = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PUTS: Final = ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE")
_GETS: Final = ("GET", "BINGET", "LONG_BINGET")
_FEWEST_ARGUMENTS: Final = 4  # storage, offset, shape, strides


@dataclass(eq=False)
class Item:
    """What an opcode pushed.

    Attributes:
        begin: the first byte of the opcodes that made it.
        end: the byte behind them; a PUT that follows is not among them.
        value: a constant; of a mark, a storage or an object `None`.
        parts: of a tuple, its items; of a storage, those of its persistent id.
        kind: `"constant"`, `"tuple"`, `"storage"`, `"mark"` or `"object"`.
        made: the item that a GET fetched again.
        was_fetched: whether a GET fetched it.
    """

    begin: int
    end: int
    kind: str = "object"
    value: Any = None
    parts: tuple[Item, ...] = ()
    made: Item | None = None
    was_fetched: bool = False


@dataclass(frozen=True, eq=False)
class TensorCall:
    """The arguments of one `_rebuild_tensor…`: what a tensor is, and where its numbers lie."""

    parts: tuple[Item, ...]

    @property
    def storage(self) -> Item:
        """The persistent id: ("storage", type, key, location, count[, view])."""
        return self.parts[0]

    @property
    def key(self) -> str:
        """The storage's name in the archive."""
        return str(self.storage.parts[2].value)

    @property
    def start(self) -> int:
        """The first element within the storage; a view of a storage adds its own."""
        view = self.storage.parts[5].parts if len(self.storage.parts) > 5 else ()
        return int(self.parts[1].value) + (int(view[1].value) if view else 0)

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sides."""
        return tuple(int(item.value) for item in self.parts[2].parts)


@dataclass
class Walk:
    """What a walk found.

    Attributes:
        tensors: every tensor, in the pickle's order.
        storages: every reference to a storage, those of tensors included.
        frames: positions of FRAME opcodes, whose lengths an edit would falsify.
    """

    tensors: list[TensorCall] = field(default_factory=list)
    storages: list[Item] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)


def walk(pickled: bytes) -> Walk:
    """Follow one pickle to its STOP.

    Raises:
        UnreadableCheckpoint: it is damaged.
    """
    found, stack = Walk(), _Stack()
    try:
        ops = [(opcode, arg, pos or 0) for opcode, arg, pos in pickletools.genops(pickled)]
        ends = [pos for _, _, pos in ops[1:]] + [len(pickled)]
        for (opcode, argument, begin), end in zip(ops, ends):
            stack.step(opcode, argument, Item(begin, end), found)
    except (ValueError, IndexError, KeyError, TypeError) as error:
        raise UnreadableCheckpoint(f"Its pickle is damaged: {error}.") from error
    return found


class _Stack:
    """The unpickler's stack and memo, of items."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.memo: dict[int, Item] = {}

    def step(self, opcode: Any, argument: Any, new: Item, found: Walk) -> None:
        name = opcode.name
        if name in _PUTS:
            self.memo[len(self.memo) if argument is None else int(argument)] = self.items[-1]
        elif name in _GETS:
            self._fetch(self.memo[int(argument)], new)
        elif name in _TUPLES:
            self._tuple(self._pop(_TUPLES[name]), new, found)
        elif name == "TUPLE":
            mark, parts = self._pop_to_mark()
            self._tuple(parts, Item(mark.begin, new.end), found)
        elif name == "BINPERSID":
            self._storage(self.items.pop(), new, found)
        elif name == "FRAME":
            found.frames.append(new.begin)
        elif name == "MARK":
            self.items.append(Item(new.begin, new.end, "mark"))
        elif name in ("POP", "DUP"):
            self._pop(1) if name == "POP" else self.items.append(self.items[-1])
        else:
            self._other(opcode, argument, new)

    def _fetch(self, made: Item, new: Item) -> None:
        made.was_fetched = True
        copy = Item(new.begin, new.end, made.kind, made.value, made.parts, made)
        self.items.append(copy)

    def _tuple(self, parts: Sequence[Item], new: Item, found: Walk) -> None:
        begin = min([new.begin, *(part.begin for part in parts[:1])])
        made = Item(begin, new.end, "tuple", None, tuple(parts))
        if len(parts) >= _FEWEST_ARGUMENTS and parts[0].kind == "storage":
            found.tensors.append(TensorCall(made.parts))
        self.items.append(made)

    def _storage(self, pid: Item, new: Item, found: Walk) -> None:
        made = Item(pid.begin, new.end, "storage", None, pid.parts)
        found.storages.append(made)
        self.items.append(made)

    def _other(self, opcode: Any, argument: Any, new: Item) -> None:
        """Take off and put on what the opcode's description says."""
        needs = [each.name for each in opcode.stack_before]
        begin = new.begin
        if "mark" in needs:
            begin = self._pop_to_mark()[0].begin
            needs = needs[: needs.index("mark")]
        taken = self._pop(len(needs))
        begin = min([begin, *(item.begin for item in taken)])
        kind = "object" if opcode.stack_before else "constant"
        for _ in opcode.stack_after:
            self.items.append(Item(begin, new.end, kind, argument))

    def _pop(self, count: int) -> list[Item]:
        if count > len(self.items):
            raise IndexError("its stack runs empty")
        taken = self.items[len(self.items) - count :]
        del self.items[len(self.items) - count :]
        return taken

    def _pop_to_mark(self) -> tuple[Item, list[Item]]:
        place = max(i for i, item in enumerate(self.items) if item.kind == "mark")
        mark, parts = self.items[place], self.items[place + 1 :]
        del self.items[place:]
        return mark, parts
