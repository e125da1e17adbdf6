"""Numbers inside sentences, and sentences out of parts: how findings are worded."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["count_text", "listed", "number_text", "percent_text", "sentence"]


def number_text(value: float, *, on_a_scale: bool = True) -> str:
    """Write a number inside a sentence, with a true minus sign and no minus zero.

    Args:
        value: the number.
        on_a_scale: whether it lies in about −1 to 1: two decimals; else three significant digits.
    """
    text = f"{round(value, 2) + 0.0:.2f}" if on_a_scale else f"{value:.3g}"
    return text.replace("-", "−")


def percent_text(value: float) -> str:
    """Write a share inside a sentence: 97.2 %, 1,250 %; never broken before its sign."""
    percent = 100 * value
    digits = f"{percent:,.0f}" if abs(percent) >= 999.5 else f"{percent:.3g}"
    return f"{digits}\N{NO-BREAK SPACE}%"


def sentence(words: Sequence[str]) -> str:
    """Join the parts of a sentence that have something to say, and end it."""
    return "; ".join(word for word in words if word) + "."


def count_text(count: int, noun: str) -> str:
    """Write how many there are: `1 check`, `3 checks`."""
    return f"{count} {noun}{'s' * (count != 1)}"


def listed(names: Sequence[str]) -> str:
    """Return `a`, `a and b`, or `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
