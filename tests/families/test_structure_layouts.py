"""Layouts of many styles that follow no known repository: read from shapes, values and places."""

from __future__ import annotations

import pytest
from invented import first_attention, first_tables
from invented.parts import LAYOUTS, judged

from pe_inspect.errors import NoPositionEmbedding
from pe_inspect.families import extract
from pe_inspect.loading.checkpoint import Checkpoint

ENTERED = (first_attention, first_tables)
OPEN = frozenset({
    "names_without_meaning", "pinyin_names", "a_pyramid_with_a_table_a_stage",
    "one_tensor_of_a_table_a_block", "a_list_of_tables_beside_the_blocks", "frequency_and_time",
    "a_clip_with_a_class_token", "frames_rows_and_columns_apart", "windows_with_the_heads_first",
    "one_index_at_the_root", "lists_that_run_side_by_side", "down_middle_and_up",
    "narrow_table_ahead_of_a_projection", "frames_with_a_class_row_each",
    "a_small_network_of_offsets",
})  # fmt: skip
"""Layouts that are not read yet."""

CASES = [(batch, name) for batch, own in LAYOUTS.items() for name in own if name not in OPEN]


@pytest.mark.parametrize(("batch", "name"), CASES)
def test_a_layout_of_nobody_s_is_read(batch, name):
    state, truths = LAYOUTS[batch][name]()
    checkpoint = Checkpoint.from_state_dict(state)
    if not truths:
        with pytest.raises(NoPositionEmbedding):
            extract(checkpoint)
        return
    assert judged(extract(checkpoint), truths) == []
