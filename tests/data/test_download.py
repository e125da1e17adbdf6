"""Downloads from a server of the test's own."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from pe_inspect.data import load
from pe_inspect.data.datasets import cifar10
from pe_inspect.data.datasets._download import Archive, fetch
from pe_inspect.errors import UsageError


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the URL under which it is served."""
    folder = tmp_path / "shop"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture(params=[True, False], ids=["own filter", "before 3.11.4"])
def filters(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the filter that Python has had since 3.11.4, and without."""
    if not request.param:
        monkeypatch.delattr(tarfile, "data_filter", raising=False)


@pytest.mark.usefixtures("filters")
def test_what_is_missing_is_downloaded_checked_and_unpacked(
    shop: tuple[Path, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make_cifar10: Callable[[Path], None],
) -> None:
    folder, url = shop
    make_cifar10(tmp_path / "made")
    name = "cifar-10-python.tar.gz"
    with tarfile.open(folder / name, "w:gz") as archive:
        archive.add(tmp_path / "made" / "cifar-10-batches-py", "cifar-10-batches-py")
    monkeypatch.setattr(cifar10, "ARCHIVE", Archive(f"{url}{name}", md5(folder / name)))
    downloaded = load("cifar10", root=tmp_path / "data")
    made = load("cifar10", root=tmp_path / "made")
    np.testing.assert_array_equal(downloaded.train.images, made.train.images)
    found = sorted(path.name for path in (tmp_path / "data").iterdir())
    assert found == ["cifar-10-batches-py", name]
    (folder / name).unlink()
    assert len(load("cifar10", root=tmp_path / "data").test) == 4


def test_another_file_than_was_expected_is_not_kept(shop: tuple[Path, str], tmp_path: Path) -> None:
    folder, url = shop
    (folder / "x.mat").write_bytes(b"wrong")
    with pytest.raises(UsageError) as caught:
        fetch(Archive(f"{url}x.mat", "0" * 32), tmp_path / "data", "SVHN", "x.mat into data")
    message = str(caught.value)
    assert f"its MD5 is {md5(folder / 'x.mat')}, and {'0' * 32} was expected" in message
    assert message.endswith("Download it elsewhere and put x.mat into data.")
    assert list((tmp_path / "data").iterdir()) == []


def test_a_server_without_the_file_is_named(shop: tuple[Path, str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"x\.mat could not be downloaded \(HTTP 404\)"):
        fetch(Archive(f"{shop[1]}x.mat", ""), tmp_path, "SVHN", "x.mat there")


def test_a_file_that_lies_there_is_checked_and_not_downloaded(tmp_path: Path) -> None:
    (tmp_path / "x.mat").write_bytes(b"mine")
    archive = Archive("http://127.0.0.1:9/x.mat", md5(tmp_path / "x.mat"))
    assert fetch(archive, tmp_path, "SVHN", "") == tmp_path / "x.mat"
    with pytest.raises(UsageError, match=r"is not the x\.mat of SVHN: its MD5 is"):
        fetch(Archive(archive.url, "0" * 32), tmp_path, "SVHN", "x.mat there")


def linked() -> tarfile.TarInfo:
    entry = tarfile.TarInfo("link")
    entry.type, entry.linkname = tarfile.SYMTYPE, "/etc"
    return entry


@pytest.mark.usefixtures("filters")
@pytest.mark.parametrize("entry", [tarfile.TarInfo("../../outside"), linked()], ids=["up", "link"])
def test_an_archive_cannot_write_outside_its_folder(tmp_path: Path, entry: tarfile.TarInfo) -> None:
    path = tmp_path / "data" / "x.tar.gz"
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(entry, io.BytesIO())
    with pytest.raises(UsageError, match=r"x\.tar\.gz cannot be unpacked \("):
        fetch(Archive("http://127.0.0.1:9/x.tar.gz", md5(path)), path.parent, "CIFAR", "")
    assert not (tmp_path / "outside").exists()
    assert [entry.name for entry in path.parent.iterdir()] == ["x.tar.gz"]
