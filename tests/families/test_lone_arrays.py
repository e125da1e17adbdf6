"""A file of one array that is no table: what is wrong with it is said in a line."""

from __future__ import annotations

import re

import numpy as np
import pytest

from pe_inspect.errors import NoPositionEmbedding, UnreadableCheckpoint
from pe_inspect.families import extract
from pe_inspect.loading import load


@pytest.mark.parametrize(
    ("array", "verdict"),
    [
        (np.zeros(64, np.float32), "Its one array has shape (64,), which is no table of rows"),
        (np.float32(3), "Its one array has shape (), which is no table of rows × channels."),
        (np.zeros((0, 16), np.float32), "Its one array has shape (0, 16), which is no table"),
        (np.array(["a", "b"]), "Its one array holds text, not numbers."),
    ],
)
def test_a_lone_array_that_is_no_table_is_described(tmp_path, array, verdict):
    np.save(tmp_path / "one.npy", array)
    with pytest.raises(NoPositionEmbedding, match=re.escape(verdict)):
        extract(load(tmp_path / "one.npy"))


def test_complex_numbers_are_refused_and_not_halved(tmp_path):
    np.save(tmp_path / "one.npy", np.ones((16, 8), np.complex64))
    with pytest.raises(UnreadableCheckpoint, match=r"one\.npy holds complex64: complex numbers"):
        extract(load(tmp_path / "one.npy"))
