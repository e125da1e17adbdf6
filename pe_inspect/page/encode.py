"""Pairwise maps → a few bytes each, with the error that this makes measured, never assumed.

Four forms, the smallest that holds a map is taken:

- `offsets`: the value depends on the offset of two patches alone (a bias, a rotation): one value
  an offset, and the rows and columns of prefix tokens as they are;
- `triangle`: a symmetric map: 8-bit codes of its upper triangle;
- `square`: any other map: 8-bit codes;
- `vectors`: cosines of one row a token: the rows, and what is done to them (see `tables.py`).
  Layers that start from one table share it.

`script/core.js` reads them back: `value = low + step·code`, code 255 being undefined.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from pe_inspect.arrays import Float, Shaped
from pe_inspect.kinds.affinity import Affinity, Products
from pe_inspect.page.tables import COMPARED, MARGIN, SAMPLED, Chain, evenly, fitted, gzipped

__all__ = ["Encoded", "Form", "encoded", "evenly", "from_chain"]

Form: TypeAlias = Literal["offsets", "triangle", "square", "vectors"]

UNDEFINED: Final = 255
_LEVELS: Final = 254
_ROUNDING: Final = 1e-6  # float32: products computed in blocks are symmetric but for this


@dataclass(frozen=True, eq=False)
class Encoded:
    """One map of n×n tokens, encoded.

    Attributes:
        form: see the module.
        num_tokens: n, prefix tokens included.
        grid_size: (H, W) of the patches, the last H·W tokens.
        codes: the codes as they are compressed; their layout depends on the form.
        low: the value of code 0.
        step: the value of one code more.
        error: the largest distance from an exact value (of large maps: 1.25 times the largest
            among 512 rows).
        maximum: the largest absolute value off the diagonal.
        chain: of `vectors`, where the rows come from.
    """

    form: Form
    num_tokens: int
    grid_size: tuple[int, int]
    codes: Shaped[np.ndarray, " codes"]
    low: float
    step: float
    error: float
    chain: Chain | None = None

    @cached_property
    def packed(self) -> bytes:
        """The codes, gzipped: as they are or as differences along the diagonal."""
        plain = gzipped(self.codes)
        if self.form not in ("triangle", "square"):
            return b"\0" + plain
        turned = gzipped(_along_diagonal(self.codes, self.num_tokens, self.form))
        return b"\1" + turned if len(turned) < len(plain) else b"\0" + plain

    @property
    def matrix(self) -> Shaped[np.ndarray, "tokens tokens"]:
        """The codes of all pairs, whatever the form; not of `vectors`."""
        count = self.num_tokens
        if self.form == "square":
            return self.codes.reshape(count, count)
        if self.form == "offsets":
            prefix = count - self.grid_size[0] * self.grid_size[1]
            return _looked_up(self.codes, self.grid_size, prefix, range(count))
        whole = np.zeros((count, count), np.uint8)
        whole[np.triu_indices(count)] = self.codes
        return np.maximum(whole, whole.T)

    @property
    def num_bytes(self) -> int:
        """What it takes on the page, about."""
        return -(-len(self.packed) * 4 // 3) + 80

    def described(self) -> dict[str, Any]:
        """Return what the page's script reads."""
        return {
            "form": self.form,
            "tokens": self.num_tokens,
            "low": self.low,
            "step": self.step,
            "error": self.error,
            "filtered": self.packed[0],
            "data": b64encode(self.packed[1:]).decode("ascii"),
        }


def encoded(alike: Affinity, head: int, num_tokens: int, grid_size: tuple[int, int]) -> Encoded:
    """Return one head's map in its smallest form.

    Args:
        alike: the affinity of all tokens, prefix tokens first.
        head: which of its maps.
        num_tokens: prefix tokens and patches.
        grid_size: (H, W) of the patches.
    """
    places = evenly(num_tokens, num_tokens if num_tokens <= COMPARED else SAMPLED)
    exact = alike.rows(places, head)[0].astype(np.float64)
    margin = 1.0 if len(places) == num_tokens else MARGIN
    found = _by_offset(alike, head, grid_size, places, exact, margin)
    if found is not None:
        return found
    if isinstance(alike, Products) and alike.factors.shape[-1] * 2 < num_tokens:
        return _as_vectors(alike, head, grid_size)
    values = exact if margin == 1 else alike.map(head).astype(np.float64)
    return _as_values(values, grid_size)


def _quantised(values: Float[np.ndarray, "..."]) -> tuple[Shaped[np.ndarray, "..."], float, float]:
    """Return codes, the value of code 0, and of a step; what is not finite is `UNDEFINED`."""
    known = np.isfinite(values)
    low = float(values[known].min()) if known.any() else 0.0
    step = (float(values[known].max()) - low) / _LEVELS if known.any() else 0.0
    codes = np.rint(np.where(known, values - low, 0) / (step or 1.0))
    return np.where(known, codes, UNDEFINED).astype(np.uint8), low, step


def _largest_value(values: np.ndarray) -> float:
    return float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 0.0


