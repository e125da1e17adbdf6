"""A page that would be too large: fewer frames, then fewer patches, evenly, and it says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from pe_inspect.arrays import Int
from pe_inspect.page.encode import Encoded
from pe_inspect.page.payload import num_bytes
from pe_inspect.page.tables import Norm, RoundedTable, evenly
from pe_inspect.page.views import Frame, Track, View

__all__ = ["thinned", "words_on"]

_ENOUGH_FRAMES: Final = 4  # below this, patches are left out first
_SMALLEST_SIDE: Final = 4
_WORTH: Final = 0.85


def thinned(views: Sequence[View], budget: int) -> tuple[View, ...]:
    """Return views whose maps take at most `budget` bytes, or none where no thinning suffices.

    Every second frame goes, or every second row and column of patches, whichever saves more; the
    first as long as more than four frames are left.
    """
    found = tuple(views)
    while found and _size(found) > budget:
        found = _smaller(found)
    return found


def _size(views: Sequence[View]) -> int:
    return num_bytes(track for view in views for track in view.tracks)


def _smaller(views: tuple[View, ...]) -> tuple[View, ...]:
    before = _size(views)
    fewer = tuple(map(_fewer_frames, views))
    coarser = _coarser(views)
    most = max(len(track.frames) for view in views for track in view.tracks)
    if most > _ENOUGH_FRAMES and _size(fewer) < _WORTH * before:
        return fewer
    if _size(coarser) < _WORTH * before:
        return coarser
    return fewer if _size(fewer) < before else ()


def _fewer_frames(view: View) -> View:
    tracks = tuple(map(_half, view.tracks))
    kept = evenly(len(view.tracks[0].frames), -(-len(view.tracks[0].frames) // 2))
    start = min(range(len(kept)), key=lambda k: abs(kept[k] - view.start))
    return replace(view, tracks=tracks, start=start)


def _half(track: Track) -> Track:
    kept = evenly(len(track.frames), -(-len(track.frames) // 2))
    before = track.num_frames_before or len(track.frames)
    return replace(track, frames=tuple(track.frames[k] for k in kept), num_frames_before=before)


def _coarser(views: Sequence[View]) -> tuple[View, ...]:
    """Every view with every second row and column of patches; frames stay shared."""
    made: dict[int, Any] = {}

    def once(item: Any, make: Callable[[], Any]) -> Any:
        if id(item) not in made:
            made[id(item)] = make()
        return made[id(item)]

    def frame_of(frame: Frame) -> Frame:
        found: Frame = once(frame, lambda: _coarse_frame(frame, once))
        return found

    return tuple(_coarse_view(view, frame_of) for view in views)


def _coarse_view(view: View, frame_of: Callable[[Frame], Frame]) -> View:
    tracks = tuple(
        replace(track, frames=tuple(map(frame_of, track.frames))) for track in view.tracks
    )
    before, after = view.tracks[0].frames[view.start], tracks[0].frames[view.start]
    if view.token is None or before.grid_size == after.grid_size:
        return replace(view, tracks=tracks)
    sides = zip(view.token, before.grid_size, after.grid_size)
    row, column = ((2 * at + 1) * new // (2 * old) for at, old, new in sides)
    return replace(view, tracks=tracks, token=(row, column))


def _coarse_frame(frame: Frame, once: Callable[[Any, Callable[[], Any]], Any]) -> Frame:
    sides = frame.grid_size[0], frame.grid_size[1] // frame.num_frames
    if min(sides) < 2 * _SMALLEST_SIDE or not all(map(_can_lose_patches, frame.maps)):
        return frame
    rows, within = (np.arange(side % 2 if side > 2 else 0, side, 2) for side in sides)
    columns = (np.arange(frame.num_frames)[:, None] * sides[1] + within).ravel()
    patches = (rows[:, None] * frame.grid_size[1] + columns).ravel() + len(frame.prefix)
    kept = np.concatenate([np.arange(len(frame.prefix)), patches])
    grid = (len(rows), len(columns))
    return replace(
        frame,
        grid_size=grid,
        maps=tuple(_coarse_map(item, kept, grid, once) for item in frame.maps),
        norms=None if frame.norms is None else frame.norms[kept],
        thinned_from=frame.thinned_from or frame.grid_size,
        kept=(_left(frame, 0, rows), _left(frame, 1, columns)),
    )


def _left(frame: Frame, axis: int, places: Int[np.ndarray, " kept"]) -> tuple[int, ...]:
    """The rows or columns of the exact grid that these places of a frame stand for."""
    before = frame.kept[axis] if frame.kept else range(frame.grid_size[axis])
    return tuple(int(before[place]) for place in places)


def _can_lose_patches(item: Encoded) -> bool:
    """Whether patches can be left out of a map: not where a resampling mixes all rows."""
    return item.chain is None or all(isinstance(step, Norm) for step in item.chain.steps)


def _coarse_map(
    item: Encoded,
    kept: Int[np.ndarray, " kept"],
    grid: tuple[int, int],
    once: Callable[[Any, Callable[[], Any]], Any],
) -> Encoded:
    if item.chain is not None:
        table = item.chain.table
        chain = replace(item.chain, table=once(table, lambda: _coarse_table(table, kept)))
        return replace(item, num_tokens=len(kept), grid_size=grid, chain=chain)
    codes = item.matrix[np.ix_(kept, kept)]
    if item.form == "triangle":
        codes = codes[np.triu_indices(len(kept))]
    form = "square" if item.form == "offsets" else item.form
    return replace(item, form=form, num_tokens=len(kept), grid_size=grid, codes=codes.ravel())


def _coarse_table(table: RoundedTable, kept: Int[np.ndarray, " kept"]) -> RoundedTable:
    places = {int(old): new for new, old in enumerate(kept)}
    missing = tuple(places[token] for token in table.missing if token in places)
    return RoundedTable(table.codes[kept], table.step, missing)


def words_on(views: Sequence[View], max_bytes: int) -> Iterator[str]:
    """Say of every view what was left out, with both numbers."""
    size = f"so that the page stays under {max_bytes / 1e6:g} MB"
    for view in views:
        for track in view.tracks:
            name = f" of {track.label}" if len(view.tracks) > 1 else ""
            if track.num_frames_before:
                frames = f"{len(track.frames)} of {track.num_frames_before} {view.axis}s{name}"
                yield f"“{view.title}” holds {frames}, evenly spaced, {size}."
            if old := track.frames[0].thinned_from:
                new = track.frames[0].grid_size
                patches = f"{new[0]}×{new[1]} of {old[0]}×{old[1]} patches{name}"
                yield f"“{view.title}” holds {patches}, evenly spaced, {size}."
