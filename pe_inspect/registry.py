"""A name → object table that fills itself from a folder, so that a new thing is one new file."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final, TypeVar

from pe_inspect.errors import UsageError

__all__ = ["Registry"]

T = TypeVar("T")
SHOWN: Final = 12  # names of a list that a message shows


class Registry(Mapping[str, T]):
    """Objects of one kind by name, discovered in a package on first use.

    Every module and folder of `package` is imported once, and registers what it defines, but for
    `helpers` and names that start with an underscore. A look-up first imports the module that is
    called like the entry, and the others only where that is not the place. A second object of the
    same name is a programming error.

    Args:
        kind: what one entry is called in messages, e.g. `"family"`.
        package: the dotted name of the folder to discover.
        helpers: the modules and folders in it that hold no entry.
    """

    def __init__(self, kind: str, package: str, helpers: Collection[str] = ()) -> None:
        self.kind = kind
        self.package = package
        self.helpers = helpers
        self._entries: dict[str, T] = {}
        self._discovered = False

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that enters its argument under `name`."""

        def enter(entry: T) -> T:
            if name in self._entries:
                raise ValueError(f"two entries of kind {self.kind!r} are named {name!r}")
            self._entries[name] = entry
            return entry

        return enter

    def modules(self) -> list[str]:
        """Return the dotted names of the modules that discovery imports, in order."""
        return [f"{self.package}.{stem}" for stem in self.stems()]

    def stems(self) -> list[str]:
        """Return the names of the files and folders that hold entries; none of them is imported."""
        folder = importlib.import_module(self.package)
        names = (module.name for module in pkgutil.iter_modules(folder.__path__))
        return sorted(n for n in names if not n.startswith("_") and n not in self.helpers)

    def _discover(self) -> dict[str, T]:
        if not self._discovered:
            for module in self.modules():
                importlib.import_module(module)
            self._discovered = True
        return self._entries

    def _look_up(self, name: object) -> Mapping[str, T]:
        """Return entries that hold `name`, if any do: one module is enough where it bears it."""
        if name not in self._entries and not self._discovered and name in self.stems():
            importlib.import_module(f"{self.package}.{name}")
        return self._entries if name in self._entries else self._discover()

    def __getitem__(self, name: str) -> T:
        entries = self._look_up(name)
        if name not in entries:
            raise UnknownName(self.kind, name, list(entries))
        return entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._look_up(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._discover())

    def __len__(self) -> int:
        return len(self._discover())


class UnknownName(UsageError, KeyError):
    """A name that is not in a registry; the message offers the nearest ones."""

    def __init__(self, kind: str, name: str, known: list[str]) -> None:
        self.kind, self.name, self.known = kind, name, known
        super().__init__(did_you_mean(kind, name, known))

    def __str__(self) -> str:
        return did_you_mean(self.kind, self.name, self.known)


def did_you_mean(kind: str, name: str, known: list[str]) -> str:
    """Return `Unknown KIND 'NAME'. Did you mean …?`, or what is known where nothing is near.

    A list is in the order in which people count (`blocks.2` before `blocks.10`); a long one is cut.
    """
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        return f"Unknown {kind} {name!r}. Did you mean {' or '.join(map(repr, near))}?"
    ordered = sorted(set(known), key=_counting)
    more = f" … and {len(ordered) - SHOWN} more" if len(ordered) > SHOWN else ""
    return f"Unknown {kind} {name!r}. Known: {', '.join(ordered[:SHOWN]) or 'none'}{more}."


def _counting(name: str) -> list[tuple[int, str]]:
    """Return a key that orders names by their words and their numbers."""
    return [
        (int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)
    ]
