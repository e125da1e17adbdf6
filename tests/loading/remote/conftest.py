"""A small web server of the test's own, on this machine only, that behaves as it is told."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from safetensors.torch import save

from pe_inspect.loading.remote import fetching as _fetching


@dataclass
class Request:
    """What was asked, and how many bytes of a body went out."""

    path: str
    start: int | None
    stop: int | None
    authorization: str
    sent: int = 0


@dataclass
class Server:
    """Files by path, and how they are given.

    `answer` may replace the ordinary answer of a path: it is called with the handler and the
    request, and returns whether it answered.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    ranges: bool = True
    tags: bool = True
    port: int = 0
    answer: Callable[[BaseHTTPRequestHandler, Request], bool] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def sent(self) -> int:
        return sum(request.sent for request in self.requests)

    def put(self, path: str, content: bytes, **headers: str) -> str:
        """Offer a file; return its URL."""
        self.files[path] = content
        self.headers[path] = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.url + path


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    offered: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        offered, path = self.offered, self.path.partition("?")[0]
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        start, stop = (int(found[1]), int(found[2]) + 1) if found else (None, None)
        request = Request(self.path, start, stop, self.headers.get("Authorization", ""))
        offered.requests.append(request)
        if len(offered.requests) > 400:
            raise AssertionError("requests without an end")
        if offered.answer is not None and offered.answer(self, request):
            return
        if path in offered.redirects:
            self.give(request, 302, b"moved", Location=offered.redirects[path])
        elif path not in offered.files:
            self.give(request, 404, b"<html>not here</html>")
        else:
            self.give_file(request, offered.files[path])

    def give_file(self, request: Request, content: bytes, **more: str) -> None:
        path = self.path.partition("?")[0]
        tag = {"ETag": f'"{hashlib.md5(content).hexdigest()}"'} if self.offered.tags else {}
        headers = {**tag, **self.offered.headers.get(path, {}), **more}
        if not self.offered.ranges or request.start is None:
            self.give(request, 200, content, **headers)
        elif request.start >= len(content):
            self.give(request, 416, b"", **{"Content-Range": f"bytes */{len(content)}"}, **headers)
        else:
            part = content[request.start : request.stop]
            last = request.start + len(part) - 1
            headers = {"Content-Range": f"bytes {request.start}-{last}/{len(content)}", **headers}
            self.give(request, 206, part, **headers)

    def give(self, request: Request, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.send(request, body)

    def send(self, request: Request, body: bytes) -> None:
        request.sent += len(body)  # before the client can have it
        try:
            self.wfile.write(body)
        except OSError:  # the client has hung up, as it may
            self.close_connection = True


class QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is nothing to print."""


@pytest.fixture
def serve() -> Iterator[Callable[[], Server]]:
    """Return a function that starts one more server."""
    running = []

    def start() -> Server:
        offered = Server()
        handler = type("Bound", (Handler,), {"offered": offered})
        server = QuietServer(("127.0.0.1", 0), handler)
        offered.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        running.append((server, thread))
        return offered

    yield start
    for server, thread in running:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def server(serve) -> Server:
    return serve()


@pytest.fixture(autouse=True)
def waits(monkeypatch, tmp_path) -> list[float]:
    """A cache and an environment of the test's own; waiting is noted, and not done."""
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("PE_INSPECT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "60")
    waited: list[float] = []
    monkeypatch.setattr(_fetching, "wait", waited.append)
    return waited


@pytest.fixture(scope="session")
def large_vit() -> dict[str, torch.Tensor]:
    """Timm's names, a 3×4 grid, and blocks that are large beside what is asked of them."""
    rng = torch.Generator().manual_seed(3)

    def make(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=rng)

    state = {"cls_token": make(1, 1, 64), "pos_embed": make(1, 13, 64)}
    for block in range(3):
        state[f"blocks.{block}.norm1.weight"] = make(64)
        state[f"blocks.{block}.norm1.bias"] = make(64)
        state[f"blocks.{block}.mlp.fc1.weight"] = make(8192, 64)
    return {**state, "patch_embed.proj.weight": make(64, 3, 4, 4)}


@pytest.fixture(scope="session")
def safetensors(large_vit) -> bytes:
    """6 MB, of which the norms and the table are 6 kB."""
    return save(large_vit)


@pytest.fixture
def noise() -> bytes:
    return np.random.default_rng(5).bytes(1_000_000)
