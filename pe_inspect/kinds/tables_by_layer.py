"""The position table as each layer of the model receives it.

Three notions are kept apart, and every figure says which it shows:

- `joined`: the model itself computes these values before it adds them (LaPE's recurrence, and
  whatever is computed from the input or by a small network), or adds them to its attention logits
  (a bias).
- `proxy`: LN1_l(table), what LaPE's authors draw for models that add the table to the tokens. No
  layer sees exactly that: norm1 acts on the sum of content and position.
- `stored`: the table as the file holds it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pe_inspect.arrays import Float32
from pe_inspect.kinds.position_embedding import LayerNormParams, LayerPE, PositionEmbedding

__all__ = ["Notion", "Received", "Step", "normalised", "received", "steps"]

Notion = Literal["joined", "proxy", "stored"]


@dataclass(frozen=True, eq=False)
class Received(LayerPE):
    """A table as one layer receives it, prefix rows included: see `LayerPE` for the other fields.

    Attributes:
        notion: what stands between this table and the stored one (see the module's text).
        norm: the name of the norm that was applied, `"blocks.3.pe_norm"`; empty for none.
    """

    notion: Notion = "stored"
    norm: str = ""


@dataclass(frozen=True, eq=False)
class Step:
    """How one layer comes to its table, before anything is computed.

    Attributes:
        layer: the layer that receives it.
        table: the stored table that it starts from.
        notion: see the module's text.
        norm: what is applied, where anything is.
        continues: the norm acts on what the step before gave, not on `table`.
    """

    layer: str
    table: LayerPE
    notion: Notion = "stored"
    norm: LayerNormParams | None = None
    continues: bool = False

    @property
    def name(self) -> str:
        """The layer, and the part of it where it has several tables."""
        return f"{self.layer}.{self.table.part}" if self.table.part else self.layer


def steps(pe: PositionEmbedding) -> tuple[Step, ...]:
    """Return the steps that `received` takes; nothing is computed."""
    if pe.kind == "bias":
        return _bias_steps(pe)
    if pe.kind == "function":
        return tuple(Step(table.layer, table, "joined") for table in pe.tables)
    if pe.kind != "vectors" or pe.join in ("layer", "none"):
        return tuple(Step(table.layer, table) for table in pe.tables)
    if pe.join in ("lape", "pvg", "mpvg"):
        return _recurrent_steps(pe)
    return _proxy_steps(pe)


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
    for step in steps(pe):
        source = previous if step.continues and previous is not None else step.table
        values: Any = source.held  # a bias that no norm acts on is not expanded here
        if step.norm is not None:
            values = normalised(source.values, step.norm, ln_eps=ln_eps)
        table = step.table
        rows, norm = table.num_prefix_rows, step.norm.path if step.norm else ""
        previous = Received(
            step.layer, values, table.grid_size, rows, table.part, step.notion, norm
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


def _fitting(norm: LayerNormParams | None, table: LayerPE) -> LayerNormParams | None:
    """The stages of a pyramid have norms of other widths: those never see this table."""
    fits = norm is not None and norm.weight.size == table.shape[-1]
    return norm if fits else None


def _bias_steps(pe: PositionEmbedding) -> tuple[Step, ...]:
    norms = pe.norms_named("attn.pe_norm")
    return tuple(
        Step(table.layer, table, "joined", _fitting(norms.get(table.layer), table))
        for table in pe.tables
    )


def _proxy_steps(pe: PositionEmbedding) -> tuple[Step, ...]:
    norms = pe.norms_named("norm1")
    if len(pe.tables) > 1:
        return tuple(_proxy(table.layer, table, norms.get(table.layer)) for table in pe.tables)
    table = pe.tables[0]
    layers = [layer for layer, norm in norms.items() if _fitting(norm, table)]
    return tuple(_proxy(layer, table, norms[layer]) for layer in layers) or (
        Step(table.layer, table),
    )


def _proxy(layer: str, table: LayerPE, norm: LayerNormParams | None) -> Step:
    fitting = _fitting(norm, table)
    return Step(layer, table, "proxy" if fitting else "stored", fitting)


def _recurrent_steps(pe: PositionEmbedding) -> tuple[Step, ...]:
    table, norms, token_norms = pe.tables[0], pe.norms_named("pe_norm"), pe.norms_named("norm1")
    found: list[Step] = []
    for layer in pe.layer_names:
        norm, is_first = _fitting(norms.get(layer), table), not found
        if norm is None and is_first and pe.join != "lape":
            found.append(_proxy(layer, table, token_norms.get(layer)))
        else:
            continues = bool(found) and found[-1].notion == "joined"
            found.append(Step(layer, table, "joined", norm, continues))
    last = norms.get("") or pe.norms_named("norm").get("")
    if pe.join == "mpvg" and last is not None:
        found.append(Step("norm", table, "joined", _fitting(last, table)))
    return tuple(found)
