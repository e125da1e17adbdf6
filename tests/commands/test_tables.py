"""Tables for print: Markdown and LaTeX, units in heads; rows in the JSON."""

from __future__ import annotations

import csv

import pytest

from pe_inspect.analysis.compare import compare
from pe_inspect.analysis.similarity import similarity
from pe_inspect.commands.shell.tables import layer_lines, write_tex

GRID = ("--grid-size", "3x4")


def test_a_table_is_written_in_the_format_that_was_asked_for(run, checkpoint, here):
    done = run("similarity", checkpoint, "--no-figures", "--table-format", "md", *GRID)
    assert done.code == 0
    assert done.out.splitlines()[-1] == "Wrote reports/tiny/similarity.md"
    head, sides, *rows = (here / "reports/tiny/similarity.md").read_text().splitlines()
    assert head.startswith("| layer | notion | norm | minimum |")
    assert sides.split(" | ")[2:4] == [":--", "--:"]
    assert len(rows) == 2
    assert rows[0].startswith("| blocks.0 | joined | blocks.0.pe_norm | ")


def test_json_has_the_rows_of_the_table(run, checkpoint, here):
    done = run("similarity", checkpoint, "--no-figures", "--save-data", "--json", *GRID)
    rows = done.json["rows"]
    assert rows == done.json["embeddings"][0]["rows"]
    table = list(csv.DictReader((here / "reports/tiny/similarity.csv").read_text().splitlines()))
    assert [row["layer"] for row in rows] == [row["layer"] for row in table]
    assert rows[1]["mean"] == pytest.approx(float(table[1]["mean"]))
    assert rows[0]["correlation_to_previous"] is None


def test_latex_has_booktabs_units_and_no_bare_signs(vectors, tmp_path):
    found = compare([vectors(seed=1), vectors(seed=2)], ["a_1", "50%"])
    with (tmp_path / "table.tex").open("wb") as file:
        write_tex(found, file)
    lines = (tmp_path / "table.tex").read_text().splitlines()
    assert lines[:2] == [r"\begin{tabular}{lrr}", r"\toprule"]
    assert lines[2] == r"number & a\_1 & 50\%, $\Delta$ \\"
    assert any(line.startswith("half-radius (patches) & ") for line in lines)
    assert lines[-2:] == [r"\bottomrule", r"\end{tabular}"]


def test_an_unknown_format_is_refused(run):
    done = run("similarity", "nowhere.pth", "--table-format", "html")
    assert done.code == 2
    assert "--table-format html is not one of csv, md, tex." in done.err


def test_layers_are_told_where_the_terminal_is_wide_enough(vectors):
    result = similarity(vectors(depth=2))
    lines = layer_lines(result, 200)
    assert lines[1].split()[:3] == ["layer", "minimum", "maximum"]
    assert [line.split()[0] for line in lines[2:]] == ["blocks.0", "blocks.1"]
    assert layer_lines(result, max(map(len, lines)) - 1) == []
