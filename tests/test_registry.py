"""A registry fills itself from a folder, refuses doubles, and offers near names."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from pe_inspect.errors import UsageError
from pe_inspect.registry import Registry, did_you_mean

FOLDER = """
from pe_inspect.registry import Registry
animals = Registry("animal", "{package}")
"""


@pytest.fixture
def animals(tmp_path, monkeypatch):
    package = "zoo_of_a_test"
    folder = tmp_path / package
    folder.mkdir()
    (folder / "__init__.py").write_text(FOLDER.format(package=package))
    for name in ("zebra", "heron"):
        source = f"from {package} import animals\nanimals.register({name!r})({name!r}.upper())\n"
        (folder / f"{name}.py").write_text(source)
    (folder / "_helper.py").write_text("raise RuntimeError('a helper is not discovered')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module(package).animals
    for module in [name for name in sys.modules if name.startswith(package)]:
        del sys.modules[module]


def test_every_module_of_the_folder_is_found_but_helpers(animals):
    assert dict(animals) == {"heron": "HERON", "zebra": "ZEBRA"}
    assert len(animals) == 2
    assert "zebra" in animals
    assert "gnu" not in animals


def test_nothing_is_imported_before_it_is_asked_for(animals):
    assert "zoo_of_a_test.zebra" not in sys.modules
    assert animals["zebra"] == "ZEBRA"
    assert "zoo_of_a_test.zebra" in sys.modules


def test_an_entry_called_like_its_module_needs_no_other(animals):
    assert animals.stems() == ["heron", "zebra"]
    assert animals["heron"] == "HERON"
    assert "zoo_of_a_test.zebra" not in sys.modules
    assert list(animals) == ["heron", "zebra"]


def test_a_second_entry_of_one_name_is_refused(animals):
    animals.register("gnu")(1)
    with pytest.raises(ValueError, match="two entries of kind 'animal' are named 'gnu'"):
        animals.register("gnu")(2)


def test_an_unknown_name_is_answered_with_the_nearest(animals):
    with pytest.raises(UsageError, match=r"^Unknown animal 'zebar'\. Did you mean 'zebra'\?$"):
        animals["zebar"]
    with pytest.raises(KeyError, match=r"^Unknown animal 'q'\. Known: heron, zebra\.$"):
        animals["q"]
    assert animals.get("q") is None


def test_several_near_names_are_all_offered():
    said = did_you_mean("method", "bicubc", ["bicubic", "bicubic-aa", "area"])
    assert said == "Unknown method 'bicubc'. Did you mean 'bicubic' or 'bicubic-aa'?"
    assert did_you_mean("method", "x", []) == "Unknown method 'x'. Known: none."


def test_a_long_list_is_cut_and_counts_as_people_do():
    known = [f"blocks.{number}" for number in range(30)]
    shown = ", ".join(known[:12])
    said = f"Unknown layer 'x'. Known: {shown} … and 18 more."
    assert did_you_mean("layer", "x", sorted(known)) == said


REGISTRIES = [
    ("pe_inspect.commands", "commands"),
    ("pe_inspect.families", "families"),
    ("pe_inspect.analysis", "questions"),
    ("pe_inspect.diagnosis.checks", "checks"),
    ("pe_inspect.figures", "drawings"),
]


def _ways_in():
    for package, name in REGISTRIES:
        registry: Registry = getattr(importlib.import_module(package), name)
        yield from (pytest.param(registry, module, id=module) for module in registry.modules())


@pytest.mark.parametrize(("registry", "module"), _ways_in())
def test_every_module_of_a_discovered_folder_registers_something(registry, module, monkeypatch):
    entered = []

    def note(self, name):
        entered.append(self)
        return lambda entry: entry

    importlib.import_module(module)
    monkeypatch.setattr(Registry, "register", note)
    path = importlib.import_module(module).__spec__.origin
    exec(compile(Path(path).read_bytes(), path, "exec"), {"__name__": module})
    assert any(each is registry for each in entered)
