"""`import pe_inspect as pei`: the public names are those that the contract promises."""

from __future__ import annotations

import importlib
import inspect
import re
import tomllib
from pathlib import Path

import pytest

import pe_inspect as pei

PROMISED = {"load", "extract", "similarity", "interpolate", "layernorm", "figure", "report"}
ERRORS = {
    "AmbiguousCheckpoint": 5,
    "NoPositionEmbedding": 4,
    "OutputError": 2,
    "UnreadableCheckpoint": 3,
    "UnsafeCheckpoint": 3,
    "UsageError": 2,
}


def test_all_lists_the_public_names_in_order():
    assert sorted(pei.__all__) == pei.__all__
    assert {*PROMISED, *ERRORS, "PositionEmbedding", "Checkpoint", "Hints"} <= set(pei.__all__)
    assert dir(pei) == pei.__all__


@pytest.mark.parametrize("name", pei.__all__)
def test_every_public_name_resolves_and_is_documented(name):
    assert inspect.getdoc(getattr(pei, name))


@pytest.mark.parametrize("name", sorted(PROMISED))
def test_the_questions_are_callable_whatever_was_imported_before(name):
    importlib.import_module("pe_inspect.page")
    importlib.import_module("pe_inspect.figures")
    assert callable(getattr(pei, name))


@pytest.mark.parametrize(("name", "code"), ERRORS.items())
def test_every_error_knows_its_exit_code(name, code):
    error = getattr(pei, name)
    assert issubclass(error, pei.PEInspectError)
    assert error.exit_code == code


def test_what_no_question_answered_with_is_no_figure():
    with pytest.raises(pei.UsageError, match="figure draws what a question answered with, not int"):
        pei.figure(3)


@pytest.mark.parametrize(
    ("old", "name", "new"),
    [
        ("position_embedding", "PositionEmbedding", "kinds.position_embedding"),
        ("models.rebuild", "rebuild", "live.rebuild"),
        ("analysis.doctor", "Diagnosis", "diagnosis.diagnosis"),
    ],
)
def test_a_path_that_moved_gives_its_names_for_one_release(old, name, new):
    module = importlib.import_module(f"pe_inspect.{old}")
    said = rf"pe_inspect\.{re.escape(old)}\.{name} is pe_inspect\.{re.escape(new)}\.{name} now"
    with pytest.warns(DeprecationWarning, match=said):
        found = getattr(module, name)
    assert found is getattr(importlib.import_module(f"pe_inspect.{new}"), name)
    with pytest.raises(AttributeError):
        module.nothing  # noqa: B018


def test_an_old_path_is_no_question():
    from pe_inspect.analysis import questions

    assert "doctor" not in questions.stems()


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'pe_inspect' has no attribute 'similarty'"):
        pei.similarty  # noqa: B018


def test_the_version_is_that_of_the_project_file():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))
    assert pei.__version__ == project["project"]["version"]
