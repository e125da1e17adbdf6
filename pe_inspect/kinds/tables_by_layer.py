"""The position table as each layer of the model receives it: see `steps` for the notions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pe_inspect.arrays import Float32
from pe_inspect.kinds.parts import LayerNormParams, LayerPE, Notion
from pe_inspect.kinds.position_embedding import PositionEmbedding

__all__ = ["Received", "normalised", "received"]


@dataclass(frozen=True, eq=False)
class Received(LayerPE):
    """A table as one layer receives it, prefix rows included: see `LayerPE` for the other fields.

    Attributes:
        notion: what stands between this table and the stored one (see `steps`).
        norm: the name of the norm that was applied, `"blocks.3.pe_norm"`; empty for none.
    """

    notion: Notion = "stored"
    norm: str = ""


def received(pe: PositionEmbedding, *, ln_eps: float | None = None) -> Iterator[Received]:
    """Yield, layer by layer, the table as that layer receives it; never all of them at a time.

    `lape`: ω_l = LN_l(ω_{l−1}), starting from the stored table, so that block 0 receives
    LN_0(table). `pvg`, `mpvg`: the same from block 1 on; block 0 sees LN1_0(table), since the
    table is added at the input; `mpvg` also gives the last norm the stored table, normalised.
    `input`, `share`, `unshare`: LN1_l(table). Anything inside attention: as stored; a bias that
    has a norm of its own, normalised over its keys. No such norm in the file: as stored.

    Args:
        pe: one scheme of one checkpoint.
        ln_eps: overrides the ε of every norm.

    Yields:
        One table a layer in the model's order (for `relative`, one a part of each layer).

    Source: LaPE, ICCV 2023, Eq. 9–11 and §3.4; PVG and MPVG, arXiv:2502.02919.
    """
    previous: LayerPE | None = None
    for step in pe.steps:
        source = previous if step.continues and previous is not None else step.table
        values: Any = source.held  # a bias that no norm acts on is not expanded here
        if step.norm is not None:
            values = normalised(source.values, step.norm, ln_eps=ln_eps)
        table = step.table
        rows, norm = table.num_prefix_rows, step.norm.path if step.norm else ""
        previous = Received(
            step.layer,
            values,
            table.grid_size,
            rows,
            table.part,
            table.num_frames,
            step.notion,
            norm,
        )
        yield previous


def normalised(
    values: Float32[np.ndarray, "*rows features"],
    norm: LayerNormParams,
    *,
    ln_eps: float | None = None,
) -> Float32[np.ndarray, "*rows features"]:
    """Return γ·(x − mean)/√(var + ε) + β over the last axis, var being the population variance.

    A norm without β is an RMS norm: γ·x/√(mean(x²) + ε). The arithmetic is float64, so that a
    row of equal values has variance 0 and comes out as β; a non-finite row comes out as NaN.

    Args:
        values: the rows to normalise.
        norm: γ, β and ε.
        ln_eps: overrides the norm's ε.
    """
    eps = norm.eps if ln_eps is None else ln_eps
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        x = values.astype(np.float64)
        if norm.bias is not None:
            x -= x.mean(axis=-1, keepdims=True)
        variance = np.einsum("...d,...d->...", x, x) / x.shape[-1]
        x *= (1 / np.sqrt(variance + eps))[..., None]
        x *= norm.weight
        if norm.bias is not None:
            x += norm.bias
        return x.astype(np.float32)
