"""How much of a large remote file is read: bytes and requests of `info` and `similarity`.

    python benchmarks/remote.py [--gigabytes 1.2]

Makes a `.safetensors` and a zip `.pth` of one ViT-shaped state dict in a temporary folder, serves
them on 127.0.0.1 with ranges, and runs each command on each URL in a process of its own, first
with an empty cache, then again. Target: under 1 % of the file.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from large_vit import FLOAT32, vit_shapes

PE_INSPECT = [sys.executable, "-m", "pe_inspect"]
COMMANDS = {"info": ["info"], "similarity": ["similarity", "--no-figures", "--quiet"]}


def write_safetensors(path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    """Write a header in the library's order, and as many zeros as it promises: a sparse file."""
    header, end = {}, 0
    for key in sorted(shapes):
        start, end = end, end + FLOAT32 * math.prod(shapes[key])
        header[key] = {"dtype": "F32", "shape": shapes[key], "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)


def write_pth(path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    """Write what torch.save writes."""
    import torch

    torch.save({"model": {key: torch.zeros(shape) for key, shape in shapes.items()}}, path)


@dataclass
class Count:
    """What a server has sent since it was last set to zero."""

    requests: int = 0
    body: int = 0


def serve(folder: Path, count: Count) -> ThreadingHTTPServer:
    """Serve a folder's files, ranges only, on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            path = folder / Path(self.path).name
            found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            count.requests += 1
            if not path.is_file() or found is None:
                self.send_error(404)
                return
            size = path.stat().st_size
            start, stop = int(found[1]), min(int(found[2]) + 1, size)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
            self.send_header("Content-Length", str(stop - start))
            self.send_header("ETag", f'"{path.stat().st_mtime_ns}"')
            self.end_headers()
            with path.open("rb") as file:
                file.seek(start)
                self.wfile.write(file.read(stop - start))
            count.body += stop - start

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:  # a client that hangs up
            pass

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def run(command: list[str], folder: Path) -> float:
    """Run one command line in an empty folder; return its wall time in seconds."""
    checkout = str(Path(__file__).parents[1])
    cache = {"PYTHONPATH": checkout, "PE_INSPECT_CACHE": str(folder / "cache")}
    started = time.perf_counter()
    done = subprocess.run(
        [*PE_INSPECT, *command, "--out", str(folder / "out")] if command[0] != "info" else
        [*PE_INSPECT, *command],
        env={**os.environ, **cache}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    return time.perf_counter() - started


def main() -> None:
    """Make the files, serve them, run the commands, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=1.2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder, count = Path(temporary), Count()
        shapes = vit_shapes(options.gigabytes)
        write_safetensors(folder / "big.safetensors", shapes)
        write_pth(folder / "big.pth", shapes)
        server = serve(folder, count)
        print(f"{'command':34} {'requests':>8} {'bytes':>12} {'of file':>8} {'wall':>7}")
        for name in ("big.safetensors", "big.pth"):
            url = f"http://127.0.0.1:{server.server_address[1]}/{name}"
            for title, words in COMMANDS.items():
                place = folder / f"{name}-{title}"
                place.mkdir()
                for again in ("", " (again)"):
                    count.requests = count.body = 0
                    seconds = run([words[0], url, *words[1:]], place)
                    share = count.body / (folder / name).stat().st_size
                    print(f"{f'{title} {name}{again}':34} {count.requests:8} {count.body:12,} "
                          f"{share:8.3%} {seconds:5.2f} s")  # fmt: skip
        server.shutdown()


if __name__ == "__main__":
    main()
