"""What has arrived is kept, sparsely; offline it is all there is."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pe_inspect.errors import OutputError, UnreadableCheckpoint
from pe_inspect.loading import load
from pe_inspect.loading.remote.cache import About, CacheEntry, Store
from pe_inspect.loading.remote.settings import cache_folder, hub_snapshots

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def _data(folder):
    (found,) = folder.rglob("*.data")
    return found


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def test_what_was_read_is_not_asked_for_again(server, safetensors):
    url = server.put("/x.safetensors", safetensors)
    first = load(url).tensor("blocks.0.mlp.fc1.weight")
    before = len(server.requests)
    second = load(url).tensor("blocks.0.mlp.fc1.weight")
    assert np.array_equal(first, second)
    (probe,) = server.requests[before:]
    assert (probe.start, probe.stop) == (0, 1)


def test_the_cache_holds_a_sparse_file(server, safetensors, cache):
    load(server.put("/x.safetensors", safetensors)).tensor("patch_embed.proj.weight")
    stored = _data(cache).stat()
    assert stored.st_size <= len(safetensors)
    assert stored.st_blocks * 512 < len(safetensors) / 4
    assert cache.stat().st_mode & 0o077 == 0


def test_a_url_with_a_signature_is_not_written_down(server, safetensors, cache):
    server.put("/x.safetensors", safetensors)
    load(server.url + "/x.safetensors?signature=secret")
    for path in cache.rglob("*.json"):
        assert "secret" not in path.read_text()


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_the_cache_is_read_and_nothing_is_asked(
    variable, server, safetensors, monkeypatch, large_vit, equal
):
    url = server.put("/x.safetensors", safetensors)
    load(url).tensor("pos_embed")
    before = len(server.requests)
    monkeypatch.setenv(variable, "1")
    ckpt = load(url)
    assert equal(ckpt.tensor("pos_embed"), large_vit["pos_embed"])
    with pytest.raises(UnreadableCheckpoint) as error:
        ckpt.tensor("blocks.1.mlp.fc1.weight")
    assert f"are not in the cache, and {variable} forbids the network. Unset it" in str(error.value)
    assert len(server.requests) == before


@pytest.mark.parametrize("name", ["hf-hub:org/vit", "{url}/x.safetensors"])
def test_offline_what_was_never_read_is_one_line(name, server, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "YES")
    with pytest.raises(
        UnreadableCheckpoint,
        match=r"is not in the cache, and HF_HUB_OFFLINE forbids the network\. Unset it, or give",
    ):
        load(name.format(url=server.url))
    assert server.requests == []


def test_offline_a_repository_is_read_from_our_cache(serve, safetensors, monkeypatch):
    hub = serve()
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    hub.put("/org/vit/resolve/main/model.safetensors", safetensors, X_Repo_Commit=COMMIT)
    hub.put(f"/org/vit/resolve/{COMMIT}/config.json", b'{"num_heads": 3}')
    load("hf-hub:org/vit").tensor("pos_embed")
    before = len(hub.requests)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    ckpt = load("hf-hub:org/vit")
    assert ckpt.tensor("pos_embed").shape == (1, 13, 64)
    assert ckpt.hints.num_heads == 3
    assert len(hub.requests) == before


def test_offline_what_a_hugging_face_library_downloaded_is_read(safetensors, monkeypatch):
    repository = hub_snapshots() / "models--org--vit"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(safetensors)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("hf-hub:org/vit", f"hf-hub:org/vit@{COMMIT}"):
        ckpt = load(name)
        assert ckpt.source == name
        assert f"{name}: HF_HUB_OFFLINE is set; read from {snapshot}" in ckpt.notes
    with pytest.raises(UnreadableCheckpoint, match="is not in the cache"):
        load("hf-hub:org/vit@v2")


def test_a_server_that_cannot_be_reached_leaves_the_cache_with_a_note(server, safetensors):
    url = server.put("/x.safetensors", safetensors)
    load(url).tensor("pos_embed")
    told = []

    def gone(handler, request):
        handler.close_connection = True
        return True

    server.answer = gone
    ckpt = load(url, progress=told.append)
    assert ckpt.tensor("pos_embed").shape == (1, 13, 64)
    note = f"{url}: the server cannot be reached; what the cache has of it was read"
    assert note in ckpt.notes
    assert [transfer.notice for transfer in told] == [note]


def test_a_cache_that_cannot_be_written_is_done_without(server, safetensors, monkeypatch, tmp_path):
    (tmp_path / "a file").write_bytes(b"")
    monkeypatch.setenv("PE_INSPECT_CACHE", str(tmp_path / "a file" / "cache"))
    ckpt = load(server.put("/x.safetensors", safetensors))
    assert ckpt.tensor("pos_embed").shape == (1, 13, 64)


def test_a_full_disk_is_one_line_with_the_way_out(server, safetensors, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        OutputError,
        match=r"The cache cannot be written at .*: No space left on device\. Set PE_INSPECT_CACHE",
    ):
        load(server.put("/x.safetensors", safetensors))


def test_bytes_of_a_former_content_are_thrown_away(server, safetensors, vit, cache):
    from safetensors.torch import save

    url = server.put("/x.safetensors", safetensors)
    load(url)
    server.put("/x.safetensors", save(vit))
    load(url)
    assert _data(cache).stat().st_size == len(save(vit))


@pytest.mark.parametrize("damage", ["about.json", "journal", "data", "everything"])
def test_a_damaged_cache_is_read_anew(damage, server, safetensors, cache, large_vit, equal):
    url = server.put("/x.safetensors", safetensors)
    load(url).tensor("pos_embed")
    (entry,) = (cache / "remote").iterdir()
    if damage == "about.json":
        (entry / "about.json").write_text('{"url": 3')
    elif damage == "journal":
        for path in entry.glob("*.ranges"):
            path.write_text("0 999999999999\n7 banana\n\n-3 4\n12")
    elif damage == "data":
        _data(cache).write_bytes(b"")
    else:
        shutil.rmtree(entry)
    assert equal(load(url).tensor("pos_embed"), large_vit["pos_embed"])


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("PE_INSPECT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "pe-inspect"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "pe-inspect"


@given(
    pieces=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 30)), max_size=8),
    start=st.integers(0, 90),
    length=st.integers(0, 40),
)
def test_the_first_missing_stretch_is_what_a_set_of_bytes_says(
    pieces, start, length, tmp_path_factory
):
    stem = tmp_path_factory.mktemp("store") / "content"
    content = bytes(range(100))
    store = Store(stem)
    for begin, count in pieces:
        with store.writing(begin) as write:
            write(content[begin : begin + count])
    there = {i for begin, count in pieces for i in range(begin, min(begin + count, 100))}
    lacking = [i for i in range(start, start + length) if i not in there]
    again = Store(stem)
    gap = again.missing(start, start + length)
    assert gap == store.missing(start, start + length)
    assert (gap is None) == (not lacking)
    if gap is not None:
        assert gap[0] == lacking[0]
        assert not there & set(range(*gap))
    for position in there:
        one = bytearray(1)
        assert again.read_into(position, memoryview(one)) == 1
        assert one[0] == content[position]


def test_two_writers_of_one_content_do_not_disturb_each_other(tmp_path):
    first, second = Store(tmp_path / "x"), Store(tmp_path / "x")
    with first.writing(0) as write_first, second.writing(10) as write_second:
        write_first(b"0123456789")
        write_second(b"abcdefghij")
    assert Store(tmp_path / "x").missing(0, 20) is None


def test_what_a_server_said_is_remembered():
    about = About("https://x.org/a", "tag", 7, "f" * 64, COMMIT)
    CacheEntry("https://x.org/a").adopt(about)
    assert CacheEntry("https://x.org/a").about() == about
    assert CacheEntry("https://x.org/b").about() is None
