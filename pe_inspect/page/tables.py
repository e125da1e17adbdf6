"""Tables of vectors → a few bits a value; what layers do to one table travels as their norms.

A model that adds one table everywhere gives its twelve layers one table and twelve norms: a page
that holds these computes the same rows as the analysis did, from a tenth of the bytes of twelve
maps. The step of the table is chosen so that the cosines of every frame keep the target error,
which is then measured on what the page itself will compute.
"""

from __future__ import annotations

import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np

from pe_inspect.arrays import Float32, Int, Shaped
from pe_inspect.kinds.affinity import cosines

__all__ = ["Chain", "Norm", "Resampling", "RoundedTable", "evenly", "fitted", "gzipped"]

TARGET: Final = 1 / 254  # what 8 bits of [−1, 1] are wrong by, at most
COMPARED: Final = 2048  # tokens up to which every pair is compared with its exact value
SAMPLED: Final = 256  # rows that are compared of larger maps
# The allowance for the rows that are not: the largest of n normal errors grows with √(2·ln n), by
# 10 % from these to all of 74×74 places and by 12 % to all of 100×100.
MARGIN: Final = 1.25
_LARGEST_CODE: Final = (1 << 15) - 1
_TRIES: Final = 6


@dataclass(frozen=True, eq=False)
class RoundedTable:
    """A table of rows, rounded to one step.

    Attributes:
        codes: (n, D): `value = step·code`.
        step: of all values.
        missing: rows that are not finite.
    """

    codes: Int[np.ndarray, "tokens channels"]
    step: float
    missing: tuple[int, ...] = ()

    @property
    def values(self) -> Float32[np.ndarray, "tokens channels"]:
        """The rows as the page has them."""
        values = (self.codes * self.step).astype(np.float32)
        values[list(self.missing)] = np.nan
        return values

    @cached_property
    def packed(self) -> tuple[bool, bytes]:
        """Whether codes are differences from token to token, and the gzipped codes."""
        plain = gzipped(_planes(self.codes))
        turned = gzipped(_planes(np.diff(self.codes, axis=0, prepend=0)))
        return (True, turned) if len(turned) < len(plain) else (False, plain)

    @property
    def num_bytes(self) -> int:
        """What it takes on the page, about."""
        return -(-len(self.packed[1]) * 4 // 3) + 80

    def described(self) -> dict[str, Any]:
        """Return what the page's script reads."""
        tokens, channels = self.codes.shape
        return {
            "tokens": tokens,
            "channels": channels,
            "step": self.step,
            "missing": list(self.missing),
            "filtered": self.packed[0],
            "data": b64encode(self.packed[1]).decode("ascii"),
        }


@dataclass(frozen=True, eq=False)
class Norm:
    """A LayerNorm, or an RMS norm where it has no β, with weights rounded to 16 bits.

    Attributes:
        weight: γ.
        bias: β.
        eps: ε.
    """

    weight: Float32[np.ndarray, " channels"]
    bias: Float32[np.ndarray, " channels"] | None
    eps: float

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return the normalised rows, as the page computes them."""
        x = values.astype(np.float64)
        if self.bias is not None:
            x -= x.mean(axis=-1, keepdims=True)
        with np.errstate(all="ignore"):
            x *= 1 / np.sqrt((x * x).mean(axis=-1, keepdims=True) + self.eps)
        x *= _rounded(self.weight)
        if self.bias is not None:
            x += _rounded(self.bias)
        rows: np.ndarray = x.astype(np.float32)
        return rows

    @property
    def num_bytes(self) -> int:
        """What it takes on the page, about."""
        return 6 * self.weight.size + 60

    def described(self) -> dict[str, Any]:
        """Return what the page's script reads."""
        bias = None if self.bias is None else _described(self.bias)
        return {"weight": _described(self.weight), "bias": bias, "eps": self.eps}


@dataclass(frozen=True, eq=False)
class Resampling:
    """A separable resampling of the patches: new = rows · table · columnsᵀ, channel by channel.

    Attributes:
        rows: (H′, H).
        columns: (W′, W).
        num_prefix_rows: rows ahead of the patches, which are left out.
    """

    rows: Float32[np.ndarray, "new_rows rows"]
    columns: Float32[np.ndarray, "new_columns columns"]
    num_prefix_rows: int = 0

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return the resampled rows, as the page computes them."""
        height, width = self.rows.shape[1], self.columns.shape[1]
        table = values[self.num_prefix_rows :].reshape(height, width, -1)
        half = np.tensordot(self.rows.astype(np.float64), table.astype(np.float64), 1)
        made = self.columns.astype(np.float64) @ half
        rows: np.ndarray = made.reshape(-1, values.shape[-1]).astype(np.float32)
        return rows

    @property
    def num_bytes(self) -> int:
        """What it takes on the page, about."""
        sides = self.rows.size + self.columns.size * (not np.array_equal(self.rows, self.columns))
        return 6 * sides + 80

    def described(self) -> dict[str, Any]:
        """Return what the page's script reads."""
        rows, columns = ([list(side.shape), _raw(side)] for side in (self.rows, self.columns))
        both = {"rows": rows, "columns": columns, "skip": self.num_prefix_rows}
        return {**both, "columns": None} if rows == columns else both


@dataclass(frozen=True, eq=False)
class Chain:
    """Where a frame's rows come from: a table, and what is done to it, in order.

    Attributes:
        table: the shared table; before it is fitted, the exact rows.
        steps: norms or a resampling.
        error: the largest distance of a cosine from its exact value.
        length_error: likewise of a row's length; `None` where rows are directions alone.
    """

    table: Any
    steps: tuple[Norm | Resampling, ...] = ()
    error: float = 0.0
    length_error: float | None = 0.0

    @property
    def num_tokens(self) -> int:
        """Rows that come out."""
        return len(self.rows) if self.steps else len(self._values)

    @property
    def rows(self) -> Float32[np.ndarray, "tokens channels"]:
        """The rows, as the page computes them."""
        values = self._values
        for step in self.steps:
            values = step(values)
        return values

    @property
    def _values(self) -> np.ndarray:
        return self.table.values if isinstance(self.table, RoundedTable) else np.asarray(self.table)


def fitted(
    exact: Float32[np.ndarray, "tokens channels"],
    chains: Sequence[Chain],
    like: RoundedTable | None = None,
) -> tuple[Chain, ...]:
    """Round a table so that the cosines of every chain that starts from it keep the target error.

    Args:
        exact: the table.
        chains: with the exact table; their norms unrounded.
        like: the same table, rounded for other chains: taken where it is good enough for these.

    Returns:
        The chains with one shared rounded table, and the errors of each, measured.
    """
    wanted = [_Exact(_compared_cosines(rows), _row_lengths(rows))
              for rows in _in_turn(exact, chains, _unrounded)]  # fmt: skip
    if like is not None and like.codes.shape == exact.shape:
        made = _measured(like, chains, wanted)
        if max(chain.error for chain in made) <= TARGET:
            return made
    known = exact[np.isfinite(exact)]
    step = float(np.sqrt(np.mean(np.square(known, dtype=np.float64)))) / 24 if known.size else 0.0
    for _ in range(_TRIES):
        made = _measured(_with_step(exact, step), chains, wanted)
        worst = max(chain.error for chain in made)
        if worst <= TARGET or step == 0:
            break
        step *= 0.85 * TARGET / worst
    return made


def _with_step(exact: np.ndarray, step: float) -> RoundedTable:
    known = np.isfinite(exact).all(axis=1)
    values = np.where(known[:, None], exact, 0).astype(np.float64)
    step = max(step, float(np.abs(values).max(initial=0)) / _LARGEST_CODE)
    codes = np.rint(values / (step or 1.0)).astype(np.int32)
    return RoundedTable(codes, step, tuple(int(token) for token in np.flatnonzero(~known)))


class _Exact(NamedTuple):
    """What the rounded rows of a chain are measured against."""

    cosines: np.ndarray
    lengths: np.ndarray


def _measured(
    table: RoundedTable, chains: Sequence[Chain], wanted: Sequence[_Exact]
) -> tuple[Chain, ...]:
    """The chains with a rounded table, and how wrong their cosines and lengths are."""
    shown = _in_turn(table.values, chains, lambda step, rows: step(rows))
    return tuple(
        replace(
            chain, table=table, error=_apart(exact.cosines, rows),
            length_error=_largest_length(_row_lengths(rows) - exact.lengths),
        )
        for chain, exact, rows in zip(chains, wanted, shown)
    )  # fmt: skip


def _in_turn(
    values: np.ndarray,
    chains: Sequence[Chain],
    apply: Callable[[Norm | Resampling, np.ndarray], np.ndarray],
) -> Iterator[np.ndarray]:
    """Yield every chain's rows; one that goes on from the chain before it takes a single step."""
    rows = values
    before: tuple[Norm | Resampling, ...] = ()
    for chain in chains:
        goes_on = chain.steps[: len(before)] == before
        rows = rows if goes_on else values
        for step in chain.steps[len(before) if goes_on else 0 :]:
            rows = apply(step, rows)
        before = chain.steps
        yield rows


def _unrounded(step: Norm | Resampling, values: np.ndarray) -> np.ndarray:
    """A step with nothing rounded."""
    from pe_inspect.kinds.position_embedding import LayerNormParams
    from pe_inspect.kinds.tables_by_layer import normalised

    if isinstance(step, Resampling):
        return step(values)
    return normalised(values, LayerNormParams("", "", step.weight, step.bias, step.eps))


def _compared_cosines(rows: np.ndarray) -> np.ndarray:
    """The cosines that are compared: all of a small map, evenly spaced rows of a large one."""
    count = len(rows)
    places = evenly(count, count if count <= COMPARED else SAMPLED)
    return np.asarray(cosines(rows).rows(places)[0])


def _row_lengths(rows: np.ndarray) -> np.ndarray:
    lengths: np.ndarray = np.linalg.norm(rows.astype(np.float64), axis=-1)
    return lengths


def _largest_length(apart: np.ndarray) -> float:
    return float(np.nanmax(np.abs(apart))) if np.isfinite(apart).any() else 0.0


def _apart(wanted: np.ndarray, rows: np.ndarray) -> float:
    apart = np.abs(_compared_cosines(rows) - wanted)
    margin = 1.0 if len(wanted) == len(rows) else MARGIN
    return _largest_length(apart) * margin + 1e-6 if np.isfinite(apart).any() else 0.0


def evenly(length: int, count: int) -> list[int]:
    """Return at most `count` evenly spaced places, both ends among them."""
    if count >= length:
        return list(range(length))
    return sorted({int(place) for place in np.linspace(0, length - 1, max(count, 1)).round()})


def gzipped(codes: Shaped[np.ndarray, " codes"]) -> bytes:
    """Return the bytes of an array, gzipped; the same array gives the same bytes.

    Level 9 takes ten times as long for 1 % of a table of noise.
    """
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    return packer.compress(codes.tobytes()) + packer.flush()


def _planes(codes: Int[np.ndarray, "tokens channels"]) -> Shaped[np.ndarray, " bytes"]:
    """Channel by channel, signs folded into the last bit; all low bytes first, then the high."""
    folded = np.where(codes < 0, -2 * codes - 1, 2 * codes).T.ravel()
    return np.concatenate([folded & 255, folded >> 8 & 255, folded >> 16]).astype(np.uint8)


def _scaled(values: np.ndarray) -> tuple[Shaped[np.ndarray, " values"], float]:
    largest = float(np.nanmax(np.abs(values), initial=0.0))
    scale = largest / _LARGEST_CODE or 1.0
    return np.rint(np.nan_to_num(values / scale)).astype("<i2"), scale


def _rounded(values: np.ndarray) -> np.ndarray:
    codes, scale = _scaled(values)
    return codes * np.float64(scale)


def _described(values: np.ndarray) -> dict[str, Any]:
    codes, scale = _scaled(values)
    return {"scale": scale, "data": b64encode(codes.tobytes()).decode("ascii")}


def _raw(values: np.ndarray) -> str:
    return b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode("ascii")
