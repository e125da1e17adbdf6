"""`load` takes hints by the names of their options, as the command line does."""

from __future__ import annotations

import re

import numpy as np
import pytest

from pe_inspect.errors import UsageError
from pe_inspect.loading import Hints, load


@pytest.fixture
def table(tmp_path):
    np.save(tmp_path / "table.npy", np.ones((36, 4), np.float32))
    return tmp_path / "table.npy"


@pytest.mark.parametrize("size", [(5, 7), [5, 7], "5x7", (np.int64(5), 7)])
def test_a_grid_is_a_pair_or_a_text(table, size):
    hints = load(table, grid_size=size, num_prefix_tokens=1).hints
    assert (hints.grid_size, hints.num_prefix_tokens) == ((5, 7), 1)
    assert hints.origins["grid_size"] == "grid_size"


@pytest.mark.parametrize("size", [16, "16", (16, 16), "16x16"])
def test_one_side_is_enough_for_a_patch(table, size):
    assert load(table, patch_size=size).hints.patch_size == (16, 16)


def test_a_hint_by_name_outranks_the_same_in_hints(table):
    known = load(table, hints=Hints(num_heads=2, join="share"), num_heads=3, family=None).hints
    assert (known.num_heads, known.join, known.family) == (3, "share", None)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"grid_sise": (5, 7)}, "Unknown argument of load 'grid_sise'. Did you mean 'grid_size'"),
        ({"grid_size": "5 by 7"}, "grid_size='5 by 7' is no rows and columns; pass (14, 14)"),
        ({"grid_size": 5}, "grid_size=5 is no rows and columns"),
        ({"num_heads": 0}, "num_heads=0 is not a whole number of at least 1."),
        ({"num_prefix_tokens": "1"}, "num_prefix_tokens='1' is not a whole number of at least 0."),
        ({"ln_eps": 2}, "ln_eps=2 is no ε of a norm; they are like 1e-6."),
    ],
)
def test_an_argument_that_cannot_be_is_refused(table, said, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        load(table, **said)
