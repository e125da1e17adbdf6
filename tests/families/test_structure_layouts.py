"""Layouts of many styles that follow no known repository: read from shapes, values and places."""

from __future__ import annotations

import pytest
from invented import (
    first_attention,
    first_tables,
    fourth,
    second_attention,
    second_tables,
    third,
)
from invented.parts import LAYOUTS, judged

from pe_inspect.errors import NoPositionEmbedding
from pe_inspect.families import extract
from pe_inspect.loading.checkpoint import Checkpoint

ENTERED = (first_attention, first_tables, second_attention, second_tables, third, fourth)
CASES = [(batch, name) for batch, own in LAYOUTS.items() for name in own]


@pytest.mark.parametrize(("batch", "name"), CASES)
def test_a_layout_of_nobody_s_is_read(batch, name):
    state, truths = LAYOUTS[batch][name]()
    checkpoint = Checkpoint.from_state_dict(state)
    if not truths:
        with pytest.raises(NoPositionEmbedding):
            extract(checkpoint)
        return
    assert judged(extract(checkpoint), truths) == []
