"""Servers that have no ranges, lie, drop the line, redirect, change their mind, or say no."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from pe_inspect.errors import UnreadableCheckpoint
from pe_inspect.loading import load
from pe_inspect.loading.byte_source import ChangedMeanwhile

FIRST = 1 << 17


def _read(url, **options):
    ckpt = load(url, **options)
    return ckpt, ckpt.tensor("blocks.2.mlp.fc1.weight")


def _dropping(after, times):
    """Answer `times` times with a body that ends after a share of it; then behave."""
    left = [times]

    def answer(handler, request):
        path = handler.path.partition("?")[0]
        if left[0] == 0 or path not in handler.offered.files:
            return False
        left[0] -= 1
        whole = handler.offered.files[path]
        part = whole[request.start : request.stop] if handler.offered.ranges else whole
        status = 206 if handler.offered.ranges else 200
        span = f"bytes {request.start}-{request.start + len(part) - 1}/{len(whole)}"
        headers = {"Content-Range": span} if status == 206 else {}
        handler.send_response(status)
        for name, value in {"Content-Length": len(part), "ETag": '"one"', **headers}.items():
            handler.send_header(name, str(value))
        handler.end_headers()
        handler.send(request, part[: int(len(part) * after)])
        handler.close_connection = True
        return True

    return answer


# no ranges


def test_a_server_without_ranges_gives_the_whole_file_with_a_notice(server, safetensors, equal):
    server.ranges = False
    told = []
    ckpt, values = _read(server.put("/x.safetensors", safetensors), progress=told.append)
    assert len(server.requests) == 1
    assert values.shape == (8192, 64)
    said = (
        f"the server gives whole files only; all {len(safetensors):,} bytes of it were downloaded"
    )
    assert any(said in note for note in ckpt.notes)
    assert sum(said in transfer.notice for transfer in told) == 1
    moving = [transfer for transfer in told if not transfer.notice]
    assert moving[-1].received == moving[-1].expected == len(safetensors)


def test_a_whole_download_without_a_stated_length_is_measured(server, safetensors):
    def chunked(handler, request):
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for start in range(0, len(safetensors), 1 << 20):
            part = safetensors[start : start + (1 << 20)]
            handler.send(request, b"%x\r\n%b\r\n" % (len(part), part))
        handler.send(request, b"0\r\n\r\n")
        return True

    server.answer = chunked
    _, values = _read(server.url + "/x.safetensors")
    assert values.shape == (8192, 64)
    assert len(server.requests) == 1


def test_a_download_that_cannot_be_resumed_starts_again_a_bounded_number_of_times(
    server, safetensors
):
    server.ranges = False
    server.answer = _dropping(0.5, times=2)
    _read(server.put("/x.safetensors", safetensors, ETag='"one"'))
    assert len(server.requests) == 3
    server.answer = _dropping(0.5, times=99)
    ckpt = load(server.put("/y.safetensors", safetensors, ETag='"one"'))  # of the first half
    before = len(server.requests)
    with pytest.raises(UnreadableCheckpoint, match=r"drops the line \(the line was dropped"):
        ckpt.tensor("patch_embed.proj.weight")
    assert len(server.requests) == before + 5


# the line


def test_a_dropped_line_goes_on_from_what_has_arrived(server, safetensors, equal, large_vit):
    url = server.put("/x.safetensors", safetensors, ETag='"one"')
    ckpt = load(url)
    before = len(server.requests)
    server.answer = _dropping(0.5, times=2)
    key = "blocks.2.mlp.fc1.weight"
    assert equal(ckpt.tensor(key), large_vit[key])
    first, second, third = server.requests[before:]
    half = (first.stop - first.start) // 2
    assert second.start == first.start + half
    assert first.stop == second.stop == third.stop
    assert sum(r.sent for r in (first, second, third)) == first.stop - first.start


def test_a_line_that_always_drops_is_given_up_in_plain_words(server, safetensors, waits):
    server.answer = _dropping(0.0, times=99)
    with pytest.raises(UnreadableCheckpoint) as error:
        load(server.put("/x.safetensors", safetensors))
    assert len(server.requests) == 5
    assert waits == [0.0, 0.5, 1.0, 2.0]
    assert str(error.value) == (
        f"{server.url}/x.safetensors: 127.0.0.1 cannot be reached, or drops the line (the line "
        f"was dropped {FIRST} bytes early). What has arrived is kept: the same command goes on "
        "from there. Or give a file."
    )


def test_an_interrupted_download_goes_on_in_the_next_run(server, safetensors):
    url = server.put("/x.safetensors", safetensors, ETag='"one"')
    ckpt = load(url)

    def stop(_):
        raise KeyboardInterrupt

    first = load(url, progress=stop)
    with pytest.raises(KeyboardInterrupt):
        first.tensor("blocks.2.mlp.fc1.weight")
    before = len(server.requests)
    ckpt = load(url)
    ckpt.tensor("blocks.2.mlp.fc1.weight")
    probe, rest = server.requests[before:]
    assert (probe.start, probe.stop) == (0, 1)
    assert rest.start % (1 << 16) == 0
    assert rest.sent < server.requests[before - 1].stop - server.requests[before - 1].start


def test_a_server_that_is_not_there_is_one_line():
    with pytest.raises(UnreadableCheckpoint, match=r"127\.0\.0\.1 cannot be reached.*refused"):
        load("http://127.0.0.1:9/x.safetensors")


def test_a_silent_server_runs_into_the_timeout(server, monkeypatch):
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "0.05")
    awake = threading.Event()
    server.answer = lambda handler, request: awake.wait(5) or True
    with pytest.raises(UnreadableCheckpoint, match=r"cannot be reached.*timed out"):
        load(server.put("/x.safetensors", b"x"))
    awake.set()


def test_a_line_that_the_server_closed_meanwhile_is_opened_again(server, safetensors):
    def once(handler, request):
        handler.close_connection = True
        return False

    ckpt = load(server.put("/x.safetensors", safetensors))
    server.answer = once
    assert ckpt.tensor("pos_embed").shape == (1, 13, 64)
    assert ckpt.tensor("cls_token").shape == (1, 1, 64)


def test_no_line_is_used_for_a_second_request_while_a_body_is_unread(server, safetensors):
    url = server.put("/x.safetensors", safetensors)
    load(url)
    server.ranges = False
    ckpt = load(url)
    assert ckpt.tensor("pos_embed").shape == (1, 13, 64)


# lies

LIES = {
    "another range than asked for": (
        {"Content-Range": f"bytes 7-{FIRST + 6}/6294000"},
        rf"asked for bytes 0-{FIRST - 1}, it sends 'bytes 7-{FIRST + 6}/6294000'",
    ),
    "another length than its range": ({"Content-Length": "40"}, "and sends 40 bytes"),
    "a part of nothing": ({"Content-Range": ""}, "does not say of how many bytes"),
    "no range at all": ({"Content-Range": "bytes */*"}, "does not say of how many bytes"),
}


@pytest.mark.parametrize("kind", LIES)
def test_a_server_that_contradicts_itself_is_not_believed(kind, server, safetensors):
    headers, said = LIES[kind]

    def answer(handler, request):
        handler.give_file(request, safetensors, **headers)
        handler.close_connection = True
        return True

    server.answer = answer
    with pytest.raises(UnreadableCheckpoint, match=rf"the server contradicts itself: .*{said}"):
        load(server.url + "/x.safetensors")
    assert len(server.requests) == 1


def test_a_file_that_is_shorter_than_the_server_says_is_one_line(server, safetensors):
    def answer(handler, request):
        if request.start + FIRST < len(safetensors) // 2:
            return False
        handler.give(request, 416, b"", **{"Content-Range": f"bytes */{len(safetensors)}"})
        return True

    ckpt = load(server.put("/x.safetensors", safetensors))
    server.answer = answer
    with pytest.raises(UnreadableCheckpoint, match=r"contradicts itself: it says .* refuses byte"):
        ckpt.tensor("patch_embed.proj.weight")


# a file that changes


def test_a_file_that_changed_between_two_runs_is_read_anew(server, safetensors, vit):
    from safetensors.torch import save

    url = server.put("/x.safetensors", safetensors)
    load(url).tensor("pos_embed")
    server.put("/x.safetensors", save(vit))
    ckpt = load(url)
    assert np.array_equal(ckpt.tensor("pos_embed"), vit["pos_embed"].numpy())


def test_a_file_that_changes_while_it_is_opened_is_opened_once_more(server, safetensors, vit):
    from safetensors.torch import save

    big = {f"blocks.{i}.{'x' * 500}": vit["norm.weight"] + i for i in range(400)}
    url = server.put("/x.safetensors", save({**vit, **big}))
    content = server.files["/x.safetensors"]

    def swap(handler, request):
        if len(server.requests) == 2:  # the rest of a header that is longer than the first request
            server.put("/x.safetensors", safetensors)
        return False

    assert int.from_bytes(content[:8], "little") > FIRST
    server.answer = swap
    ckpt = load(url)
    assert "blocks.2.mlp.fc1.weight" in ckpt


def test_a_file_that_keeps_changing_is_one_line(server, safetensors):
    ckpt = load(server.put("/x.safetensors", safetensors))
    server.put("/x.safetensors", safetensors[:-1] + b"?")
    with pytest.raises(ChangedMeanwhile, match=r"changed on the server while it was being read\."):
        ckpt.tensor("blocks.2.mlp.fc1.weight")
    assert ChangedMeanwhile.exit_code == 3


def test_a_server_that_identifies_nothing_is_read_and_not_believed_next_time(
    server, safetensors, vit
):
    server.tags = False
    url = server.put("/x.safetensors", safetensors)
    load(url).tensor("pos_embed")
    changed = bytearray(safetensors)
    changed[-1] ^= 1
    server.put("/x.safetensors", bytes(changed))
    ckpt = load(url)
    assert np.array_equal(
        ckpt.tensor("pos_embed").ravel()[-1:].view(np.uint8)[:1],
        np.frombuffer(bytes(changed), np.uint8)[_end_of(ckpt, changed) - 4 :][:1],
    )


def _end_of(ckpt, content):
    import json

    length = int.from_bytes(content[:8], "little")
    return 8 + length + json.loads(content[8 : 8 + length])["pos_embed"]["data_offsets"][1]


# redirects


def test_redirects_are_followed_and_asked_only_once(serve, safetensors):
    hub, store = serve(), serve()
    hub.redirects["/x.safetensors"] = store.put("/blob?signature=secret", b"")
    store.put("/blob", safetensors)
    ckpt = load(hub.url + "/x.safetensors")
    ckpt.tensor("blocks.0.mlp.fc1.weight")
    assert len(hub.requests) == 1
    assert len(store.requests) == 2
    assert ckpt.source == hub.url + "/x.safetensors"


def test_a_signed_address_that_expired_is_asked_for_again(serve, safetensors):
    hub, store = serve(), serve()
    store.put("/blob", safetensors)
    hub.redirects["/x.safetensors"] = store.url + "/blob?until=1"
    ckpt = load(hub.url + "/x.safetensors")
    hub.redirects["/x.safetensors"] = store.url + "/blob?until=2"

    def expired(handler, request):
        if "until=1" in request.path:
            handler.give(request, 403, b"expired")
            return True
        return False

    store.answer = expired
    assert ckpt.tensor("blocks.0.mlp.fc1.weight").shape == (8192, 64)
    assert len(hub.requests) == 2


def test_redirects_without_an_end_are_one_line(server):
    server.redirects = {"/a.pth": "/b.pth", "/b.pth": "/a.pth"}
    with pytest.raises(UnreadableCheckpoint, match=r"/a\.pth is redirected 9 times without an end"):
        load(server.url + "/a.pth")
    assert len(server.requests) == 9


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://x.org/a", "", "https://"])
def test_a_redirect_leads_nowhere_but_the_web(target, server):
    server.redirects["/a.pth"] = target
    with pytest.raises(UnreadableCheckpoint, match="is redirected to no web address"):
        load(server.url + "/a.pth")
