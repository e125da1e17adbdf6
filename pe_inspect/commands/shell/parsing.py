"""What a user types as one word: sizes, places, whole numbers. Each says what it was given."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from pe_inspect.errors import UsageError

__all__ = [
    "epsilon",
    "grid_sides",
    "inches",
    "layers",
    "megabytes",
    "memory",
    "numbers",
    "pair",
    "pairs",
    "place",
    "whole",
]


_IN_AN_INCH = {"in": 1.0, "cm": 2.54, "mm": 25.4, "pt": 72.27}  # TeX's points


def whole(option: str, *, least: int = 0, most: int | None = None) -> Callable[[str], int]:
    """Return a parser of whole numbers from `least` to `most`, both included."""

    def parse(given: str | int) -> int:  # typer hands in defaults as they are
        value = int(given) if re.fullmatch(r"\s*-?\d{1,18}\s*", str(given)) else None
        if value is None or value < least or (most is not None and value > most):
            span = f"of at least {least}" if most is None else f"from {least} to {most}"
            raise UsageError(f"{option} {given} is not a whole number {span}.")
        return value

    return parse


def epsilon(given: str) -> float:
    """Parse the ε of a norm: from 0 to below 1.

    Raises:
        UsageError: it is no such number.
    """
    try:
        value = float(given)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise UsageError(f"--ln-eps {given} is no ε of a norm; they are like 1e-6.")
    return value


def numbers(option: str, given: str | None) -> tuple[float, ...] | None:
    """Parse `1,0.8,0.5` as finite numbers; nothing given is `None`.

    Raises:
        UsageError: one of them is no number.
    """
    if given is None:
        return None
    try:
        found = tuple(float(word) for word in given.split(","))
    except ValueError:
        found = (math.nan,)
    if not all(map(math.isfinite, found)):
        raise UsageError(f"{option} {given!r} is not numbers with commas between, like 1,0.5,0.")
    return found


def memory(given: str | int) -> int:
    """Parse `2GB`, `500MB` or a number of bytes, from 1 MB on.

    Raises:
        UsageError: it is no such size.
    """
    pattern = r"\s*([0-9]{1,12}(?:\.[0-9]{1,6})?)\s*([kMGT]?)(i?)B?\s*"
    found = re.fullmatch(pattern, str(given), re.IGNORECASE)
    power = ["", "k", "m", "g", "t"].index(found[2].lower()) if found else 0
    value = int(float(found[1]) * (1024 if found[3] else 1000) ** power) if found else 0
    if value < 10**6:
        raise UsageError(f"--max-memory {given} is no size of memory: pass 500MB or more, as 2GB.")
    return value


def megabytes(given: str | float) -> float:
    """Parse the size of a page, in units of 10⁶ bytes: from 0.1 to 1000.

    Raises:
        UsageError: it is no such number.
    """
    try:
        value = float(given)
    except ValueError:
        value = -1.0
    if not 0.1 <= value <= 1000:
        raise UsageError(f"--max-mb {given} is no size of a page: pass 0.1 to 1000, e.g. 10.")
    return value


def inches(option: str, given: str) -> float:
    """Parse `3.25in`, `8.3cm`, `83mm` or `234pt`; a number alone is inches.

    Raises:
        UsageError: it is no such length.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(in|cm|mm|pt)?\s*", given)
    if found is None:
        raise UsageError(f"{option} {given!r} is no width; they are like 3.25in, 8.3cm, 234pt.")
    return float(found[1]) / _IN_AN_INCH[found[2] or "in"]


def layers(option: str, given: str) -> int | str | tuple[int | str, ...]:
    """Parse `3`, `blocks.3` or `0,3,11` as one layer, or as several.

    Raises:
        UsageError: it names none.
    """
    words = [word.strip() for word in given.split(",") if word.strip()]
    found = tuple(int(word) if re.fullmatch(r"[0-9]{1,9}", word) else word for word in words)
    if not found:
        raise UsageError(f"{option} {given!r} names no layer. Pass blocks.3, 3, or 0,3,11.")
    return found[0] if len(found) == 1 else found


def pair(option: str, given: str, *, one: bool = False) -> tuple[int, int]:
    """Parse `14x14` (or, with `one`, also `16` for 16×16) as rows and columns.

    Raises:
        UsageError: it is no such pair, or a side is 0.
    """
    _refuse_list(option, given)
    found = re.fullmatch(r"\s*(\d{1,9})\s*(?:[xX×*]\s*(\d{1,9}))?\s*", given)
    like = "24 or 14x24" if option == "--grid" else "384 or 224x384"
    form = f"a number, or rows and columns, like {like}" if one else "rows x columns: 14x14"
    if found is None or (found[2] is None and not one):
        raise UsageError(f"{option} {given!r} is not {form}.")
    rows, columns = int(found[1]), int(found[2] or found[1])
    if rows < 1 or columns < 1:
        raise UsageError(f"{option} {given}: both sides must be at least 1.")
    return rows, columns


def pairs(option: str, given: str | None) -> list[tuple[int, int]]:
    """Parse `224,384x512` as several sizes, each as `pair` does.

    Raises:
        UsageError: one of them is no size.
    """
    words = [word for word in (given or "").split(",") if word.strip()]
    return [pair(option, word, one=True) for word in words]


def _refuse_list(option: str, given: str) -> None:
    words = [word.strip() for word in given.split(",")]
    if len(words) < 2 or not all(words):
        return
    several = " (`pe-inspect evaluate` takes several)" if option == "--res" else ""
    is_pair = len(words) == 2 and "".join(words).isdecimal()
    meant = f" For {words[0]} by {words[1]}: {option} {'x'.join(words)}." if is_pair else ""
    raise UsageError(
        f"{option} {given} is {len(words)} sizes, and this takes one: ask once for each{several}."
        f"{meant}"
    )


def grid_sides(option: str, given: str, *, one: bool = False) -> tuple[int, ...]:
    """Parse `14x14` as rows and columns, or `8x14x14` as frames, rows and columns.

    Raises:
        UsageError: it is neither, or a side is 0.
    """
    if re.fullmatch(r"\s*\d{1,9}(?:\s*[xX×*]\s*\d{1,9}){2}\s*", given):
        sides = tuple(map(int, re.findall(r"\d+", given)))
        if min(sides) < 1:
            raise UsageError(f"{option} {given}: all sides must be at least 1.")
        return sides
    return pair(option, given, one=one)


def place(option: str, given: str) -> tuple[int, ...]:
    """Parse `7,3` as a row and a column, `2,7,3` as a frame before them, all from 0.

    Raises:
        UsageError: it is neither.
    """
    found = re.fullmatch(r"\s*(?:(\d{1,9})\s*,)?\s*(\d{1,9})\s*,\s*(\d{1,9})\s*", given)
    if found is None:
        raise UsageError(
            f"{option} {given!r} is not a row and a column. Write them as 7,7 (2,7,7 in frame 2); "
            "all count from 0, and prefix tokens do not count."
        )
    return tuple(int(number) for number in found.groups() if number is not None)
