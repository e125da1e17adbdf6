"""Writing to stdout and stderr: any encoding, a closed pipe, hostile file names."""

from __future__ import annotations

import codecs
import json
import math
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TextIO

from pe_inspect.errors import OutputError

__all__ = [
    "complain",
    "leave_closed_pipe",
    "move_line",
    "note",
    "on_a_terminal",
    "tolerate_any_encoding",
    "working",
    "write_json",
    "write_line",
    "write_lines",
]

PLAIN: Final = {"×": "x", "·": "-", "…": "...", "–": "-", "—": "-", "−": "-", "→": "->", "≥": ">="}
CLEAR_LINE: Final = "\r\x1b[K"
BEAT: Final = 1.0  # seconds
CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def tolerate_any_encoding() -> None:
    """Let stdout and stderr write what their encoding lacks as its nearest plain characters."""
    codecs.register_error("pe_inspect.plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        reconfigure: Any = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="pe_inspect.plain")


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    return "".join(PLAIN.get(character, "?") for character in lost), error.end


def write_line(text: str) -> None:
    """Write a line to stdout. A reader that has gone away (`| head`) does not stop the work."""
    _write(sys.stdout, text)


def write_lines(texts: Iterable[str]) -> None:
    """Write lines to stdout, one after the other."""
    for text in texts:
        write_line(text)


def write_json(value: Mapping[str, Any]) -> None:
    """Write one JSON object to stdout. JSON knows no NaN and no infinity: they become null."""
    write_line(json.dumps(_strict(value), indent=2, ensure_ascii=False, allow_nan=False))


def _strict(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _strict(_whole_counts(str(key), inner)) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(inner) for inner in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # numpy's scalars and arrays
        return _strict(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _whole_counts(name: str, value: Any) -> Any:
    """Return a count as the whole number that it is: summaries hold floats only."""
    is_count = name.startswith("num_") and isinstance(value, float) and value.is_integer()
    return int(value) if is_count else value


def complain(text: str) -> None:
    """Write lines to stderr, at once; where they cannot be written, the work goes on."""
    with suppress(OutputError):
        _write(sys.stderr, text)


def note(text: str, *, quiet: bool) -> None:
    """Write a note to stderr, unless the run is quiet."""
    if not quiet:
        complain(f"Note: {text}")


def on_a_terminal() -> bool:
    """Whether somebody is looking at stderr: progress that moves is drawn for them only."""
    return sys.stderr is not None and sys.stderr.isatty()


@contextmanager
def working(what: str, *, quiet: bool) -> Iterator[None]:
    """Say on a terminal what is being done and for how long, from the second second on."""
    if quiet or not on_a_terminal():
        yield
        return
    done = threading.Event()
    clock = threading.Thread(target=_show_seconds, args=(what, done), daemon=True)
    clock.start()
    try:
        yield
    finally:
        done.set()
        clock.join()


def _show_seconds(what: str, done: threading.Event) -> None:
    started = time.monotonic()
    while not done.wait(BEAT):
        move_line(f"{what}, {time.monotonic() - started:.0f} s")
    move_line("")


def move_line(text: str) -> None:
    """Replace the last line of a terminal's stderr; an empty text removes it."""
    width = shutil.get_terminal_size().columns - 1
    sys.stderr.write(CLEAR_LINE + text[:width])
    sys.stderr.flush()


def _write(stream: TextIO | None, text: str) -> None:
    if stream is None:  # closed by whoever started us (`>&-`)
        return
    try:
        stream.write(CONTROL.sub(_visible, text) + "\n")
        stream.flush()
    except BrokenPipeError:
        _silence(stream)
    except OSError as error:
        _silence(stream)
        raise OutputError(f"Cannot write to {stream.name}: {error.strerror}.") from error


def leave_closed_pipe() -> None:
    """Write no more to a stdout whose reader has gone away, not even when Python exits."""
    if sys.stdout is not None:
        _silence(sys.stdout)


def _silence(stream: TextIO) -> None:
    """Send what is left to nowhere: Python would try to write it once more when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _visible(match: re.Match[str]) -> str:
    """A control character of a file or tensor name, as an escape that JSON reads too."""
    return f"\\u{ord(match.group()):04x}"
