"""What servers refuse, and addresses that are none: one plain line each, and few tries."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pe_inspect.errors import PEInspectError, UnreadableCheckpoint, UsageError
from pe_inspect.loading import load


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, r"127\.0\.0\.1 does not give this file to everybody \(401\)\. Check the address"),
        (403, r"127\.0\.0\.1 does not give this file to everybody \(403\)"),
        (404, r"there is no such file \(404\)\. Check the name\."),
        (410, r"there is no such file \(410\)"),
        (418, r"answers with status 418\. Try again later, or give a file\."),
    ],
)
def test_what_is_refused_is_one_line_and_one_request(status, said, server):
    server.answer = lambda handler, request: handler.give(request, status, b"no") or True
    with pytest.raises(UnreadableCheckpoint, match=said) as error:
        load(server.url + "/x.pth")
    assert error.value.exit_code == 3
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_may_pass_is_tried_again(status, server, safetensors, waits):
    def answer(handler, request):
        if len(server.requests) > 2:
            return False
        handler.give(request, status, b"busy", **{"Retry-After": "7"})
        return True

    server.answer = answer
    assert "pos_embed" in load(server.put("/x.safetensors", safetensors))
    assert waits == [7.0, 7.0]


def test_a_server_that_stays_busy_is_given_up(server, waits):
    server.answer = lambda handler, request: handler.give(request, 429, b"") or True
    with pytest.raises(UnreadableCheckpoint, match=r"asks for fewer requests \(429\)\. Wait a few"):
        load(server.url + "/x.pth")
    assert len(server.requests) == 5
    server.answer = lambda handler, request: (
        handler.give(request, 429, b"", **{"Retry-After": "3600"}) or True
    )
    with pytest.raises(UnreadableCheckpoint, match="asks for fewer requests"):
        load(server.url + "/y.pth")
    assert len(server.requests) == 6


# addresses


@pytest.mark.parametrize(
    "url", ["https://", "http:///x.pth", "https://x.org:99999/x.pth", "https://a b/x"]
)
def test_what_is_no_url_is_said(url):
    with pytest.raises(UsageError, match="is no URL; expected https://HOST/…/FILE"):
        load(url)


def test_a_url_with_odd_signs_is_asked_for_as_it_is_meant(server, safetensors):
    server.put("/a%20b/%C3%BC.safetensors", safetensors)
    ckpt = load(server.url + "/a b/ü.safetensors#part")
    assert "pos_embed" in ckpt


def test_passwords_and_signatures_are_sent_and_never_shown(server, safetensors):
    server.put("/x.safetensors", safetensors)
    url = server.url.replace("//", "//ann:pa%20ss@") + "/x.safetensors?signature=secret"
    ckpt = load(url)
    assert ckpt.source == server.url + "/x.safetensors?…"
    assert server.requests[0].path == "/x.safetensors?signature=secret"
    assert server.requests[0].authorization == "Basic YW5uOnBhIHNz"
    server.files.clear()
    with pytest.raises(UnreadableCheckpoint) as error:
        load(url.replace("x.", "y."))
    assert "secret" not in str(error.value)
    assert "ann" not in str(error.value)


def test_a_proxy_is_used_where_the_environment_names_one(serve, safetensors, monkeypatch):
    proxy = serve()
    proxy.put("http://models.invalid/x.safetensors", safetensors)
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv("no_proxy", "")
    assert "pos_embed" in load("http://models.invalid/x.safetensors")


WORDS = st.one_of(
    st.sampled_from(
        ["", "0", "5", "-1", "9" * 5000, "bytes 0-4/5", "bytes */5", "bytes 0-4/*", "é"]
    ),
    st.text(st.characters(min_codepoint=33, max_codepoint=255), max_size=12),
)
HEADERS = ("Content-Length", "Content-Range", "ETag", "Retry-After", "Location", "X-Linked-Size")


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    status=st.sampled_from([200, 204, 206, 302, 404, 416, 429, 503, 999]),
    headers=st.dictionaries(st.sampled_from(HEADERS), WORDS, max_size=4),
    body=st.binary(max_size=20),
)
def test_whatever_a_server_answers_is_read_or_refused_in_plain_words(
    status, headers, body, server, monkeypatch
):
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "0.05")
    server.requests.clear()

    def answer(handler, request):
        handler.give(request, status, body, **headers)
        handler.close_connection = True
        return True

    server.answer = answer
    with pytest.raises(PEInspectError) as error:
        load(server.url + "/x.safetensors")
    assert error.value.exit_code == 3
    assert len(server.requests) <= 10
