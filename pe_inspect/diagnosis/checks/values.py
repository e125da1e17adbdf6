"""Values that no trained table has: not finite, all the same, or the same twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

import numpy as np

from pe_inspect.arrays import Float32
from pe_inspect.diagnosis.checks import on_embedding
from pe_inspect.diagnosis.fields import (
    command,
    fields,
    is_learned,
    listed,
    noun,
    stored_values,
)
from pe_inspect.finding import Finding
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding

__all__ = ["constant", "duplicate_layers", "duplicate_rows", "non_finite"]

# Of a table whose rows differ by less than this part of their size, float16 keeps no difference.
LEAST_VARIATION: Final = 1e-3
_FROM_BEFORE: Final = "take the tensor from an earlier checkpoint of the same run"


@on_embedding("non-finite")
def non_finite(pe: PositionEmbedding) -> Iterator[Finding]:
    """NaN or infinite values in a table or in a norm."""
    arrays = {_called(pe, table): stored_values(table) for table in pe.tables}
    for norm in pe.norms:
        arrays[f"{norm.path}.weight"] = norm.weight
        arrays[f"{norm.path}.bias"] = norm.weight[:0] if norm.bias is None else norm.bias
    bad = {name: values for name, values in arrays.items() if not np.isfinite(values).all()}
    if not bad:
        return
    nan = sum(int(np.isnan(values).sum()) for values in bad.values())
    infinite = sum(int(np.isinf(values).sum()) for values in bad.values())
    yield Finding(
        "non-finite",
        listed(list(bad)),
        f"{nan} NaN and {infinite} infinite values in {listed(list(bad))}{_first(bad)}.",
        "One NaN in a position embedding makes every token of every image NaN.",
        f"Do not use the file: {_FROM_BEFORE}, and look for the step whose loss was not finite.",
        {"nan": nan, "infinite": infinite, "tensors": list(bad)},
        "error",
    )


def _called(pe: PositionEmbedding, table: LayerPE) -> str:
    return noun(pe) if len(pe.tables) == 1 else f"{pe.family} of {table.name}"


def _first(bad: dict[str, np.ndarray]) -> str:
    name, values = next(iter(bad.items()))
    place = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
    return f" (the first: {name}[{', '.join(map(str, place))}])"


@on_embedding("constant")
def constant(pe: PositionEmbedding) -> Iterator[Finding]:
    """Tables that are the same at every place."""
    if not pe.stored:
        return
    variations = {field.layer: _variation(field.rows) for field in fields(pe)}
    flat = [layer for layer, variation in variations.items() if variation < LEAST_VARIATION]
    if not flat:
        return
    largest = max(variations[layer] for layer in flat)
    which = noun(pe) if len(pe.tables) == 1 else f"{pe.family} of {listed(flat)}"
    zero = all(not stored_values(table).any() for table in pe.tables if table.name in flat)
    what = (
        "is zero everywhere"
        if zero
        else f"is the same at every place: places differ by {largest:.1e} of the values' size at "
        f"most (under {LEAST_VARIATION:g})"
    )
    yield Finding(
        "constant",
        listed(flat),
        f"{which} {what}.",
        "It adds the same to every token, and so tells the model nothing of position.",
        "If the model was meant to learn it, check that the parameter is given to the optimiser "
        "and does not decay to zero; if it was loaded, that its name matched.",
        {"variation": largest, "threshold": LEAST_VARIATION, "layers": flat, "zero": zero},
        "error",
    )


def _variation(rows: Float32[np.ndarray, "places channels"]) -> float:
    """The root mean square about the mean row, over that about zero; 0 for zeros.

    Rows that are not finite are left out; of fewer than two others it is NaN.
    """
    finite = rows[np.isfinite(rows).all(axis=1)].astype(np.float64)
    if len(finite) < 2:
        return float("nan")
    size = np.square(finite).sum()
    return float(np.sqrt(np.square(finite - finite.mean(axis=0)).sum() / size)) if size else 0.0


@on_embedding("duplicate-rows")
def duplicate_rows(pe: PositionEmbedding) -> Iterator[Finding]:
    """Different patches with exactly the same vector."""
    if not pe.scheme_kind.has_token_rows:
        return
    for field in fields(pe):
        if _variation(field.rows) < LEAST_VARIATION:
            continue
        moving = field.rows[field.rows.any(axis=1)]
        _, first, counts = np.unique(moving, axis=0, return_index=True, return_counts=True)
        if (twins := int((counts - 1).sum())) > 0:
            yield _twins(pe, field.layer, twins, len(field.rows), int(first[counts > 1].min()))


def _twins(pe: PositionEmbedding, layer: str, twins: int, places: int, first: int) -> Finding:
    row, column = divmod(first, pe.grid_size[1])
    return Finding(
        "duplicate-rows",
        layer,
        f"{twins} of the {places} patch rows of {noun(pe)} repeat another one exactly "
        f"(the first is that of row {row}, column {column}).",
        "The model cannot tell the patches of equal rows apart; training never makes two rows "
        "equal to the last bit, resampling with `nearest` and tiling do.",
        "Resample the original table anew: "
        f"{command(pe, 'interpolate --grid HxW --save-data')} from the checkpoint that it came of.",
        {"duplicates": twins, "rows": places, "first": [row, column]},
    )


@on_embedding("duplicate-layers")
def duplicate_layers(pe: PositionEmbedding) -> Iterator[Finding]:
    """Layers that hold tables of their own with the same values."""
    if not is_learned(pe) or len(pe.keys) < len(pe.tables):
        return
    groups: dict[tuple[tuple[int, ...], bytes], list[LayerPE]] = defaultdict(list)
    for table in pe.tables:
        values = stored_values(table)
        if values.any():
            groups[values.shape, values.tobytes()].append(table)
    for twins in groups.values():
        if len({id(table.held) for table in twins}) > 1:
            yield _same_tables(pe, [table.name for table in twins])


def _same_tables(pe: PositionEmbedding, names: list[str]) -> Finding:
    return Finding(
        "duplicate-layers",
        listed(names),
        f"{len(names)} layers of {len(pe.tables)} hold the same {pe.family} table, value for "
        f"value: {listed(names)}.",
        "Tables of their own that are trained part within one step; these were copied, as when a "
        "shared table is spread over the blocks, and not trained since.",
        "If they were meant to be shared, nothing is lost but memory; else look for the loop that "
        "loads them: it writes one tensor to every block.",
        {"layers": names, "tables": len(pe.tables)},
    )
