"""Files and folders that are being written, and what a killed run left of them.

Their names say which process of which machine writes them. A later run that writes into the same
folder removes those whose process is gone: nobody else will.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import socket
import time
from functools import cache
from pathlib import Path
from typing import Final

__all__ = ["moved_away", "partial_beside", "sweep"]

STALE: Final = 24 * 3600.0
"""Seconds after which what another machine writes is taken for left behind."""
_OURS: Final = re.compile(
    r"\.pe-inspect-(?P<node>[0-9a-f]{8})-(?P<pid>\d{1,9})-(?P<of>[0-9a-f]{12})\.(?P<kind>partial|old)"
)
_SWEPT: Final[set[Path]] = set()


def partial_beside(path: Path) -> Path:
    """Return a name beside `path`, for what is to become it."""
    return path.with_name(f".pe-inspect-{_node()}-{os.getpid()}-{secrets.token_hex(6)}.partial")


def moved_away(path: Path) -> Path:
    """Return a name beside `path`, for what stands there until the new one has its place."""
    return path.with_name(f".pe-inspect-{_node()}-{os.getpid()}-{_short(path.name)}.old")


def sweep(path: Path) -> None:
    """Remove what killed runs left in the folder of `path`, once a folder and process.

    An old folder that was moved away, and whose new one never came, gets its name back.
    """
    folder = path.parent.absolute()
    if folder in _SWEPT:
        return
    _SWEPT.add(folder)
    try:
        with os.scandir(folder) as entries:
            left = [Path(each.path) for each in entries if each.name.startswith(".pe-inspect-")]
        for each in left:
            _remove_stale(each, path)
    except OSError:  # it cannot be listed, or is not there yet: the writing itself will say so
        return


def _remove_stale(left: Path, path: Path) -> None:
    named = _OURS.fullmatch(left.name)
    if named is None or not _is_stale(left, named):
        return
    if named["kind"] == "old" and named["of"] != _short(path.name):
        return  # of another target, whose next writing decides
    if named["kind"] == "old" and not os.path.lexists(path):
        left.replace(path)
    elif left.is_dir() and not left.is_symlink():
        shutil.rmtree(left, ignore_errors=True)
    else:
        left.unlink(missing_ok=True)


def _is_stale(left: Path, named: re.Match[str]) -> bool:
    if named["node"] == _node() and os.name == "posix":
        return not _is_alive(int(named["pid"]))
    return time.time() - left.lstat().st_mtime > STALE


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


@cache
def _node() -> str:
    """Eight digits for this machine: process numbers of one container mean nothing in another."""
    try:
        space = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        space = 0
    return _short(f"{socket.gethostname()} {space}")[:8]


def _short(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:12]
