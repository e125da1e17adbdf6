"""A size that is none is answered in words, also where nothing checks types before."""

from __future__ import annotations

import re

import pytest

from pe_inspect.errors import UsageError
from pe_inspect.resampling.target_grid import pair_of


@pytest.mark.parametrize("size", ["x", 2.5, (2, 3, 4), (2, "3")])
def test_what_is_no_size_is_refused(size):
    said = f"--res is {size!r}; expected a whole number, or a pair: (24, 24)."
    with pytest.raises(UsageError, match=re.escape(said)):
        pair_of(size, "--res")


@pytest.mark.parametrize(("size", "sides"), [(5, (5, 5)), ((5, 7), (5, 7)), ([5, 7], (5, 7))])
def test_one_side_is_a_square(size, sides):
    assert pair_of(size, "--grid") == sides
