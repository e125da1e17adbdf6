"""`native` equals the library's own object, type by type, and claims nothing of the others."""

from __future__ import annotations

import inspect
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from resampling.transformers_objects import Table, added, classes, tables

from pe_inspect.analysis.interpolate import interpolate
from pe_inspect.families.reading.tower_config import tower_type
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding, Relation
from pe_inspect.resampling.methods import methods
from pe_inspect.resampling.one_size import ONE_SIZE

pytestmark = pytest.mark.filterwarnings("ignore")

ELSEWHERE = ("sam2_hiera_det_model", "sam2_vision_model")  # two tables: test_models.py
TEXT_OF = {"layoutlmv3": "embeddings.position_embeddings.weight"}
QUICK = ("dinov2_with_registers", "dpt", "idefics2_vision", "sam3_vit_model", "siglip_vision_model",
         "vit")  # fmt: skip


def embedding_of(table: Table) -> PositionEmbedding:
    """The table as the container holds it: a square, with what else it has as prefix rows."""
    values = table.values.detach()
    said = tower_type(table.config.to_dict())
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
        model_type=said,
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
    """Compare every table: how many of what sort there are, and where the product is not right."""
    torch.manual_seed(0)
    seen, wrong = Counter(), []
    asked, unasked = set(), {}
    for table in tables(only):
        said = tower_type(table.config.to_dict())
        side = embedding_of(table).grid_size[0]
        if side < 2 or said in ELSEWHERE or TEXT_OF.get(said) == table.key:
            continue
        with torch.no_grad():
            table.values.copy_(torch.randn(table.values.shape))
        pe = embedding_of(table)
        away = [
            difference(table, pe, grid) for grid in ((side + 2, side - 1), (side + 3, side + 1))
        ]
        claims = interpolate(pe, grid=(side + 1, side)).origin.is_known
        if all(each is None for each in away):
            unasked[said] = (claims, added(table, (side, side)) is not None)
            seen["claimed" if claims else "unknown"] += 1
            continue
        asked.add(said)
        is_right = claims and all(each is None or each < 1e-4 for each in away)
        seen["right" if is_right else "wrong"] += 1
        if not is_right or proof_of(said):
            wrong.append((said, table.key, away, claims, proof_of(said)))
    for said in unasked.keys() - asked:
        claims, has_own_size = unasked[said]
        is_told = bool(proof_of(said)) if claims else said in ONE_SIZE or not has_own_size
        if not is_told:
            wrong.append((said, claims, has_own_size))
    return seen, wrong


def proof_of(said):
    """What the product says that a type's rule rests on; empty where it is as asked of objects."""
    rules = (m for m in methods.values() if said in m.model_types and "vectors" in m.kinds)
    return next((rule.proof(said) for rule in rules), "")


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


@pytest.mark.sweep
@pytest.mark.parametrize(("source", "target"), [(7, 12), (14, 9)])
def test_every_model_with_vectors_by_offset_resizes_them_along_each_axis(source, target):
    """Computed: every class or module of transformers that has a `get_rel_pos`."""
    torch.manual_seed(0)
    stored = torch.randn(2 * source - 1, 8)
    held = tuple(LayerPE("blocks.0", stored.numpy(), (source, source), part=axis) for axis in "yx")
    pe = PositionEmbedding(
        "decomposed_relative", "relative", "layer", held, relation=Relation("sum", "query-key")
    )
    ours = interpolate(pe, grid=(target, target), method="hf-relative").values()[0]

    asked = {}
    for config, kinds in classes().items():
        ask = next(filter(None, map(offsets_of, kinds)), None)
        if ask is not None:
            pairs = ask(target, target, stored)  # (query, key, D)
            rows = torch.cat([pairs[0].flip(0)[:-1], pairs[:, 0]]).numpy()
            asked[config.model_type] = float(np.abs(rows - ours).max())

    assert len(asked) >= 8
    assert {name: far for name, far in asked.items() if far > 1e-5} == {}
    assert set(methods["hf-relative"].model_types) <= asked.keys()


def offsets_of(kind):
    """The function that resizes vectors by offset, in the module of a class, or in its classes."""
    module = sys.modules[kind.__module__]
    if hasattr(module, "get_rel_pos"):
        return module.get_rel_pos
    found = (getattr(each, "get_rel_pos", None) for each in vars(module).values())
    method = next((f for f in found if f and "q_size" in inspect.signature(f).parameters), None)
    return None if method is None else lambda *given: method(None, *given)
