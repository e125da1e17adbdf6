"""`native` equals the library's own object, type by type, and claims nothing of the others."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from resampling.transformers_objects import Table, added, tables

from pe_inspect.analysis.interpolate import interpolate
from pe_inspect.families.reading.tower_config import tower_type
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding
from pe_inspect.resampling.methods import methods

pytestmark = pytest.mark.filterwarnings("ignore")

NOT_CLAIMED = ("muse_glimmer_vision", "muse_spark_vision")  # by columns, as nothing in a file says
QUICK = ("dinov2_with_registers", "dpt", "idefics2_vision", "sam3_vit_model", "siglip_vision_model",
         "vit")  # fmt: skip


def embedding_of(table: Table) -> PositionEmbedding:
    """The table as the container holds it: a square, with what else it has as prefix rows."""
    values = table.values.detach()
    if values.ndim == 4 and values.shape[-1] < 16:
        values = values[0].flatten(1).T
    rows = values.reshape(-1, values.shape[-1]).numpy()
    suffix = getattr(table.config, "num_detection_tokens", 0)
    rows = rows[: len(rows) - suffix]
    side = int(len(rows) ** 0.5)
    held = LayerPE("input", rows.copy(), (side, side), len(rows) - side * side)
    return PositionEmbedding(
        "learned_absolute",
        "vectors",
        "input",
        (held,),
        model_type=tower_type(table.config.to_dict()),
    )


def difference(table: Table, pe: PositionEmbedding, grid: tuple[int, int]) -> float | None:
    """How far `native` is from the library, of the library's size; `None` where it has no rule."""
    theirs = added(table, grid)
    if theirs is None:
        return None
    ours = interpolate(pe, grid=grid).values()[0]
    count = grid[0] * grid[1]
    frames = (len(theirs) - 1) // count  # TimeSformer's tokens of one place, frame after frame
    theirs = theirs[1::frames] if len(theirs) == 1 + frames * count else theirs
    starts = {len(theirs) - count, pe.num_prefix_rows, 0, 1}
    each = [theirs[at : at + count].numpy() for at in starts if at + count <= len(theirs)]
    return min(float(np.linalg.norm(ours - t) / np.linalg.norm(t)) for t in each)


def judged(only=()):
    torch.manual_seed(0)
    seen, wrong = Counter(), []
    for table in tables(only):
        pe = embedding_of(table)
        side = pe.grid_size[0]
        if side < 2:
            continue
        with torch.no_grad():
            table.values.copy_(torch.randn(table.values.shape))
        pe = embedding_of(table)
        away = [
            difference(table, pe, grid) for grid in ((side + 2, side - 1), (side + 3, side + 1))
        ]
        claims = interpolate(pe, grid=(side + 1, side)).origin.is_known
        has_rule = any(each is not None for each in away)
        is_right = claims and all(each is None or each < 1e-4 for each in away)
        seen["right" if is_right and has_rule else "claimed" if claims else "unknown"] += 1
        is_missed = has_rule and not claims and table.config.model_type not in NOT_CLAIMED
        if (claims and has_rule and not is_right) or is_missed:
            wrong.append((table.config.model_type, table.key, away, claims))
        if claims and not has_rule:
            seen[f"not asked: {table.config.model_type}"] += 1
    return seen, wrong


def test_native_is_the_library_s_own_for_a_few_types():
    seen, wrong = judged(QUICK)

    assert wrong == []
    assert seen["right"] == len(QUICK)


@pytest.mark.sweep
def test_native_is_the_library_s_own_for_every_type_that_can_be_built():
    seen, wrong = judged()

    assert wrong == []
    assert seen["right"] >= 60


def test_no_type_of_model_has_two_rules_for_one_kind():
    claims = Counter((t, k) for m in methods.values() for t in m.model_types for k in m.kinds)
    assert [each for each, count in claims.items() if count > 1] == []
