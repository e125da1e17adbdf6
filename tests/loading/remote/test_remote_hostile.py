"""Servers without an end: a byte a second, headers and bodies that go on; and odd addresses."""

from __future__ import annotations

import time

import pytest

from pe_inspect.errors import PEInspectError, UnreadableCheckpoint, UsageError
from pe_inspect.loading import load
from pe_inspect.loading.remote import fetching, http, patience

SECRET = "sigSECRETsig"


@pytest.fixture
def soon(monkeypatch):
    """Half a second of patience, and little room."""
    monkeypatch.setattr(patience, "timeout", lambda: 0.3)
    monkeypatch.setattr(http, "timeout", lambda: 0.3)
    monkeypatch.setattr(patience, "LARGEST_UNMEASURED", 1 << 20)


def _until_it_hangs_up(handler, piece, pause=0.0):
    start = time.monotonic()
    try:
        while time.monotonic() - start < 20:
            handler.wfile.write(piece)
            handler.wfile.flush()
            time.sleep(pause)
    except OSError:
        handler.close_connection = True
    return True


def _head(handler, *lines):
    for line in ("HTTP/1.1 200 OK", *lines):
        handler.wfile.write(f"{line}\r\n".encode())


def drops_in_the_headers(handler, _):
    return _until_it_hangs_up(handler, b"H", 0.05)


def headers_without_end(handler, _):
    _head(handler)
    return _until_it_hangs_up(handler, b"X: " + b"y" * 60_000 + b"\r\n")


def continued_without_end(handler, _):
    return _until_it_hangs_up(handler, b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


def drops_in_the_body(handler, _):
    _head(handler, "Content-Length: 100000", 'ETag: "1"', "")
    return _until_it_hangs_up(handler, b"x", 0.05)


def chunks_without_end(handler, _):
    _head(handler, "Transfer-Encoding: chunked", "")
    return _until_it_hangs_up(handler, b"2000\r\n" + b"x" * 8192 + b"\r\n")


def drops_of_chunks(handler, _):
    _head(handler, "Transfer-Encoding: chunked", "")
    return _until_it_hangs_up(handler, b"1\r\nx\r\n", 0.05)


def body_until_the_end_of_days(handler, _):
    _head(handler, "Connection: close", "")
    return _until_it_hangs_up(handler, b"x" * 8192)


ENDLESS = [
    drops_in_the_headers, headers_without_end, continued_without_end, drops_in_the_body,
    chunks_without_end, drops_of_chunks, body_until_the_end_of_days,
]  # fmt: skip


@pytest.mark.parametrize("answer", ENDLESS, ids=lambda each: each.__name__)
def test_an_answer_without_an_end_ends_in_a_plain_line(answer, server, soon):
    server.answer = answer
    start = time.monotonic()
    with pytest.raises(UnreadableCheckpoint, match="drops the line"):
        load(server.url + "/x.safetensors")
    assert time.monotonic() - start < 10


def test_attempts_end_at_the_deadline(server, safetensors, monkeypatch):
    def refuse(handler, request):
        handler.give(request, 503, b"")
        return True

    server.answer = refuse
    monkeypatch.setattr(fetching, "DEADLINE", -1.0)
    with pytest.raises(UnreadableCheckpoint, match="again and again"):
        load(server.put("/x.safetensors", safetensors))


LOCATIONS = [
    "http://[::1", "http://host:port/x", "http://host:99999/x", "//", "http://", "ftp://host/x",
    "http://a\tb/x", "", "file:///etc/passwd", "http:///x", "http://\x7f/x",
]  # fmt: skip


@pytest.mark.parametrize("location", LOCATIONS)
def test_a_malformed_redirect_is_a_plain_line_without_its_query(location, server):
    server.redirects["/x.pth"] = location + (f"?{SECRET}" if location else "")
    with pytest.raises(PEInspectError) as error:
        load(server.url + "/x.pth")
    assert error.value.exit_code == 3
    assert SECRET not in str(error.value)


def test_a_redirect_with_odd_signs_is_followed_and_its_query_is_not_shown(server):
    server.redirects["/x.pth"] = f"{server.url}/a b.pth?s={SECRET} \x01"
    with pytest.raises(PEInspectError) as error:
        load(server.url + "/x.pth")
    assert SECRET not in str(error.value)


def test_https_is_not_left_for_http():
    with pytest.raises(UnreadableCheckpoint, match="redirected from https to http://host/x") as e:
        http._target("https://host/a", "https://host/a", f"http://host/x?{SECRET}")
    assert SECRET not in str(e.value)


TYPED = ["http://[::1", "http://host:port/x", "https://:80/x", "http://\x00/x", "https://"]


@pytest.mark.parametrize("url", TYPED)
def test_a_malformed_address_that_was_typed_is_a_usage_error(url):
    with pytest.raises(UsageError, match="is no URL"):
        load(url)


@pytest.mark.parametrize("about", ["[" * 50_000, '{"url": 1}', '{"size": 1e999}', "[]", "3"])
def test_a_cache_that_somebody_broke_is_asked_for_anew(about, server, safetensors, tmp_path):
    url = server.put("/x.safetensors", safetensors)
    load(url)
    (broken,) = tmp_path.glob("cache/**/about.json")
    broken.write_text(about)
    assert len(load(url).keys) == 12
