"""A new thing is one new file in one obvious place: each toy is found, and nothing else changes.

`tests/toys/` has the house's own folders. A process of its own looks into them as well, and runs
the command line; what it finds there, it finds by the folder alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.subprocess

TOYS = Path(__file__).parent / "toys"
FILES = {
    "scheme": ["families/stripes.py"],
    "question": [
        "analysis/spread.py",
        "commands/spread.py",
        "figures/spread.py",
        "page/sections/spread.py",
    ],
    "checkpoint format": ["loading/formats/toy.py"],
    "resampling method": ["resampling/methods/corner.py"],
    "check of the doctor": ["diagnosis/checks/striped.py"],
}
"""What CONTRIBUTING.md has a recipe for, and the files that it takes."""

VISIT = """
import contextlib, importlib, io, json, sys
from pathlib import Path

toys, table = Path(sys.argv[1]), sys.argv[2]
for folder in sorted({file.parent for file in toys.rglob("*.py")}):
    room = importlib.import_module(".".join(("pe_inspect", *folder.relative_to(toys).parts)))
    room.__path__.append(str(folder))

from pe_inspect.commands.shell.program import program

def run(*words):
    sys.argv = ["pe-inspect", *words]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            program()(args=list(words))
        except SystemExit as stop:
            code = stop.code
    return {"code": code or 0, "out": out.getvalue()}

grid = ("--grid", "5x6", "--no-figures")
print(json.dumps({
    "families": run("families"),
    "help": run("--help"),
    "info": run("info", table, "--json"),
    "spread": run("spread", table, "--save-data", "--out", "asked"),
    "methods": run("interpolate", table, "--method", "list"),
    "interpolate": run("interpolate", table, "--method", "corner", *grid, "--json"),
    "doctor": run("doctor", table, "--json"),
    "report": run("report", table, "--out", "page"),
}))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("toys")


@pytest.fixture(scope="module")
def answers(folder):
    """What the command line says with the toys in reach, of a file that only they can read."""
    values = np.arange(3 * 4 * 8, dtype="<f4")
    (folder / "a.toy").write_bytes(b"#toy stripes 3 4 8\n" + values.tobytes())
    root = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", VISIT, str(TOYS), "a.toy"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": root, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout.splitlines()[-1]), "stderr": done.stderr}


def test_a_toy_is_no_more_than_its_files():
    found = sorted(file.relative_to(TOYS).as_posix() for file in TOYS.rglob("*.py"))
    assert found == sorted(file for files in FILES.values() for file in files)


@pytest.mark.parametrize("thing", FILES)
def test_contributing_names_the_folders_of_its_recipe(thing):
    text = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    _, _, recipe = text.partition(f"### A {thing}\n")
    recipe, _, _ = recipe.partition("\n### ")
    for file in FILES[thing]:
        assert f"pe_inspect/{Path(file).parent.as_posix()}/" in recipe
        assert f"tests/toys/{file}" in recipe


def test_a_format_is_one_file(answers):
    assert json.loads(answers["info"]["out"])["format"] == "toy"


def test_a_scheme_is_one_file(answers):
    assert "stripes" in answers["families"]["out"]
    (entry,) = json.loads(answers["info"]["out"])["embeddings"]
    assert (entry["family"], entry["grid_size"]) == ("stripes", [3, 4])


def test_a_question_is_a_file_a_room(answers, folder):
    assert answers["spread"]["code"] == 0
    assert "spread" in answers["help"]["out"]
    assert (folder / "asked" / "spread.png").is_file()
    assert (folder / "asked" / "spread.csv").read_text() == "spread\n95.0\n"


def test_a_section_of_the_page_is_one_file(answers, folder):
    assert answers["report"]["code"] == 0, answers["stderr"]
    (page,) = (folder / "page").glob("*.html")
    assert "How far apart are its numbers?" in page.read_text(encoding="utf-8")


def test_a_resampling_method_is_one_file(answers):
    assert "corner" in answers["methods"]["out"]
    assert answers["interpolate"]["code"] == 0
    assert json.loads(answers["interpolate"]["out"])["parameters"]["method"] == "corner"


def test_a_check_of_the_doctor_is_one_file(answers):
    assert '"code": "striped"' in answers["doctor"]["out"]
