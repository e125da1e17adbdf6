"""Stored buffers of indices that are not those of their windows.

Source: huggingface/pytorch-image-models issue 2661, where an index was never initialised.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pe_inspect.arrays import Shaped
from pe_inspect.diagnosis.checks import on_file
from pe_inspect.diagnosis.held_tables import bias_tables, window_of
from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families.reading.bias import offset_index
from pe_inspect.families.reading.bias_tables import BiasTable
from pe_inspect.families.reading.grid import x
from pe_inspect.finding import Finding
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["index_buffer"]

_MEND = (
    "Drop the buffer and let the model build it: {{k: v for k, v in state.items() if not "
    'k.endswith("relative_position_index")}}, loaded with strict=False. pe-inspect recomputes it '
    "and never reads {key}."
)


@on_file("index-buffer")
def index_buffer(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Stored `relative_position_index` buffers that are not the index of their window."""
    wrong = [
        found
        for table in bias_tables(checkpoint)
        if table.index_key in checkpoint and (found := _judge(checkpoint, table)) is not None
    ]
    if wrong:
        first, others = wrong[0], len(wrong) - 1
        more = f" {others} more are wrong too." if others else ""
        evidence = {**first.evidence, "buffers": len(wrong)}
        yield Finding(
            first.code, first.where, first.message + more, first.why, first.mend, evidence,
            first.severity,
        )  # fmt: skip


def _judge(checkpoint: Checkpoint, table: BiasTable) -> Finding | None:
    try:
        window = window_of(checkpoint, table)
    except AmbiguousCheckpoint:
        return None  # the readings say so
    expected = offset_index(window.grid_size, window.num_prefix)
    stored = np.asarray(checkpoint.tensor(table.index_key))
    key = checkpoint.stored_key(table.index_key)
    if stored.size and (stored.min() < 0 or stored.max() >= table.rows):
        return _garbage(key, stored, table.rows)
    if stored.size == expected.size and np.array_equal(stored.reshape(expected.shape), expected):
        return None
    return _of_another_window(key, stored, expected, window.grid_size)


def _garbage(key: str, stored: Shaped[np.ndarray, "..."], rows: int) -> Finding:
    beyond = int(((stored < 0) | (stored >= rows)).sum())
    return Finding(
        "index-buffer",
        key,
        f"{key} points outside its table: {beyond} of {stored.size} entries are not in 0 … "
        f"{rows - 1} (least {stored.min()}, largest {stored.max()}).",
        "The buffer was saved before it was filled. A model that loads it looks up rows that do "
        "not exist, or any rows.",
        _MEND.format(key=key),
        {
            "outside": beyond,
            "entries": int(stored.size),
            "min": int(stored.min()),
            "max": int(stored.max()),
            "rows": rows,
        },
        "error",
    )


def _of_another_window(
    key: str,
    stored: Shaped[np.ndarray, "..."],
    expected: Shaped[np.ndarray, "..."],
    window: tuple[int, int],
) -> Finding:
    same = stored.size == expected.size
    differ = int((stored.reshape(expected.shape) != expected).sum()) if same else stored.size
    return Finding(
        "index-buffer",
        key,
        f"{key} is not the index of a {x(window)} window: "
        + (
            f"{differ} of {stored.size} entries differ."
            if same
            else f"it has shape {stored.shape}, that index {expected.shape}."
        ),
        "A model that loads it gives pairs of patches the bias of other offsets.",
        _MEND.format(key=key),
        {"differ": differ, "entries": int(stored.size), "window": list(window)},
    )
