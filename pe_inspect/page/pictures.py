"""matplotlib figures → small WebP files inside the page, their words lifted out of the image.

A figure's title and caption (the texts marked so in `figures/layout/style.py`) become the page's
own text: they can be read aloud, searched and selected, and the image loses a third of its bytes.
"""

from __future__ import annotations

from functools import reduce
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pe_inspect.arrays import Bool, Int, Shaped
from pe_inspect.page.content import Picture

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["picture"]

_CSS_DPI: Final = 96
_MARGIN: Final = 6  # pixels of white that are left around what is drawn
_CHART_DPI: Final = 110  # lines and letters; maps are drawn at their own resolution, value by value
# Levels of 256: no channel of a colour that has a meaning ends up farther from what was drawn, and
# none of the shades in which letters and lines fade into the paper.
_AREA: Final = 4
_FADE: Final = 24
_PAPER: Final = np.array([[255, 255, 255]])
_PACKED: Final = np.array([1 << 16, 1 << 8, 1])


def picture(
    figure: Any, stem: str, *, alt: str, omit: str = "", dpi: float | None = None
) -> Picture:
    """Draw a matplotlib figure as a WebP without loss at its own resolution and printed size.

    The same figure gives the same bytes: no date, no version of the software.

    Args:
        figure: what to draw; it is left as it was.
        stem: the figure's file name elsewhere, without suffix.
        alt: what a reader who does not see the image needs to know.
        omit: a beginning of the caption that the page says elsewhere.
        dpi: dots an inch; by default maps have their own resolution, and charts 110.
    """
    words = {text.get_gid(): text for text in figure.texts}
    title, caption = (_text_of(words.get(part)) for part in ("title", "caption"))
    fine = dpi or _dpi(figure)
    image = _cropped(_drawn(figure, [words[p] for p in ("title", "caption") if p in words], fine))
    width, height = (round(side * _CSS_DPI / fine) for side in image.size)
    return Picture(
        stem=stem,
        media_type="image/webp",
        data=_packed(image, _scales(figure)),
        width=width,
        height=height,
        title=title or stem.replace("_", " "),
        alt=alt,
        caption=caption.removeprefix(omit).strip(),
    )


def _text_of(text: Any) -> str:
    return " ".join(text.get_text().split()) if text is not None else ""


def _drawn(figure: Any, hidden: list[Any], dpi: float) -> Image:
    from PIL import Image

    from pe_inspect.figures.saving import save

    file = BytesIO()
    for text in hidden:
        text.set_visible(False)
    save(figure, file, format="png", dpi=dpi)
    for text in hidden:
        text.set_visible(True)
    return Image.open(file).convert("RGB")


def _dpi(figure: Any) -> float:
    has_maps = any(axes.images for axes in figure.axes)
    return float(figure.dpi) if has_maps else _CHART_DPI


def _cropped(image: Image) -> Image:
    """Cut off the white around what is drawn, but for a narrow margin."""
    from PIL import Image, ImageChops

    white = Image.new("RGB", image.size, "white")
    left, top, right, bottom = ImageChops.difference(image, white).getbbox() or (0, 0, 1, 1)
    width, height = image.size
    return image.crop(
        (
            max(left - _MARGIN, 0),
            max(top - _MARGIN, 0),
            min(right + _MARGIN, width),
            min(bottom + _MARGIN, height),
        )
    )


def _scales(figure: Any) -> Int[np.ndarray, " colours"]:
    """Return the colours of the figure's maps: all that a value may be shown in."""
    maps = [image.cmap for axes in figure.axes for image in axes.images]
    colours = [cmap(np.arange(cmap.N), bytes=True)[:, :3] for cmap in maps]
    packed: np.ndarray = np.concatenate([_PAPER, *colours]) @ _PACKED
    return packed


def _packed(image: Image, scales: Int[np.ndarray, " colours"]) -> bytes:
    """Return the file: near colours become one, and are then written without loss."""
    from PIL import Image

    file = BytesIO()
    shown = Image.fromarray(_merged(np.asarray(image) @ _PACKED, scales))
    shown.save(file, format="WEBP", lossless=True, quality=90, method=3)
    return file.getvalue()


def _merged(
    pixels: Int[np.ndarray, "height width"], scales: Int[np.ndarray, " colours"]
) -> Shaped[np.ndarray, "height width 3"]:
    """Show each pixel in the nearest of the colours that do for all; paper stays white."""
    meant = np.union1d(pixels[_in_runs(pixels)], scales)
    fades = np.setdiff1d(pixels, meant)
    palette = _with(_as_channels(meant), _PAPER, _AREA)
    palette = _with(_as_channels(fades), palette, _FADE)
    colours = np.concatenate([meant, fades])
    shown = np.zeros(1 << 24, dtype=np.int32)  # touched at a few thousand places only
    shown[colours] = (palette @ _PACKED)[_nearest(_as_channels(colours), palette)]
    return _as_channels(shown[pixels]).astype(np.uint8)


def _in_runs(pixels: Int[np.ndarray, "height width"]) -> Bool[np.ndarray, "height width"]:
    """Mark the pixels between two of their own colour, along a row or a column.

    What is filled has such pixels; the shades around a letter or a slanted line hardly do.
    """
    found = np.zeros(pixels.shape, dtype=bool)
    for marks, lines in ((found, pixels), (found.T, pixels.T)):
        alike = lines[1:] == lines[:-1]
        marks[1:-1] |= alike[1:] & alike[:-1]
    return found


def _with(
    colours: Int[np.ndarray, "colours 3"], palette: Int[np.ndarray, "entries 3"], apart: int
) -> Int[np.ndarray, "more 3"]:
    """Add the colours that are needed for none to be farther than `apart` from the palette.

    They go from dark to light: each addition is the lightest that still does for the darkest one
    left, so that it does for those beyond it too, and a colour scale takes few.
    """
    order = np.argsort(colours.sum(axis=1), kind="stable")
    left = colours[order][(_distances(colours[order], palette) > apart).all(axis=1)]
    added = []
    while len(left):
        added.append(left[_distances(left, left[:1])[:, 0] <= apart][-1:])
        left = left[_distances(left, added[-1])[:, 0] > apart]
    return np.concatenate([palette, *added])


def _nearest(
    colours: Int[np.ndarray, "colours 3"], palette: Int[np.ndarray, "entries 3"]
) -> Int[np.ndarray, " colours"]:
    nearest: np.ndarray = _distances(colours, palette).argmin(axis=1)
    return nearest


def _distances(
    colours: Int[np.ndarray, "colours 3"], palette: Int[np.ndarray, "entries 3"]
) -> Int[np.ndarray, "colours entries"]:
    """Levels of the channel in which two colours differ most."""
    channels = (abs(a[:, None] - b) for a, b in zip(colours.T, palette.T))
    farthest: np.ndarray = reduce(np.maximum, channels)
    return farthest


def _as_channels(pixels: Int[np.ndarray, "*places"]) -> Int[np.ndarray, "*places 3"]:
    return np.stack([pixels >> 16, pixels >> 8 & 255, pixels & 255], axis=-1)
