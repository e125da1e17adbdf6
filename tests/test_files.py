"""Files are written whole or not at all, and nothing that is not ours is overwritten."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from pathlib import Path

import pytest

from pe_inspect.errors import OutputError, UnreadableCheckpoint, refused_as
from pe_inspect.files import MANIFEST, OutputFolder, write_atomically


def new_content(file):
    file.write(b"new")


def half_of_it(error):
    def write(file):
        file.write(b"half")
        raise error

    return write


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_with_the_folders_above_it(tmp_path):
    path = write_atomically(tmp_path / "a" / "b" / "c.bin", new_content)
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), MemoryError()])
def test_a_writer_that_stops_half_way_leaves_the_old_file_and_no_other(tmp_path, error):
    (tmp_path / "c.bin").write_bytes(b"old")
    with pytest.raises(type(error)):
        write_atomically(tmp_path / "c.bin", half_of_it(error))
    assert (tmp_path / "c.bin").read_bytes() == b"old"
    assert names_in(tmp_path) == ["c.bin"]


def test_a_full_disk_is_named_and_leaves_the_old_file(tmp_path):
    (tmp_path / "c.bin").write_bytes(b"old")
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(OutputError, match=r"Cannot write .*c\.bin: No space left on device\. "):
        write_atomically(tmp_path / "c.bin", half_of_it(full))
    assert (tmp_path / "c.bin").read_bytes() == b"old"
    assert names_in(tmp_path) == ["c.bin"]


@pytest.mark.parametrize("durable", [True, False])
def test_only_a_durable_file_waits_for_the_disk(tmp_path, monkeypatch, durable):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    write_atomically(tmp_path / "c.bin", new_content, durable=durable)
    assert bool(synced) is durable


def test_a_very_long_name_is_still_written(tmp_path):
    name = "x" * 251 + ".png"
    assert write_atomically(tmp_path / name, new_content).read_bytes() == b"new"


def test_a_folder_remembers_what_it_made(tmp_path):
    folder = OutputFolder(tmp_path / "out")
    folder.write("b.png", new_content)
    folder.write("a.png", new_content)
    assert json.loads((tmp_path / "out" / MANIFEST).read_text())["files"] == ["a.png", "b.png"]
    assert folder.written == [tmp_path / "out" / "b.png", tmp_path / "out" / "a.png"]


def test_what_an_earlier_run_made_is_replaced(tmp_path):
    OutputFolder(tmp_path).write("a.png", lambda file: file.write(b"first"))
    OutputFolder(tmp_path).write("a.png", new_content)
    assert (tmp_path / "a.png").read_bytes() == b"new"


def test_twenty_five_files_enter_the_manifest_without_waiting_for_the_disk(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    folder = OutputFolder(tmp_path)
    for k in range(25):
        folder.write(f"{k}.png", new_content)
    assert len(synced) == 25  # the files themselves, and no manifest


def test_a_foreign_file_stops_the_run_and_stays(tmp_path):
    (tmp_path / "a.png").write_bytes(b"theirs")
    expected = (
        r"a\.png exists and was not made by pe-inspect\. Pass --force to overwrite, or another "
    )
    with pytest.raises(OutputError, match=expected):
        OutputFolder(tmp_path).claim(["a.png", "b.png"])
    with pytest.raises(OutputError, match="was not made by pe-inspect"):
        OutputFolder(tmp_path).write("a.png", new_content)
    assert (tmp_path / "a.png").read_bytes() == b"theirs"


def test_several_foreign_files_are_counted(tmp_path):
    for name in "abc":
        (tmp_path / name).write_bytes(b"theirs")
    with pytest.raises(OutputError, match=r"a exists .* \(nor were 2 more\)"):
        OutputFolder(tmp_path).claim("cab")


def test_the_option_that_named_the_place_is_the_one_to_change(tmp_path):
    (tmp_path / "a.pth").write_bytes(b"theirs")
    place = OutputFolder(tmp_path, option="--export")
    with pytest.raises(OutputError, match=r"Pass --force to overwrite, or another --export\."):
        place.claim(["a.pth"])
    with pytest.raises(OutputError, match=r"No space left .* choose another --export\."):
        place.write("b.pth", half_of_it(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))


def test_only_names_that_fit_a_pattern_stand_in_the_way(tmp_path):
    for name in ("a_1.png", "a_1.txt", "b.png"):
        (tmp_path / name).write_bytes(b"theirs")
    OutputFolder(tmp_path).claim_matching(["a.png", "b_*.png"])
    OutputFolder(tmp_path / "new").claim_matching(["*"])
    with pytest.raises(OutputError, match=r"a_1\.png exists and was not made by pe-inspect\. "):
        OutputFolder(tmp_path).claim_matching(["a_*.png", "c.png"])


def test_a_name_that_is_too_long_is_said_before_anything_is_computed(tmp_path):
    name = "x" * 300
    with pytest.raises(OutputError, match=r"Cannot write .*x: File name too long\. .* --out\."):
        OutputFolder(tmp_path / name).claim(["a.png"])
    with pytest.raises(OutputError, match=rf"Cannot write .*{name}: File name too long\. "):
        OutputFolder(tmp_path).claim([name])


def test_what_the_system_refuses_of_a_path_is_an_error_of_the_callers_kind():
    refused = PermissionError(errno.EACCES, os.strerror(errno.EACCES), "a/b.pth")
    said = r"a/b\.pth cannot be reached: Permission denied\. Check its name and its permissions\."
    with pytest.raises(UnreadableCheckpoint, match=said), refused_as(UnreadableCheckpoint):
        raise refused


def test_force_overwrites_a_foreign_file(tmp_path):
    (tmp_path / "a.png").write_bytes(b"theirs")
    OutputFolder(tmp_path, force=True).write("a.png", new_content)
    assert (tmp_path / "a.png").read_bytes() == b"new"


@pytest.mark.parametrize("content", ["", "not json", "[]", '{"files": 3}', '{"made by": "me"}'])
def test_a_damaged_manifest_owns_nothing(tmp_path, content):
    (tmp_path / MANIFEST).write_text(content)
    (tmp_path / "a.png").write_bytes(b"theirs")
    with pytest.raises(OutputError, match="was not made by pe-inspect"):
        OutputFolder(tmp_path).claim(["a.png"])


def test_a_file_in_the_place_of_the_folder_is_said(tmp_path):
    (tmp_path / "out").write_bytes(b"theirs")
    for path in (tmp_path / "out", tmp_path / "out" / "deeper"):
        with pytest.raises(OutputError, match=r"out is a file; --out needs a folder there\."):
            OutputFolder(path).claim([])


def test_a_folder_that_cannot_be_written_is_said_before_anything_is_computed(tmp_path, monkeypatch):
    def refuse(dir):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(
        OutputError, match=r"Cannot write .*new: Permission denied\. .*another --out"
    ):
        OutputFolder(tmp_path / "new").claim(["a.png"])
    assert names_in(tmp_path) == []


def test_a_claim_leaves_nothing_behind(tmp_path):
    OutputFolder(tmp_path / "new").claim(["a.png"])
    assert names_in(tmp_path) == []


def test_a_link_to_nowhere_is_somebodys_file(tmp_path):
    (tmp_path / "a.png").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputError, match="was not made by pe-inspect"):
        OutputFolder(tmp_path).claim(["a.png"])
