"""What a stranger's text says, read within bounds: JSON, whole numbers, names, typed values.

Every function here ends in a value or in a `ValueError` with one line, whatever it is handed: text
that is nested without end, numbers of a million digits, types that were never meant.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path, PurePath
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

__all__ = [
    "LARGEST_JSON",
    "MOST_AXES",
    "is_file_name",
    "json_in",
    "parsed_json",
    "shown_shape",
    "typed",
    "typed_fields",
    "whole_number",
]

LARGEST_JSON: Final = 32 << 20
"""Bytes of a configuration or an index: that of 200,000 tensors has half of it."""
LARGEST_WHOLE: Final = 1 << 63
MOST_DIGITS: Final = 64
"""Digits of a number in JSON: tokenizers write 1e30 in full where they mean "no limit"."""
MOST_AXES: Final = 32
"""Of numpy's arrays."""
LONGEST_NAME: Final = 200
MOST_LISTS: Final = 100_000
BYTES_A_LIST: Final = 12
"""Bytes of text for each list or object beyond the first ones: each takes some 64 to 230 of memory,
and the entry of a tensor has three of them in 51 bytes or more."""


def parsed_json(
    text: str | bytes,
    *,
    largest: int = LARGEST_JSON,
    pairs: Callable[[list[tuple[str, Any]]], Any] | None = None,
    whole: Callable[[str], int] | None = None,
) -> Any:
    """Return what a JSON text says; its memory stays a small multiple of its length.

    Args:
        text: as it was found.
        largest: bytes, or characters, that are read at most.
        pairs: makes an object of its names and values; a dict where left out.
        whole: makes a number of its digits; where left out, one of at most 64.

    Raises:
        ValueError: it is no JSON, too long, nested too deeply, or has too many lists or digits.
    """
    if len(text) > largest:
        raise ValueError(f"{len(text):,} characters, at most {largest:,} are read")
    lists = text.count(b"[") + text.count(b"{") if isinstance(text, bytes) else _lists(text)
    if lists > MOST_LISTS + len(text) // BYTES_A_LIST:
        raise ValueError(f"{lists:,} lists and objects in {len(text):,} characters")
    try:
        return json.loads(text, object_pairs_hook=pairs, parse_int=whole or _bounded)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def json_in(path: Path) -> Any:
    """Return what a JSON file says.

    Raises:
        ValueError: as `parsed_json`.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return parsed_json(file.read(LARGEST_JSON + 1))


def _lists(text: str) -> int:
    return text.count("[") + text.count("{")


def _bounded(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a number of {len(digits):,} digits")
    return int(digits)


def whole_number(text: str) -> int | None:
    """Return a number of at most 18 ASCII digits; `None` for any other text."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def is_file_name(name: str) -> bool:
    """Whether a name is one part of a path, on every system: it cannot lead anywhere else."""
    is_part = PurePath(name).name == name and name not in ("", ".", "..")
    is_plain = name.isprintable() and "\\" not in name
    return is_part and is_plain and len(name.encode(errors="replace")) <= LONGEST_NAME


def shown_shape(shape: tuple[int, ...]) -> str:
    """Return a shape as messages show it, however many axes and digits somebody claims."""
    sides = [str(side) if abs(side) < LARGEST_WHOLE else "2^63 or more" for side in shape[:8]]
    more = f", … {len(shape)} axes" if len(shape) > len(sides) else "," * (len(shape) == 1)
    return f"({', '.join(sides)}{more})"


def typed(value: Any, kind: Any) -> Any:
    """Return a value of JSON as the type that an annotation names; lists become tuples.

    Args:
        value: plain.
        kind: a plain type, a `Literal`, a tuple of them, a mapping, or a union.

    Raises:
        ValueError: it is of another type, a number beyond 63 bits, or not finite.
    """
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _first_that_fits(value, parts)
    if origin is Literal and isinstance(value, str) and value in parts:
        return value
    if origin is tuple and isinstance(value, list | tuple):
        return _typed_tuple(value, parts)
    if kind is Mapping or origin is Mapping:
        return _typed_mapping(value, parts)
    if kind is NoneType and value is None:
        return value
    return _typed_scalar(value, kind)


def _first_that_fits(value: Any, kinds: tuple[Any, ...]) -> Any:
    for kind in kinds:
        try:
            return typed(value, kind)
        except ValueError:
            continue
    raise ValueError(_wrong(value, "one of its types"))


def _typed_tuple(value: Any, parts: tuple[Any, ...]) -> tuple[Any, ...]:
    kinds = (parts[0],) * len(value) if parts[1:] == (...,) else parts
    if len(kinds) != len(value):
        raise ValueError(f"{len(value)} values where {len(kinds)} belong")
    return tuple(typed(each, kind) for each, kind in zip(value, kinds))


def _typed_mapping(value: Any, parts: tuple[Any, ...]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(_wrong(value, "names and values"))
    kind = parts[1] if len(parts) > 1 else Any
    return {str(name): each if kind is Any else typed(each, kind) for name, each in value.items()}


def _typed_scalar(value: Any, kind: Any) -> Any:
    if kind is float and type(value) in (int, float):
        number = float(value) if _is_small(value) else math.inf
        if math.isfinite(number):
            return number
    elif type(value) is kind and (kind in (str, bool) or (kind is int and _is_small(value))):
        return value
    raise ValueError(_wrong(value, getattr(kind, "__name__", "another type")))


def _is_small(number: float) -> bool:
    return abs(number) < LARGEST_WHOLE


def _wrong(value: Any, wanted: str) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"a number that is no {wanted}, or beyond all measure"
    said = repr(value[:40]) if isinstance(value, str) else type(value).__name__
    return f"{said} where {wanted} belongs"


def typed_fields(kind: type, saved: Any, names: tuple[str, ...] | None = None) -> dict[str, Any]:
    """Return the fields of a dataclass that `saved` holds, each as its annotation says.

    Args:
        kind: the dataclass.
        saved: plain names and values, as JSON has them.
        names: the fields that are looked for; every one where left out.

    Raises:
        ValueError: it is no mapping, or a value is of another type.
    """
    if not isinstance(saved, Mapping):
        raise ValueError(_wrong(saved, "names and values"))
    hints = _hints(kind)
    found = {}
    for name in (each for each in names or hints if each in saved):
        try:
            found[name] = typed(saved[name], hints[name])
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    return found


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)
