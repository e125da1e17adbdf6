"""Ctrl-C and SIGTERM that wait for the end of a step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

from pe_inspect.interruptions import REQUESTED

__all__ = ["deferred_interrupt"]

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def deferred_interrupt(*, patient: bool = False) -> Iterator[threading.Event]:
    """Yield an event that the first Ctrl-C or SIGTERM sets; the second one stops at once.

    Outside the main thread, where Python handles no signals, the event is never set.

    Args:
        patient: let no second one stop at once. `torchrun` passes a signal on that the terminal
            has sent to every process already.
    """
    asked = threading.Event()
    if REQUESTED.is_set():  # and dropped, before the loop began
        asked.set()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    usual = {number: signal.getsignal(number) for number in SIGNALS}

    def ask(_number: int, _frame: FrameType | None) -> None:
        asked.set()
        if not patient:
            _handle(usual)

    _handle(dict.fromkeys(SIGNALS, ask))
    try:
        yield asked
    finally:
        _handle(usual)


def _handle(handlers: dict[Any, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
