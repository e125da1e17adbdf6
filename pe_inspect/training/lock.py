"""One run a folder: a lock that ends with the process that holds it."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

from pe_inspect.bounded import parsed_json
from pe_inspect.errors import OutputError

__all__ = ["LOCK", "locked"]

LOCK: Final = ".training.lock"
NO_LOCKS_HERE: Final = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this run.

    The operating system frees the lock when its process ends, however that ends: a lock file that
    was left behind is taken over. Where a file system has no locks there are none.

    Raises:
        OutputError: another process trains into this folder, or nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = _taken(folder / LOCK)
    except OSError as error:
        raise OutputError(f"Cannot write {folder / LOCK}: {error.strerror}.") from error
    try:
        yield
    finally:
        with suppress(OSError):
            (folder / LOCK).unlink()
        file.close()
        with suppress(OSError):
            folder.rmdir()  # succeeds only where the run has left nothing


def _taken(path: Path) -> IO[str]:
    """Return the lock file, locked, with this process's name in it."""
    while True:
        file = path.open("a+", encoding="utf-8")
        if not _lock(file):
            file.seek(0)
            said = file.read()
            file.close()
            raise OutputError(_refusal(path.parent, said))
        if _is_still(path, file):
            break
        file.close()  # its holder has removed it since we opened it
    file.truncate(0)
    started = datetime.now(tz=UTC).isoformat(timespec="seconds")
    file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": started}))
    file.flush()
    return file


def _lock(file: IO[str]) -> bool:
    """Lock an open file; whether nobody else had."""
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS_HERE:
            raise
    return True


def _is_still(path: Path, file: IO[str]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _refusal(folder: Path, content: str) -> str:
    try:
        holder = parsed_json(content)
        who = f" (process {holder['pid']} on {holder['host']}, since {holder['since']})"
    except (ValueError, KeyError, TypeError):  # it is just being written
        who = ""
    return (
        f"Another run trains into {folder}{who}. Wait for its end, stop it, "
        "or choose another --out."
    )
