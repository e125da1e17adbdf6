"""A command that is stopped or killed, or whose disk is full, leaves nothing half-written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from hostile.kills import COMMANDS, ROOT, killed, left_in, ran
from hostile.seeds import STATE
from safetensors import safe_open
from safetensors.numpy import save

from pe_inspect import partial_files
from pe_inspect.baking.writing import _name
from pe_inspect.files import write_atomically
from pe_inspect.partial_files import moved_away, partial_beside, sweep

KILLS = int(os.environ.get("PE_INSPECT_KILLS", "2"))

WRITER = """
    import sys, time
    from pathlib import Path
    from pe_inspect.files import write_atomically
    from pe_inspect.interruptions import heed_interruptions

    def write(file):
        file.write(b"half")
        file.flush()
        print("writing", flush=True)
        time.sleep(60)

    heed_interruptions()
    try:
        write_atomically(Path(sys.argv[1]), write)
    except KeyboardInterrupt:
        sys.exit(130)
"""
DROPPER = """
    import os, signal, sys, time, weakref
    from pe_inspect.interruptions import REQUESTED, heed_interruptions

    class Thing: pass
    thing = Thing()
    watch = weakref.ref(thing, lambda _: [os.kill(os.getpid(), signal.SIGINT), time.sleep(0.01)])
    heed_interruptions()
    try:
        del thing
        print("dropped", REQUESTED.is_set(), flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        sys.exit(130)
"""


def _program(code, *words):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, words)],
        stdout=subprocess.PIPE, text=True, env=environment,
        preexec_fn=_heeding,
    )  # fmt: skip


def _heeding():
    """Take SIGHUP as usual: under nohup it would be ignored."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def _stopped_while_writing(path, by):
    process = _program(WRITER, path)
    assert process.stdout.readline() == "writing\n"
    process.send_signal(by)
    process.communicate(timeout=60)
    return process.returncode


@pytest.mark.subprocess
@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_asks_to_stop_cleans_up(by, tmp_path):
    assert _stopped_while_writing(tmp_path / "a.bin", by) == 130
    assert list(tmp_path.iterdir()) == []


@pytest.mark.subprocess
def test_a_later_run_removes_what_a_killed_one_left(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"old")
    assert _stopped_while_writing(tmp_path / "a.bin", signal.SIGKILL) == -signal.SIGKILL
    assert len(left_in(tmp_path)) == 1
    assert (tmp_path / "a.bin").read_bytes() == b"old"
    write_atomically(tmp_path / "b.bin", lambda file: file.write(b"new"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bin", "b.bin"]


@pytest.mark.subprocess
def test_an_interruption_that_python_drops_in_a_callback_is_raised_again():
    process = _program(DROPPER)
    assert process.communicate(timeout=60)[0] == "dropped True\n"
    assert process.returncode == 130


def _dead():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def of_the_dead(monkeypatch):
    """Name files as a process does that is gone."""
    pid = _dead()
    monkeypatch.setattr(partial_files.os, "getpid", lambda: pid)


@pytest.mark.subprocess
def test_only_what_nobody_writes_any_more_is_removed(tmp_path, of_the_dead, monkeypatch):
    stale, folder = partial_beside(tmp_path / "a"), partial_beside(tmp_path / "b")
    stale.write_bytes(b"half")
    (folder / "inner").mkdir(parents=True)
    elsewhere = tmp_path / stale.name.replace(partial_files._node(), "0" * 8)
    elsewhere.write_bytes(b"of another machine, just now")
    monkeypatch.undo()
    alive, foreign = partial_beside(tmp_path / "a"), tmp_path / ".pe-inspect-notes"
    for path in (alive, foreign):
        path.write_bytes(b"kept")
    sweep(tmp_path / "c")
    kept = sorted([alive.name, foreign.name, elsewhere.name])
    assert sorted(path.name for path in tmp_path.iterdir()) == kept
    os.utime(elsewhere, (time.time() - 2 * 86400,) * 2)
    monkeypatch.setattr(partial_files, "_SWEPT", set())
    sweep(tmp_path / "c")
    assert not elsewhere.exists()


@pytest.mark.subprocess
def test_an_old_folder_whose_new_one_never_came_gets_its_name_back(
    tmp_path, of_the_dead, monkeypatch
):
    target = tmp_path / "vit"
    moved_away(target).mkdir()
    (moved_away(target) / "weights").write_bytes(b"old")
    sweep(tmp_path / "other")
    assert not target.exists()
    monkeypatch.setattr(partial_files, "_SWEPT", set())
    sweep(target)
    assert (target / "weights").read_bytes() == b"old"
    moved_away(target).mkdir()
    monkeypatch.setattr(partial_files, "_SWEPT", set())
    sweep(target)
    assert [path.name for path in tmp_path.iterdir()] == ["vit"]


def test_a_folder_takes_the_place_of_an_old_one(tmp_path):
    for name in ("new", "vit"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "from").write_text(name)
    _name(tmp_path / "new", tmp_path / "vit")
    assert [path.name for path in tmp_path.iterdir()] == ["vit"]
    assert (tmp_path / "vit" / "from").read_text() == "new"


@pytest.fixture
def place(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.safetensors").write_bytes(save(STATE))
    return tmp_path


def _whole(place):
    for path in place.glob("out/**/*.safetensors"):
        with safe_open(path, framework="numpy") as file:
            assert file.keys()
    for path in place.glob("out/**/*.png"):
        assert path.read_bytes().endswith(b"IEND\xaeB`\x82")
    for path in place.glob("out/**/*.html"):
        assert path.read_text().rstrip().endswith("</html>")


def _full(name, place):
    code, said = ran(name, place, largest_file=1000)
    assert code == 2, said
    assert "Cannot write" in said
    assert "Traceback" not in said
    assert left_in(place) == []
    _whole(place)


@pytest.mark.subprocess
def test_a_full_disk_while_a_checkpoint_is_written_ends_in_a_line(place):
    _full("write", place)


@pytest.mark.sweep
@pytest.mark.subprocess
@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_ends_in_a_line(name, place):
    _full(name, place)


@pytest.mark.sweep
@pytest.mark.subprocess
@pytest.mark.parametrize("name", COMMANDS)
def test_commands_that_are_killed_leave_whole_files_and_a_later_run_sweeps(name, place):
    """`PE_INSPECT_KILLS=200` kills each two hundred times, as `make nightly` does."""
    start = time.monotonic()
    code, said = ran(name, place)
    assert code == 0, said
    took = time.monotonic() - start
    for turn in range(KILLS):
        code = killed(name, place, (signal.SIGTERM, signal.SIGKILL)[turn % 2], took)
        assert code in (0, 130, -signal.SIGTERM, -signal.SIGKILL)
        if turn == 0 and code == 130:  # SIGTERM, and nobody was killed before
            assert left_in(place) == []
        _whole(place)
    code, said = ran(name, place)
    assert code == 0, said
    assert left_in(place) == []
