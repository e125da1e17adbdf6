"""`--explain` says under every number what it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from pe_inspect.commands.shell.evaluate_text import fitted_table
from pe_inspect.commands.shell.explaining import OF_FILES, explained

LAPE = Path(__file__).parents[2] / "checkpoints" / "zoo-learned-lape"


def test_a_definition_stands_under_its_number_and_what_has_no_line_comes_last(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = ["  mean      0.5", "  far away  2", "a table"]

    told = list(explained(lines, {"mean": "the mean", "far away": "two words", "else": "more"}))

    assert told == [
        "  mean      0.5", "      the mean", "  far away  2", "      two words", "a table", "",
        "  else", "      more",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "command",
    [("similarity",), ("layernorm",), ("interpolate", "--grid", "5x7")],
    ids=lambda words: words[0],
)
def test_every_number_of_a_question_has_its_definition_below_it(command, run, here):
    plain = run(*command, LAPE, "--no-figures").out.splitlines()
    done = run(*command, LAPE, "--no-figures", "--explain")
    told = done.out.splitlines()
    numbers = run(*command, LAPE, "--no-figures", "--json").json["definitions"]
    assert done.code == 0
    assert [line for line in told if not line.startswith("      ")] == plain
    for name, text in numbers.items():
        at = next(k for k, line in enumerate(told) if line.split()[:1] == [name])
        assert told[at + 1].strip() in text


def test_info_and_the_doctor_explain_their_numbers_too(run, here):
    info, doctor = run("info", LAPE, "--explain").out, run("doctor", LAPE, "--explain").out
    assert all(text.split(",")[0] in info.replace("\n      ", " ") for text in OF_FILES.values())
    assert "Moran's I: the mean inner product of neighbouring rows" in doctor


def test_json_is_the_same_with_and_without(run, here):
    words = ("similarity", LAPE, "--no-figures", "--json")
    plain, told = (run(*words, *more).json for more in ((), ("--explain",)))
    assert plain["definitions"] == told["definitions"]
    assert plain["summary"] == told["summary"]


HEAD = ["condition", "pixels", "method", "top-1 (%)", "top-5 (%)", "over plain (points)"]
ROWS = [
    HEAD,
    ["plain", "32×32", "native", "82.50 [68.1, 91.3]", "100.00", ""],
    [
        "scaled by 0.5",
        "48×48",
        "bicubic-aa",
        "52.50 [37.5, 67.1]",
        "95.00",
        "−30.00 [−45.0, −12.7]",
    ],
]


@pytest.mark.parametrize("columns", [200, 80, 60, 45])
def test_accuracies_fit_the_terminal_and_lose_no_number(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))

    lines = fitted_table(ROWS)

    assert max(map(len, lines)) <= columns
    words = " ".join(" ".join(lines).split())
    assert all(cell in words for row in ROWS[1:] for cell in row)
