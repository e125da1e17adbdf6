"""Where a question's files go, and what stops a run before or while it writes them."""

from __future__ import annotations

import errno
import os
import tempfile

import pytest

from pe_inspect import files
from pe_inspect.files import MANIFEST, OutputFolder

ASKED = {"similarity": (), "interpolate": ("--grid", "5x6"), "layernorm": ()}


@pytest.fixture
def never_asked(monkeypatch):
    """Fail if anything is computed."""

    def refuse(*_, **__):
        raise AssertionError("a question was asked")

    for name in ASKED:
        monkeypatch.setattr(f"pe_inspect.analysis.{name}.{name}", refuse)


def test_a_foreign_file_stops_the_run_before_anything_is_computed(run, similar, here, never_asked):
    theirs = here / "reports" / "tiny" / f"{similar[0]}.png"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"theirs")
    done = run(*similar)
    assert done.code == 2
    assert f"{similar[0]}.png exists and was not made by pe-inspect. Pass --force" in done.err
    assert theirs.read_bytes() == b"theirs"


def test_force_overwrites_it(run, similar, here):
    theirs = here / "reports" / "tiny" / f"{similar[0]}.png"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"theirs")
    assert run(*similar, "--force").code == 0
    assert theirs.read_bytes() != b"theirs"


def test_files_of_other_questions_do_not_stand_in_the_way(run, similar, here):
    (here / "reports" / "tiny").mkdir(parents=True)
    (here / "reports" / "tiny" / "notes.png").write_bytes(b"theirs")
    assert run(*similar).code == 0


@pytest.mark.parametrize("name", ["similarity_notes.txt", "similarity_mine.png", "similarity.csv"])
def test_a_file_that_would_not_be_touched_does_not_stand_in_the_way(run, similar, here, name):
    theirs = here / "oo" / name
    theirs.parent.mkdir()
    theirs.write_bytes(b"theirs")
    assert run(*similar, "--out", "oo").code == 0
    assert theirs.read_bytes() == b"theirs"


@pytest.mark.parametrize("question", ASKED)
def test_every_file_that_a_run_writes_would_have_stopped_it(run, two_schemes, here, question):
    words = (question, two_schemes, *ASKED[question], "--dpi", 20, "--save-data", "--json")
    paths = run(*words).json["written"]
    (here / "reports/two" / MANIFEST).unlink()
    done = run(*words)
    assert done.code == 2
    assert f"(nor were {len(paths) - 1} more)" in done.err


def test_a_foreign_map_stops_a_run_that_writes_every_map(run, similar, here, never_asked):
    theirs = here / "reports" / "tiny" / "similarity_blocks.0.png"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"theirs")
    done = run(*similar, "--each")
    assert "similarity_blocks.0.png exists and was not made by pe-inspect" in done.err


def test_a_folder_whose_name_is_too_long_stops_the_run_first(run, similar, never_asked):
    done = run(*similar, "--out", "x" * 300)
    assert done.code == 2
    assert "xxx: File name too long." in done.err


def test_out_names_another_folder(run, similar, here):
    done = run(*similar, "--out", "a/b", "--json")
    assert all(path.startswith("a/b/") for path in done.json["written"])
    assert (here / "a" / "b" / MANIFEST).is_file()


def test_a_file_in_the_place_of_out_stops_the_run_first(run, similar, here, never_asked):
    (here / "taken").write_bytes(b"theirs")
    done = run(*similar, "--out", "taken")
    assert done.code == 2
    assert "taken is a file; --out needs a folder there." in done.err


def test_a_folder_that_cannot_be_written_stops_the_run_first(
    run, similar, here, never_asked, monkeypatch
):
    def refuse(dir):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    done = run(*similar)
    assert done.code == 2
    assert "Cannot write reports/tiny: Permission denied." in done.err


def test_a_full_disk_is_a_plain_line_and_leaves_nothing(run, similar, here, monkeypatch):
    def no_space(path, write, **_):
        def fail(file):
            write(file)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        return original(path, fail)

    original = files.write_atomically
    monkeypatch.setattr(files, "write_atomically", no_space)
    done = run(*similar)
    assert done.code == 2
    assert "No space left on device. Nothing was left half-written" in done.err
    assert list((here / "reports" / "tiny").iterdir()) == []


def test_an_interruption_between_two_files_leaves_whole_files(run, similar, here, monkeypatch):
    original = OutputFolder.write

    def interrupt(self, name, write):
        if self.written:
            raise KeyboardInterrupt
        return original(self, name, write)

    monkeypatch.setattr(OutputFolder, "write", interrupt)
    done = run(*similar, "--save-data")
    assert done.code == 130
    assert "nothing is half-written" in done.err
    left = {path.name for path in (here / "reports" / "tiny").iterdir()}
    assert len(left) == 2
    assert MANIFEST in left
