"""Kinds are closed: a table by kind, wherever it stands, answers for every kind there is."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import pe_inspect
from pe_inspect.kinds.all_kinds import COMPUTED_BIAS, KINDS, RESPONSE, VECTORS
from pe_inspect.kinds.parts import LayerPE
from pe_inspect.kinds.scheme_kind import SchemeKind, kind_of

HOME = Path(pe_inspect.__file__).parent
WORDS = {kind.word for kind in KINDS}


def modules_that_name_kinds() -> list[str]:
    """Modules outside `kinds` that import kind objects."""
    files = (file for file in HOME.rglob("*.py") if file.parent.name != "kinds")
    inside = [file for file in files if "kinds.all_kinds import" in file.read_text("utf-8")]
    parts = (file.relative_to(HOME.parent).with_suffix("").parts for file in sorted(inside))
    return [".".join(part for part in each if part != "__init__") for each in parts]


def tables_by_kind(module: ModuleType) -> dict[str, Mapping]:
    """The module's dictionaries of which some key is a kind, or all are public words."""
    found = {name: each for name, each in vars(module).items() if isinstance(each, Mapping)}
    return {
        name: table
        for name, table in found.items()
        if any(isinstance(key, SchemeKind) for key in table)
        or (len(table) > 1 and set(table) <= WORDS)
    }


def missing_and_unknown(table: Mapping) -> set:
    """What a table lacks, or has beside the kinds or their words."""
    return set(table) ^ (set(KINDS) if set(table) & set(KINDS) else WORDS)


@pytest.mark.parametrize("name", modules_that_name_kinds())
def test_a_table_by_kind_has_every_kind(name):
    tables = tables_by_kind(import_module(name))

    assert {name: missing_and_unknown(table) for name, table in tables.items()} == {
        name: set() for name in tables
    }


def test_tables_are_found_where_questions_differ_by_kind():
    found = [name for name in modules_that_name_kinds() if tables_by_kind(import_module(name))]

    assert len(found) > 5


def test_an_incomplete_table_is_noticed():
    module = ModuleType("made_up")
    module.BY_KIND = {VECTORS: 1, RESPONSE: 2}
    module.BY_WORD = {"vectors": 1, "bias": 2}
    module.OTHER = {"cls": 1}

    found = tables_by_kind(module)

    assert set(found) == {"BY_KIND", "BY_WORD"}
    assert COMPUTED_BIAS in missing_and_unknown(found["BY_KIND"])
    assert "phases" in missing_and_unknown(found["BY_WORD"])


def test_the_axes_of_a_table_tell_the_two_functions_apart():
    of_an_input = LayerPE("stage.0", np.zeros((12, 5)), (3, 4))
    of_a_window = LayerPE("layers.0.blocks.0", np.zeros((2, 12, 12)), (3, 4))

    assert kind_of("function", [of_an_input]) == RESPONSE
    assert kind_of("function", [of_a_window]) == COMPUTED_BIAS
    assert {kind.word for kind in (RESPONSE, COMPUTED_BIAS)} == {"function"}


def test_kinds_have_names_of_their_own_and_survive_a_copy():
    import copy
    import pickle

    assert len({kind.name for kind in KINDS}) == len(KINDS)
    for kind in KINDS:
        assert copy.deepcopy(kind) == kind == pickle.loads(pickle.dumps(kind))
        assert len({kind, copy.deepcopy(kind)}) == 1
