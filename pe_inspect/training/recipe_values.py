"""Plain values, from TOML, JSON or the command line, as the types of a recipe's fields."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from pe_inspect.errors import UsageError
from pe_inspect.registry import did_you_mean

__all__ = ["check", "one_of", "parse", "split_assignments", "typed"]

_EXPECTED: Final[Mapping[Any, str]] = {
    int: "a whole number, e.g. 5",
    float: "a number, e.g. 0.001",
    bool: "true or false",
    str: "a text",
    tuple[int, int]: "height and width, e.g. 32x32",
}
BEYOND: Final = 1 << 63
_SPOKEN_BOOLS: Final = {"true": True, "false": False}


def split_assignments(texts: Iterable[str]) -> dict[str, str]:
    """Return the keys and the values of `key=value`.

    Raises:
        UsageError: there is no `=`, or a key has two values.
    """
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not equals:
            raise UsageError(f"{text!r} is no assignment; expected key=value, e.g. epochs=5.")
        if found.setdefault(key, value) != value:
            raise UsageError(f"{key} was given as {found[key]} and as {value}; it has one value.")
    return found


def typed(
    types: Mapping[str, Any], given: Mapping[str, Any], read: Callable[[Any, Any], Any]
) -> dict[str, Any]:
    """Return the values as their fields' types.

    Args:
        types: every known key with its type.
        given: the values.
        read: turns one value into its type: `check` or `parse`.

    Raises:
        UsageError: a key is unknown, or its value is of another type.
    """
    values = {}
    for key, value in given.items():
        if key not in types:
            raise UsageError(did_you_mean("recipe key", key, list(types)))
        try:
            values[key] = read(value, types[key])
        except (ValueError, OverflowError) as error:
            expected = _EXPECTED[types[key]]
            raise UsageError(f"{key} is {value!r}; expected {expected}.") from error
    return values


def parse(text: str, kind: Any) -> Any:
    """Read a value that was typed on the command line."""
    if kind is bool:
        return _lookup(_SPOKEN_BOOLS, text.lower())
    if kind == tuple[int, int]:
        sides = [int(side) for side in text.lower().replace("×", "x").split("x")]
        return check(sides, kind)
    return check(kind(text), kind)


def check(value: Any, kind: Any) -> Any:
    """Take a value that TOML or JSON has typed already."""
    if kind == tuple[int, int]:
        return _one_or_two_sides(value)
    is_whole_float = kind is float and type(value) is int
    if type(value) is not kind and not is_whole_float:
        raise ValueError(type(value))
    if type(value) is int and not -BEYOND < value < BEYOND:
        raise ValueError("beyond all measure")
    return kind(value)


def _one_or_two_sides(value: Any) -> tuple[int, int]:
    sides = [value] if type(value) is int else list(value) if isinstance(value, list) else []
    if len(sides) not in (1, 2) or any(type(side) is not int for side in sides):
        raise ValueError(value)
    return sides[0], sides[-1]


def _lookup(known: Mapping[str, bool], text: str) -> bool:
    if text not in known:
        raise ValueError(text)
    return known[text]


def one_of(names: tuple[str, ...]) -> str:
    """Return `one of a, b, c`."""
    return f"one of {', '.join(names)}"
