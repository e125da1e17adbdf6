"""What the page's interactive views are made of, as plain frozen dataclasses.

The contract between sections, which fill views, and the page, which draws them:

- A section sets `Section.views`; the page draws each where the section's figures begin. The
  section's `figures` stay what they are: the static form, shown in print, with scripts off, and
  folded away under the view otherwise.
- A `View` has `Track`s (one an embedding, a method …) of `Frame`s (one a layer, an epoch, a grid).
  One engine draws all kinds: the chosen frame large, all frames of the track small, a slider over
  frames, a choice of tracks and heads, differences between any two tracks, two-patch mode.
- A `Frame` holds one encoded pairwise map a head. Make frames with `frames.py`:
  `frame_of(name, affinity, grid_size)`, `similarity_frames(result)` (also an epoch at a time),
  `resampled_tracks(results)` (one result a target grid, each with the same methods).
  They are encoded at once, and the exact values forgotten.
- One `Frame` object may stand in several views (a chapter's own and the comparison of chapters):
  its bytes travel once.

Which kind for what:

    similarity   one track, frames are layers          View("similarity", …, axis="layer")
    resolution   a track a method, frames are grids    View("resolution", …, axis="grid")
    evolution    one track, frames are epochs          View("evolution", …, axis="epoch"): plays
    compare      a track an embedding, frames are layers   View("compare", …, axis="layer")
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from pe_inspect.arrays import Float32

if TYPE_CHECKING:
    from pe_inspect.page.encode import Encoded

__all__ = ["Axis", "Frame", "Track", "View", "ViewKind"]

ViewKind: TypeAlias = Literal["similarity", "resolution", "evolution", "compare"]
Axis: TypeAlias = Literal["layer", "grid", "epoch"]


@dataclass(frozen=True, eq=False)
class Frame:
    """The maps of one layer, epoch or grid.

    Attributes:
        name: `"blocks.3"`, `"epoch 12"`, `"24×24"`.
        grid_size: (H, W) patches.
        maps: one a head, of P + H·W tokens: prefix tokens first, then patches row by row.
        prefix: a name for each of the P prefix tokens: `"CLS"`, `"register 1"`; may be empty.
        norms: the length of each token's vector, where dot products and distances make sense.
        detail: how the map comes to be, in a few words: `"LN1 of this layer, a proxy"`.
        thinned_from: (H, W) of the exact grid, where only evenly spaced patches were kept.
        kept: the rows and the columns of that grid which were kept.
        num_frames: how many frames of a clip stand side by side in its columns; 1 for images.
    """

    name: str
    grid_size: tuple[int, int]
    maps: tuple[Encoded, ...]
    prefix: tuple[str, ...] = ()
    norms: Float32[np.ndarray, " tokens"] | None = None
    detail: str = ""
    thinned_from: tuple[int, int] | None = None
    kept: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    num_frames: int = 1


@dataclass(frozen=True, eq=False)
class Track:
    """A row of frames: the layers of one embedding, the grids of one method.

    Attributes:
        label: the embedding's or the method's short name.
        frames: in order; tracks of one view are matched frame by frame.
        num_frames_before: how many frames there were, where some were left out for size.
    """

    label: str
    frames: tuple[Frame, ...]
    num_frames_before: int | None = None


@dataclass(frozen=True, eq=False)
class View:
    """One interactive view.

    Attributes:
        kind: what the view does besides exploring; see the module.
        id: its id in the page: lower-case letters, digits and hyphens; unique on the page.
        title: a few words.
        axis: what its frames are; also the key of the slider in a link, `#layer=7`.
        tracks: one or several.
        quantity: what the values are: `"cosine similarity"`.
        limit: values lie in [−limit, limit]; `None` where the data tell.
        track_word: what tracks are: `"method"`, `"checkpoint"`.
        token: the patch to begin with; `None` is the middle of the grid.
        start: the frame to begin with.
        notes: sentences to print under the view: resampled grids, thinning.
        head_names: what the maps of a frame are where they are no heads: `"query"`, `"value"`.
    """

    kind: ViewKind
    id: str
    title: str
    axis: Axis
    tracks: tuple[Track, ...]
    quantity: str
    limit: float | None = 1.0
    track_word: str = "checkpoint"
    token: tuple[int, int] | None = None
    start: int = 0
    notes: tuple[str, ...] = ()
    head_names: tuple[str, ...] = ()
