"""What is printed survives any encoding, and JSON is strict."""

from __future__ import annotations

import io
import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pe_inspect.commands.shell import terminal as _terminal
from pe_inspect.commands.shell.describe import aligned, number, ranges, table, versions
from pe_inspect.commands.shell.question_runner import summary_lines
from pe_inspect.commands.shell.terminal import (
    tolerate_any_encoding,
    working,
    write_json,
    write_line,
)
from pe_inspect.commands.shell.training import duration


def test_a_terminal_without_utf_8_gets_the_nearest_plain_characters(monkeypatch):
    raw = io.BytesIO()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
        tolerate_any_encoding()
        write_line("14×14 · D=192 – blocks.0 … Ω \udcff")
        written = raw.getvalue()
    assert written == b"14x14 - D=192 - blocks.0 ... ? ?\n"


def test_json_knows_no_nan(capsys):
    write_json({"a": float("nan"), "b": [np.float32(2), -np.inf], "c": np.arange(2), 3: Path("x")})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [2, None], "c": [0, 1], "3": "x"}


def test_json_has_counts_as_whole_numbers(capsys):
    write_json({"summary": {"num_layers": 12.0, "num_undefined": float("nan"), "mean": 1.0}})
    shown = capsys.readouterr().out
    assert '"num_layers": 12,' in shown
    assert '"num_undefined": null' in shown
    assert '"mean": 1.0' in shown


def test_json_escapes_what_could_steer_a_terminal(capsys):
    write_json({"name": "\x9b2J\u202e×"})
    text = capsys.readouterr().out
    assert "\x9b" not in text
    assert "×" in text
    assert json.loads(text) == {"name": "\x9b2J\u202e×"}


def test_long_work_shows_its_seconds_on_a_terminal_and_wipes_them_off(monkeypatch, capsys):
    monkeypatch.setattr(_terminal, "BEAT", 0.01)
    monkeypatch.setattr(_terminal, "on_a_terminal", lambda: True)
    with working("similarity", quiet=False):
        while "similarity, 0 s" not in (said := capsys.readouterr().err):
            time.sleep(0.005)
    assert said.startswith("\r\x1b[K")
    assert capsys.readouterr().err.endswith("\r\x1b[K")


@pytest.mark.parametrize(("terminal", "quiet"), [(False, False), (True, True)])
def test_nothing_moves_elsewhere(monkeypatch, capsys, terminal, quiet):
    monkeypatch.setattr(_terminal, "BEAT", 0.001)
    monkeypatch.setattr(_terminal, "on_a_terminal", lambda: terminal)
    with working("similarity", quiet=quiet):
        time.sleep(0.01)
    assert capsys.readouterr().err == ""


def test_numbers_are_short():
    assert [number(value) for value in (3.0, 1234567, 0.123456, 1e-9, float("nan"), "a")] == [
        "3",
        "1,234,567",
        "0.1235",
        "1e-09",
        "nan",
        "a",
    ]


def test_columns_are_aligned():
    assert aligned({"a": "1", "long": "2"}) == ["  a     1", "  long  2"]
    assert table([["name", "n"], ["a", "23"]]) == ["name  n", "a     23"]


def test_many_names_are_shown_by_their_ends():
    assert ranges(["a", "b"]) == "a, b"
    assert ranges([f"blocks.{k}" for k in range(12)]) == "blocks.0 … blocks.11 (12)"


@pytest.mark.parametrize(
    ("minutes", "said"), [(0, "not timed"), (0.7, "42 s"), (7.2, "7 min"), (150, "2.5 h")]
)
def test_times_are_said_in_words(minutes, said):
    assert duration(minutes) == said


def test_versions_name_what_a_result_depends_on():
    assert versions()["numpy"] == np.__version__
    assert set(versions()) == {"pe_inspect", "python", "numpy", "matplotlib", "timm", "torch"}


def test_a_number_that_is_undefined_is_called_so():
    result = SimpleNamespace(summary=lambda: {"mean": float("nan"), "num_layers": 12.0})
    assert summary_lines(result) == ["  mean        undefined", "  num_layers  12"]