def _error(exact: np.ndarray, shown: np.ndarray) -> float:
    with np.errstate(invalid="ignore"):
        apart = np.abs(exact - shown)
    return float(np.nanmax(apart)) if np.isfinite(apart).any() else 0.0


def _values_of(codes: Shaped[np.ndarray, "..."], low: float, step: float) -> np.ndarray:
    return np.where(codes == UNDEFINED, np.nan, low + step * codes.astype(np.float64))


def _as_values(values: Float[np.ndarray, "tokens tokens"], grid_size: tuple[int, int]) -> Encoded:
    is_symmetric = _error(values, values.T) <= _ROUNDING * _largest_value(values)
    codes, low, step = _quantised((values + values.T) / 2 if is_symmetric else values)
    error, count = _error(values, _values_of(codes, low, step)), len(codes)
    if is_symmetric and np.array_equal(codes, codes.T):
        upper = codes[np.triu_indices(count)]
        return Encoded("triangle", count, grid_size, upper, low, step, error)
    return Encoded("square", count, grid_size, codes.ravel(), low, step, error)


def _by_offset(
    alike: Affinity,
    head: int,
    grid_size: tuple[int, int],
    places: Sequence[int],
    exact: Float[np.ndarray, "compared tokens"],
    margin: float,
) -> Encoded | None:
    """Return the map as a table of offsets, if every value that is compared is within a step."""
    tokens = exact.shape[1]
    prefix = tokens - grid_size[0] * grid_size[1]
    table = _corners(alike, head, grid_size, prefix)
    rows = alike.rows(range(prefix), head)[0].astype(np.float64)
    columns = alike.rows(range(prefix, tokens), head)[0][:, :prefix] if prefix else rows[:0]
    parts = [table.ravel(), rows.ravel(), columns.astype(np.float64).ravel()]
    codes, low, step = _quantised(np.concatenate(parts))
    shown = _looked_up(_values_of(codes, low, step), grid_size, prefix, places)
    if not np.array_equal(np.isnan(shown), np.isnan(exact)):
        return None
    error = _error(exact, shown) * margin
    whole = step if step > 0 else 1e-6
    return Encoded("offsets", tokens, grid_size, codes, low, step, error) if error < whole else None


def _corners(
    alike: Affinity, head: int, grid_size: tuple[int, int], prefix: int
) -> Float[np.ndarray, "row_offsets column_offsets"]:
    """The value of every offset (key − query), as the patches in the corners have it."""
    height, width = grid_size
    table = np.empty((2 * height - 1, 2 * width - 1))
    for row in (0, height - 1):
        for column in (0, width - 1):
            token = prefix + row * width + column
            values = alike.rows([token], head)[0, 0, prefix:].reshape(height, width)
            top, left = height - 1 - row, width - 1 - column
            table[top : top + height, left : left + width] = values
    return table


def _looked_up(
    values: Shaped[np.ndarray, " codes"],
    grid_size: tuple[int, int],
    prefix: int,
    places: Sequence[int],
) -> Shaped[np.ndarray, "compared tokens"]:
    """What the page reads out of a table of offsets, for some query tokens."""
    height, width = grid_size
    count = (2 * height - 1) * (2 * width - 1)
    table = values[:count].reshape(2 * height - 1, 2 * width - 1)
    tokens = prefix + height * width
    rows = values[count : count + prefix * tokens].reshape(prefix, tokens)
    columns = values[count + prefix * tokens :].reshape(height * width, prefix)
    shown = np.empty((len(places), tokens), values.dtype)
    for line, place in zip(shown, places):
        if place < prefix:
            line[:] = rows[place]
            continue
        row, column = divmod(place - prefix, width)
        top, left = height - 1 - row, width - 1 - column
        line[:prefix] = columns[place - prefix]
        line[prefix:] = table[top : top + height, left : left + width].ravel()
    return shown


def _along_diagonal(
    codes: Shaped[np.ndarray, " codes"], tokens: int, form: Form
) -> Shaped[np.ndarray, " codes"]:
    """Replace each code by its difference from the one up and to the left, modulo 256."""
    whole = np.zeros((tokens, tokens), np.uint8)
    where = np.triu_indices(tokens) if form == "triangle" else np.indices((tokens, tokens))
    whole[tuple(where)] = codes.reshape(where[0].shape)
    turned = whole.copy()
    turned[1:, 1:] -= whole[:-1, :-1]
    return np.ravel(turned[tuple(where)])


def _as_vectors(alike: Products, head: int, grid_size: tuple[int, int]) -> Encoded:
    """Return the map as its rows: those of the affinity, whose products are the cosines."""
    rows = alike.factors[head].copy()
    rows[alike.missing[head]] = np.nan
    directions = replace(fitted(rows, [Chain(rows)])[0], length_error=None)
    return from_chain(directions, grid_size)


def from_chain(chain: Chain, grid_size: tuple[int, int]) -> Encoded:
    """Return the map of cosines of a chain's rows."""
    nothing = np.empty(0, np.uint8)
    return Encoded(
        "vectors", chain.num_tokens, grid_size, nothing, 0.0, 0.0, chain.error, chain=chain
    )
