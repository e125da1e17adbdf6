"""Rotary positions: learned frequencies stay, stored cosines, sines and places are made anew."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from pe_inspect.arrays import Float
from pe_inspect.baking.bakers import Job, TensorChange, bakes
from pe_inspect.families.reading.rotation import Pairing, first_of_pairs, pairing_of
from pe_inspect.families.trunk import Trunk

__all__ = ["bake_rotary"]

_PLACES = re.compile(r"(?:.*\.)?(?:freqs|rope)_t_([xy])")
_TURNS = re.compile(r"(?P<stem>.*rope\.)freqs_(?P<part>cos|sin)")
_AXES = re.compile(r"(?P<stem>.*attention\.rotary_embedding\.)(?P<axis>[xy])_(?P<part>cos|sin)")


@bakes("rotary")
def bake_rotary(trunk: Trunk, job: Job) -> Iterator[TensorChange]:
    """Put the angles on the new grid where the file stores any; else nothing is stored."""
    found = [
        change for bare, key in trunk.names.items() for change in _of_tensor(trunk, bare, key, job)
    ]
    yield from found
    if not found:
        yield TensorChange(
            note="rotary angles are computed for the grid of every image; the file stores "
            + ("frequencies, which are the same for any grid" if job.pe.stored else "none")
        )


def _of_tensor(trunk: Trunk, bare: str, key: str, job: Job) -> Iterator[TensorChange]:
    size = trunk.size(key)
    if (match := _PLACES.fullmatch(bare)) and size == job.pe.tables[0].num_patches:
        axis = np.indices(job.size)[1 if match[1] == "x" else 0]
        yield TensorChange(key, axis.reshape(-1).astype(np.float32))
    elif match := _TURNS.fullmatch(bare):
        angles = _new_angles(job)
        pairing = _pairing(trunk, f"{key[: -len(match['part'])]}cos")
        yield TensorChange(key, _turned(doubled(angles, pairing), match["part"]))
    elif match := _AXES.fullmatch(bare):
        yield TensorChange(key, _of_axis(trunk, key, match["axis"], match["part"], job))


def _of_axis(
    trunk: Trunk, key: str, axis: str, part: str, job: Job
) -> Float[np.ndarray, "1 1 tokens channels"]:
    """s-chh's, whose first rows are those of prefix tokens, and are not turned."""
    stored = np.asarray(trunk.tensor(key), np.float64)
    prefix = stored.shape[-2] - job.pe.tables[0].num_patches
    half = job.pe.tables[0].shape[-1] // 2
    angles = _new_angles(job)
    own = angles[:, :half] if axis == "x" else angles[:, half:]
    cosines = f"{key[: -len(part)]}cos"
    made = _turned(doubled(own, _pairing(trunk, cosines)), part)
    rows = stored.reshape(stored.shape[-2:])[:prefix]
    return np.concatenate([rows, made]).reshape(*stored.shape[:-2], -1, made.shape[1])


def _new_angles(job: Job) -> Float[np.ndarray, "patches angles"]:
    """The angles of the first head on the new grid, as the chosen method has them."""
    table = job.pe.tables[0]
    by_place = table.values[0].reshape(*table.grid_size, -1).astype(np.float64)
    return job.resampler(by_place, job.size).reshape(job.size[0] * job.size[1], -1)


def _turned(angles: Float[np.ndarray, "..."], part: str) -> Float[np.ndarray, "..."]:
    return np.asarray(np.cos(angles) if part == "cos" else np.sin(angles))


def _pairing(trunk: Trunk, key: str) -> Pairing:
    cosines = np.asarray(trunk.tensor(key), np.float64)
    return pairing_of(cosines.reshape(cosines.shape[-2:])) or "interleaved"


def doubled(
    angles: Float[np.ndarray, "patches pairs"], pairing: Pairing
) -> Float[np.ndarray, "patches channels"]:
    """One column a channel: the other way round than `first_of_pairs`."""
    pairs = angles.shape[1]
    places = np.arange(2 * pairs, dtype=np.float64)[None]
    columns = first_of_pairs(places, pairing)[0].astype(int)
    made = np.empty((len(angles), 2 * pairs), angles.dtype)
    if pairing == "interleaved":
        partner = columns + 1
    else:
        partner = columns + (pairs if pairing == "half" else pairs // 2)
    made[:, columns] = made[:, partner] = angles
    return made
