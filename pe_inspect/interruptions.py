"""Ctrl-C, SIGTERM and a terminal that is closed: each ends a command as Ctrl-C does, none is lost.

Python drops an exception that is raised in a finaliser or a weak reference's callback: a Ctrl-C
that arrives there would be forgotten. It is remembered here, and raised again a moment later.
"""

from __future__ import annotations

import _thread
import signal
import sys
import threading
from types import FrameType
from typing import Any, Final

__all__ = ["REQUESTED", "heed_interruptions"]

REQUESTED: Final = threading.Event()
"""Set once somebody has asked this command to stop."""
A_MOMENT: Final = 0.05  # seconds


def heed_interruptions() -> None:
    """End the command by KeyboardInterrupt at every signal that asks it to stop.

    A signal that is ignored, as SIGHUP is under nohup, stays ignored.
    """
    REQUESTED.clear()
    usual = sys.unraisablehook

    def not_lost(dropped: Any) -> None:
        if issubclass(dropped.exc_type, KeyboardInterrupt):
            again = threading.Timer(A_MOMENT, _ask_again)
            again.daemon = True
            again.start()
        else:
            usual(dropped)

    sys.unraisablehook = not_lost
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _stop)


def _ask_again() -> None:
    """Send the main thread a signal, which ends its waiting for a file or a server, too."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        _thread.interrupt_main()


def _stop(_number: int, _frame: FrameType | None) -> None:
    REQUESTED.set()
    raise KeyboardInterrupt
