"""What installing takes: seconds and megabytes, of the light install and of all extras.

    python benchmarks/install.py [--extras "" all]

Makes a fresh virtual environment for each, installs this checkout into it with the versions of
`constraints.txt`, and prints the wall-clock seconds of `pip install` and the size of what it
brought, pip and setuptools left out. Downloads what pip's cache does not hold.
Targets: the light install under 40 s and 350 MB.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MB = 1e6
ROOT = Path(__file__).parents[1]


def installed(extra: str, folder: Path) -> tuple[float, float]:
    """Install into a fresh environment; return the seconds, and the bytes that it grew by."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    before, what = size_of(folder), f"{ROOT}[{extra}]" if extra else str(ROOT)
    line = [folder / "bin" / "pip", "install", "-q", "-c", ROOT / "constraints.txt", what]
    start = time.perf_counter()
    subprocess.run(line, check=True)
    return time.perf_counter() - start, size_of(folder) - before


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder, links left out."""
    paths = (Path(place, name) for place, _, names in os.walk(folder) for name in names)
    return sum(path.stat().st_size for path in paths if not path.is_symlink())


def main() -> None:
    """Install, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--extras", nargs="*", default=["", "all"], help="names; '' for none")
    for extra in parser.parse_args().extras:
        with tempfile.TemporaryDirectory() as folder:
            seconds, size = installed(extra, Path(folder))
        name = f"pe-inspect[{extra}]" if extra else "pe-inspect"
        print(f"{name:<18} {seconds:6.0f} s {size / MB:8.0f} MB", flush=True)


if __name__ == "__main__":
    main()
