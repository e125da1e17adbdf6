"""Tables without order: never trained, in another order than row-major, or of another grid."""

from __future__ import annotations

from collections.abc import Iterator
from math import erfc, isqrt, sqrt
from typing import Final

import numpy as np

from pe_inspect.diagnosis.checks import on_embedding
from pe_inspect.diagnosis.fields import Field, command, fields, is_learned, noun
from pe_inspect.diagnosis.neighbours import Neighbours, Positions, neighbours, spectral_excess
from pe_inspect.finding import Finding
from pe_inspect.kinds.position_embedding import PositionEmbedding

__all__ = ["grid_order", "untrained"]

# One healthy table in a thousand million would be called untrained, one untrained in a thousand
# would be passed: trained tables lie 10 to 300 standard deviations from chance.
LEAST_P: Final = 1e-3
# Independent entries give 1 within a few per cent; lightly trained tables give 2, others 10.
NOISE_EDGE: Final = 1.5
CLEARLY: Final = 4.0  # standard deviations between the best grid and the one that was taken


@on_embedding("untrained", codes=("untrained", "scrambled"))
def untrained(pe: PositionEmbedding) -> Iterator[Finding]:
    """Learned tables whose neighbours are no more alike than any two places."""
    if not is_learned(pe):
        return
    found = [(field, neighbours(field.rows, field.grid_size)) for field in fields(pe)]
    judged = [(field, near) for field, near in found if np.isfinite(near.z)]
    if not judged:
        return
    pooled = sum(near.z for _, near in judged) / sqrt(len(judged))
    p_value = 0.5 * erfc(pooled / sqrt(2))
    if p_value >= LEAST_P and not _fits_another_grid(pe):
        yield _without_order(pe, judged, pooled, p_value)


def _without_order(
    pe: PositionEmbedding, judged: list[tuple[Field, Neighbours]], pooled: float, p_value: float
) -> Finding:
    correlation = float(np.mean([near.correlation for _, near in judged]))
    excess = max(spectral_excess(field.rows) for field, _ in judged)
    deviation = float(np.mean([field.values.astype(np.float64).std() for field, _ in judged]))
    evidence = {
        "neighbour_correlation": correlation,
        "z": float(pooled),
        "p_value": p_value,
        "threshold": LEAST_P,
        "largest_eigenvalue_over_noise": excess,
        "std": deviation,
    }
    seen = (
        f"neighbours in {noun(pe)} are no more alike than any two places: Moran's I "
        f"{correlation:.3f}, p = {p_value:.2g} if the rows were in random order"
    )
    if excess > NOISE_EDGE and pe.scheme_kind.has_token_rows:
        return _scrambled(pe, seen, evidence)
    return Finding(
        "untrained",
        noun(pe),
        f"{seen[0].upper()}{seen[1:]}; standard deviation {deviation:.3g} "
        "(the usual initialisation: 0.02).",
        "Every trained table is smooth to some degree. This one looks as it was initialised: its "
        "maps will show noise.",
        "Check that the weights were loaded (a renamed or missing key leaves the initial values), "
        f"and that this is not epoch 0: {command(pe, 'info')} lists the keys.",
        evidence,
    )


def _scrambled(pe: PositionEmbedding, seen: str, evidence: dict[str, float]) -> Finding:
    excess = evidence["largest_eigenvalue_over_noise"]
    return Finding(
        "scrambled",
        noun(pe),
        f"{seen[0].upper()}{seen[1:]}, and yet they vary together ({excess:.1f} × the most that "
        "noise does).",
        "The table was trained, but its rows are not in row-major order: each patch gets the "
        "position of another.",
        "Look for what reordered the rows (blocks of a pyramid, a resize that took the wrong old "
        "grid, a missing transpose), or name the grid with --grid-size HxW.",
        evidence,
    )


def _fits_another_grid(pe: PositionEmbedding) -> bool:
    return any(True for _ in grid_order(pe))


@on_embedding("grid-order", codes=("axis-order", "other-grid"))
def grid_order(pe: PositionEmbedding) -> Iterator[Finding]:
    """Learned tables that are clearly smoother on another grid than on the one that was taken."""
    if not is_learned(pe) or not pe.scheme_kind.has_token_rows:
        return
    field = next(fields(pe))
    positions = Positions(field.rows)
    taken = positions.on(field.grid_size)
    others = {grid: positions.on(grid) for grid in _grids(len(field.rows))}
    best = max(others, key=lambda grid: others[grid].z, default=field.grid_size)
    if best == field.grid_size or not others[best].z > taken.z + CLEARLY:
        return
    yield _other_grid(pe, field.grid_size, taken, best, others[best])


def _grids(places: int) -> list[tuple[int, int]]:
    """Every (H, W) of so many places whose sides are at least 2."""
    sides = [side for side in range(2, isqrt(places) + 1) if places % side == 0]
    pairs = [(side, places // side) for side in sides]
    return list(dict.fromkeys([*pairs, *((b, a) for a, b in pairs)]))


def _other_grid(
    pe: PositionEmbedding,
    taken: tuple[int, int],
    near: Neighbours,
    best: tuple[int, int],
    nearer: Neighbours,
) -> Finding:
    turned = best == taken[::-1]
    words = [f"{rows}×{columns}" for rows, columns in (taken, best)]
    said = f"--grid-size {best[0]}x{best[1]} --num-prefix-tokens {pe.num_prefix_rows}"
    return Finding(
        "axis-order" if turned else "other-grid",
        noun(pe),
        f"{noun(pe)} was read as {words[0]}, and its values are smooth as {words[1]}: neighbours "
        f"correlate {nearer.correlation:.2f} there, {near.correlation:.2f} here "
        f"({nearer.z - near.z:.0f} standard deviations apart).",
        "Rows and columns are exchanged: every map and every resampling would mix them."
        if turned
        else "A wrong grid mixes rows of patches: every map and every resampling is wrong.",
        command(pe, f"doctor {said}"),
        {
            "grid_size": list(taken),
            "neighbour_correlation": near.correlation,
            "smoothest_grid_size": list(best),
            "smoothest_neighbour_correlation": nearer.correlation,
            "z_difference": float(nearer.z - near.z),
        },
        runs_in="shell",
    )
