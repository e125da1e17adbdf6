"""Ask every file of a folder what it holds, and print a line of JSON about each: run as a program.

Its memory is bounded, so that what asks for gigabytes ends in a line and not the machine.
"""

from __future__ import annotations

import io
import json
import resource
import signal
import sys
import time
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

MEGABYTE = 1 << 20


def high_water() -> int:
    """The most memory since `lower_water`, in MB; 0 where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM")), 0)


def lower_water() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def outcome(words: list[str]) -> tuple[int | str, str]:
    """Return the exit code, or the name of what should not have been raised, and what was said."""
    from pe_inspect.commands.shell.program import program

    said = io.StringIO()
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(said):
            code = program([words[0]]).main(words, standalone_mode=False)
    except BaseException as error:
        return type(error).__name__, str(error)[:300]
    return code, said.getvalue()


def main(paths: list[str], megabytes: int, seconds: int) -> None:
    def give_up(*_: object) -> None:
        raise TimeoutError(f"{seconds} seconds")

    import pe_inspect.diagnosis.doctor
    import pe_inspect.loading.unpickler  # noqa: F401

    warnings.simplefilter("error")
    signal.signal(signal.SIGALRM, give_up)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + megabytes * MEGABYTE,) * 2)
    for path in map(Path, paths):
        lower_water()
        before, start = high_water(), time.process_time()
        signal.alarm(seconds)
        told = {}
        for command in ("info", "doctor"):
            told[command], told["message"] = outcome([command, str(path)])
        signal.alarm(0)
        told |= {"file": path.name, "seconds": time.process_time() - start}
        told |= {"megabytes": high_water() - before}
        sys.stdout.write(f"{json.dumps(told)}\n")


if __name__ == "__main__":
    main(sys.argv[3:], int(sys.argv[1]), int(sys.argv[2]))
