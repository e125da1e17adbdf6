"""One program behind three doors; every way out has its code and its plain lines."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from pe_inspect import __version__
from pe_inspect.commands import commands
from pe_inspect.commands.shell import Command
from pe_inspect.commands.shell.program import guarded, program
from pe_inspect.errors import AmbiguousCheckpoint, NoPositionEmbedding, UnsafeCheckpoint

REPOSITORY = Path(__file__).parents[2]
DOORS = (["-m", "pe_inspect"], ["cli.py"])


@pytest.fixture
def failing(monkeypatch):
    """Let `pe-inspect families` raise what it is given."""

    def arm(error: BaseException) -> None:
        def families() -> None:
            """Fail."""
            raise error

        monkeypatch.setitem(commands._entries, "families", Command(families, "Look"))

    dict(commands)
    return arm


@pytest.mark.subprocess
@pytest.mark.parametrize("door", DOORS)
def test_every_door_leads_to_the_same_program(door):
    done = subprocess.run(
        [sys.executable, *door, "--help"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "60", "PYTHONIOENCODING": "ascii"},
    )
    assert "Usage: pe-inspect [OPTIONS] COMMAND" in done.stdout
    assert done.stdout.isascii()
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 60


def test_the_version_is_printed(run):
    assert run("--version").out == f"pe-inspect {__version__}\n"


def test_nothing_asked_is_help(run):
    done = run()
    assert done.code == 0
    assert all(name in done.out for name in commands)


@pytest.mark.parametrize("columns", [60, 80])
def test_the_help_of_the_program_fills_its_lines(run, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = run("--help").out.splitlines()
    start = next(k for k, line in enumerate(lines) if "CHECKPOINT is" in line)
    paragraph = [line.strip() for line in lines[start : lines.index(" " * columns, start)]]
    following = [line.split()[0] for line in paragraph[1:]]
    assert all(len(line) + 1 + len(word) > columns - 2 for line, word in zip(paragraph, following))


def test_a_flag_shows_no_type(run):
    assert "<bool>" not in run("interpolate", "--help").out


@pytest.mark.parametrize("name", sorted(commands))
def test_every_command_has_help_without_colours_when_piped(run, name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    done = run(name, "--help")
    assert done.code == 0
    assert f"Usage: pe-inspect {name}" in done.out
    assert "\x1b" not in done.out
    assert max(map(len, done.out.splitlines())) <= 60


@pytest.mark.parametrize("name", sorted(commands))
def test_no_help_text_loses_its_brackets(run, name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    shown = run(name, "--help").out
    texts = [line for each in program().commands[name].params for line in (each.help or "").split()]
    words = {text.replace("\\[", "[") for text in texts if "[" in text}
    assert {word for word in words if word not in shown} == set()
    if name == "info":
        assert words == {"hf-hub:ORG/NAME[@rev],"}


def test_every_command_is_one_file_of_its_name():
    assert commands.modules() == [f"pe_inspect.commands.{name}" for name in sorted(commands)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["simlarity"], "Error: Unknown command 'simlarity'. Did you mean 'similarity'?"),
        (["info", "x.pth", "--quit"], "Error: Unknown option '--quit'. Did you mean '--quiet'?"),
        (["similarity", "--lyaer", "3"], "Unknown option '--lyaer'. Did you mean '--layer'"),
        (["info", "--xyzzy"], "Error: Unknown option '--xyzzy'.\n"),
        (
            ["info", "--num-heads", "two"],
            "Error: --num-heads two is not a whole number of at least 1.",
        ),
        (["info", "--num-heads", "0"], "Error: --num-heads 0 is not a whole number of at least 1."),
        (["info", "--tower"], "Error: Option '--tower' requires an argument."),
        (["info", "a.pth", "b.pth"], "Error: Got unexpected extra argument"),
    ],
)
def test_a_wrong_command_line_is_code_2_with_a_way_out(run, words, said):
    done = run(*words)
    assert done.code == 2
    assert said in done.err
    assert done.out == ""
    assert "Traceback" not in done.err


def test_a_wrong_option_points_to_the_help_of_its_command(run):
    assert "`pe-inspect info --help` lists the arguments and options." in run("info", "--q").err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnsafeCheckpoint("a.pth needs os.system"), 3),
        (NoPositionEmbedding("none in x"), 4),
        (AmbiguousCheckpoint("197 rows"), 5),
    ],
)
def test_our_own_errors_are_their_message_and_their_code(run, failing, error, code):
    failing(error)
    done = run("families")
    assert (done.code, done.err, done.out) == (code, f"Error: {error}\n", "")


def test_any_other_error_is_a_bug_that_says_how_to_report_it(run, failing):
    failing(ZeroDivisionError("division by zero"))
    done = run("families")
    assert done.code == 1
    assert "pe-inspect met a bug: ZeroDivisionError: division by zero" in done.err
    assert "Please report it" in done.err
    assert f"pe-inspect {__version__}, Python {sys.version.split()[0]}" in done.err
    assert "\n  pe-inspect families" in done.err
    assert "--debug" in done.err
    assert "Traceback" not in done.err


def test_debug_shows_the_traceback_and_keeps_the_code():
    def fail():
        raise NoPositionEmbedding("none in x")

    assert guarded(fail, ["info", "--debug"]) == 4


def test_debug_prints_where_it_happened(run, checkpoint_that_is_missing):
    done = run("info", checkpoint_that_is_missing, "--debug")
    assert done.code == 3
    assert "Traceback (most recent call last)" in done.err


@pytest.fixture
def checkpoint_that_is_missing(here):
    return here / "missing.pth"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyboardInterrupt(), "Files are written whole or not at all: nothing is half-written."),
        (KeyboardInterrupt("Stopped after step 7."), "Stopped after step 7."),
    ],
)
def test_an_interruption_is_code_130_and_says_what_it_left(run, failing, error, said):
    failing(error)
    done = run("families")
    assert (done.code, done.err) == (130, f"Interrupted. {said}\n")


def test_an_aborted_question_is_an_interruption(run, failing):
    failing(typer.Abort())
    assert run("families").code == 130


def test_too_little_memory_says_what_to_ask_for_instead(run, failing):
    failing(MemoryError("Unable to allocate 9.9 TiB"))
    done = run("families")
    assert done.code == 2
    assert "There is not enough memory for this. Unable to allocate 9.9 TiB" in done.err
    assert "a smaller --res" in done.err


def test_a_name_cannot_steer_the_terminal(run, failing):
    failing(NoPositionEmbedding("none in \x1b[2Jx\u202e.pth\r"))
    assert run("families").err == "Error: none in \\u001b[2Jx\\u202e.pth\\u000d\n"


@pytest.mark.subprocess
@pytest.mark.parametrize("words", [["--version"], ["--help"], ["info", "--help"]])
def test_a_reader_that_goes_away_does_not_stop_the_work(words):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "pe_inspect", *words],
        cwd=REPOSITORY,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.subprocess
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
def test_a_full_disk_behind_stdout_is_a_plain_line():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "pe_inspect", "--version"],
            cwd=REPOSITORY,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    said = "Error: Cannot write to <stdout>: No space left on device.\n"
    assert (done.returncode, done.stderr) == (2, said)


@pytest.mark.subprocess
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
def test_a_full_disk_behind_stderr_keeps_the_code(here):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "pe_inspect", "nosuch"],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE,
            stderr=full,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.subprocess
@pytest.mark.parametrize("door", DOORS)
def test_a_python_without_our_packages_is_told_which_and_how(door):
    done = subprocess.run(
        [sys.executable, "-S", *door, "report"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: pe-inspect needs the package typer, which ")
    assert done.stderr.endswith(
        " `pip install .` in the checkout installs what reading and drawing need.\n"
    )


def test_a_program_can_be_called_without_exiting(capsys):
    assert program()(args=["--version"], standalone_mode=False) == 0
    assert capsys.readouterr().out == f"pe-inspect {__version__}\n"


def test_an_error_of_the_system_that_nobody_foresaw_is_a_bug(run, failing):
    failing(OSError(errno.EIO, "Input/output error"))
    assert run("families").code == 1


@pytest.mark.parametrize("code", [errno.EACCES, errno.ENAMETOOLONG])
def test_a_path_that_the_system_refuses_is_no_bug_whichever_option_named_it(run, failing, code):
    failing(OSError(code, os.strerror(code), "a/b"))
    done = run("families")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"Error: a/b cannot be reached: {os.strerror(code)}. Check ")
    failing(OSError(code, os.strerror(code)))
    assert run("families").code == 1
