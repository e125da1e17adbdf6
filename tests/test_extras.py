"""A library that is not installed: what to install, in one line, with exit code 2."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

from pe_inspect.commands.shell import commands
from pe_inspect.commands.shell.program import program
from pe_inspect.errors import UsageError
from pe_inspect.extras import EXTRAS, needed

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
IMPORTED_AS = {
    "scikit-learn": "sklearn",
    "pillow": "PIL",
    "open_clip_torch": "open_clip",
}


def imported_names(requirements: list[str]) -> set[str]:
    """Return the modules that a list of requirements brings, extras of our own left out."""
    words = [re.split(r"[>=\[ ]", each)[0] for each in requirements]
    return {IMPORTED_AS.get(word, word) for word in words} - {"pe-inspect"}


def imports_of_the_package() -> set[str]:
    """Return the top-level names that any module of the package imports, the standard ones out."""
    found: set[str] = set()
    for path in (ROOT / "pe_inspect").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add((node.module or "").partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"pe_inspect"}


def test_every_extra_that_a_message_names_is_declared():
    extras = PROJECT["optional-dependencies"]
    assert {"torch", "timm", "hf", "train", "all", "test"} <= set(extras)
    for library, extra in EXTRAS.items():
        assert library in imported_names(extras[extra])


def test_what_is_imported_is_declared():
    declared = imported_names(PROJECT["dependencies"]).union(
        *(imported_names(each) for each in PROJECT["optional-dependencies"].values())
    )
    only_for_types_in_tests = {"jaxtyping"}
    assert imports_of_the_package() <= declared | only_for_types_in_tests


def test_a_missing_library_is_told_with_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with (
        pytest.raises(
            UsageError, match=r"^This needs the package timm, .*'pe-inspect\[timm\]'`\.$"
        ),
        needed(),
    ):
        import timm  # noqa: F401


def test_the_light_install_brings_nothing_that_an_extra_is_for():
    assert not imported_names(PROJECT["dependencies"]) & set(EXTRAS)


@pytest.mark.parametrize("name", ["attention", "contribution", "evaluate", "probe", "train"])
def test_a_command_that_runs_models_says_what_it_needs_before_anything_else(
    name, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert program([name])(args=[name, "no/such/file.pth"], standalone_mode=False) == 2
    assert capsys.readouterr().err == (
        f"Error: pe-inspect {name} needs the package torch, which is not installed: "
        "`pip install 'pe-inspect[torch]'`.\n"
    )


def test_whatever_a_command_needs_has_an_extra():
    assert {library for name in commands for library in commands[name].needs} <= set(EXTRAS)


def test_another_missing_module_is_a_bug_like_any():
    with pytest.raises(ModuleNotFoundError, match="no_such_module"), needed():
        import no_such_module  # noqa: F401


def test_a_command_says_so_too(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.setenv("PE_INSPECT_CACHE", str(tmp_path))
    code = program()(args=["info", "timm:vit_tiny_patch16_224"], standalone_mode=False)
    assert code == 2
    said = capsys.readouterr().err
    assert said.endswith("needs the package timm, which is not installed: "
                         "`pip install 'pe-inspect[timm]'`.\n")  # fmt: skip
