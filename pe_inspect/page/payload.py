"""Views → what the page's script reads; every table, norm and map travels once."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np

from pe_inspect.page.encode import Encoded
from pe_inspect.page.text import visible
from pe_inspect.page.views import Frame, Track, View

__all__ = ["num_bytes", "payload"]

_SIX_DIGITS: Final = 6e-6  # what six digits of a float32 are wrong by, at most, as a part of it


class _Shared:
    """What several maps use, numbered in the order in which it is first met."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
        self._places: dict[int, int] = {}
        self._held: list[Any] = []

    def place(self, item: Any, described: Any = None) -> int:
        """Return the number of an item, which is described when it is first met."""
        if id(item) not in self._places:
            self._places[id(item)] = len(self.items)
            self._held.append(item)
            self.items.append(described() if described else item.described())
        return self._places[id(item)]


def payload(views: Sequence[View]) -> str:
    """Return the JSON of a page's views; it can stand in a script element."""
    tables, steps, maps, frames = _Shared(), _Shared(), _Shared(), _Shared()

    def map_of(item: Encoded) -> int:
        return maps.place(item, lambda: _described_map(item, tables, steps))

    def frame_of(frame: Frame) -> int:
        return frames.place(frame, lambda: _described_frame(frame, map_of))

    shown = [_described_view(view, frame_of) for view in views]
    data = {
        "palettes": _palettes(),
        "views": shown,
        "frames": frames.items,
        "maps": maps.items,
        "steps": steps.items,
        "tables": tables.items,
    }
    return json.dumps(data, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")


def _palettes() -> dict[str, str]:
    """The colours of the figures, 256 a scale."""
    from pe_inspect.figures.layout.style import diverging, sequential

    places = np.linspace(0, 1, 256)
    maps = {"diverging": diverging(), "sequential": sequential()}
    bytes_of = {name: colours(places, bytes=True)[:, :3] for name, colours in maps.items()}
    return {name: b64encode(rgb.tobytes()).decode("ascii") for name, rgb in bytes_of.items()}


def _described_map(item: Encoded, tables: _Shared, steps: _Shared) -> dict[str, Any]:
    if item.chain is None:
        return item.described()
    return {
        "form": item.form,
        "tokens": item.num_tokens,
        "error": item.error,
        "table": tables.place(item.chain.table),
        "steps": [steps.place(step) for step in item.chain.steps],
    }


def _described_frame(frame: Frame, map_of: Any) -> dict[str, Any]:
    norms, error = _sent_lengths(frame)
    return {
        "name": visible(frame.name),
        "grid": list(frame.grid_size),
        "times": frame.num_frames,
        "prefix": [visible(name) for name in frame.prefix],
        "detail": visible(frame.detail),
        "maps": [map_of(item) for item in frame.maps],
        "norms": norms,
        "lengthError": error,
        "hasNorms": frame.norms is not None,
        "thinnedFrom": frame.thinned_from and list(frame.thinned_from),
        "kept": frame.kept and [list(side) for side in frame.kept],
    }


def _sent_lengths(frame: Frame) -> tuple[list[float] | None, float]:
    """The lengths of a frame's vectors, where the page has no rows to read them from; the error."""
    if frame.norms is None:
        return None, 0.0
    chain = frame.maps[0].chain
    if chain is not None and chain.length_error is not None:
        return None, chain.length_error
    norms = [float(f"{norm:.6g}") for norm in frame.norms]
    return norms, _SIX_DIGITS * max(norms, default=0.0)


def _described_view(view: View, frame_of: Any) -> dict[str, Any]:
    tracks = [
        {"label": visible(track.label), "frames": [frame_of(frame) for frame in track.frames],
         "before": track.num_frames_before}
        for track in view.tracks
    ]  # fmt: skip
    return {
        "kind": view.kind, "id": view.id, "title": visible(view.title), "axis": view.axis,
        "quantity": view.quantity, "limit": view.limit, "trackWord": view.track_word,
        "token": view.token and list(view.token), "start": view.start,
        "notes": [visible(note) for note in view.notes], "tracks": tracks,
        "headNames": list(view.head_names),
    }  # fmt: skip


def num_bytes(tracks: Iterable[Track]) -> int:
    """Return what the frames of some tracks take on the page, about; what they share once."""
    seen: dict[int, int] = {}
    for track in tracks:
        for frame in track.frames:
            for item in frame.maps:
                seen.update(_bytes_of_parts(item))
    return sum(seen.values())


def _bytes_of_parts(item: Encoded) -> dict[int, int]:
    if item.chain is None:
        return {id(item): item.num_bytes}
    parts: list[Any] = [item.chain.table, *item.chain.steps]
    return {id(item): 80, **{id(part): part.num_bytes for part in parts}}
