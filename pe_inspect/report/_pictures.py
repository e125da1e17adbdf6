"""matplotlib figures → small WebP files inside the page, their words lifted out of the image.

A figure's title and caption (the texts marked so by `figures/_style.py`) become the page's own
text: they can be read aloud, searched and selected, and the image loses a third of its bytes.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pe_inspect._typing import Int
from pe_inspect.report._content import Picture

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["picture"]

_CSS_DPI: Final = 96
_MARGIN: Final = 6  # pixels of white that are left around what is drawn
_CHART_DPI: Final = 120  # lines and letters; maps are drawn at their own resolution, value by value
_COLOURS: Final = (32, 64, 128, 256)
_LARGE: Final = 12_000  # bytes, above which the fewest colours have to do
_UNSEEN: Final = 0.7  # levels of 256, on average over pixels: no more colours are needed
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
        dpi: dots an inch; by default maps have their own resolution, and charts 120.
    """
    words = {text.get_gid(): text for text in figure.texts}
    title, caption = (_said(words.get(part)) for part in ("title", "caption"))
    fine = dpi or _dpi(figure)
    image = _cropped(_drawn(figure, [words[p] for p in ("title", "caption") if p in words], fine))
    width, height = (round(side * _CSS_DPI / fine) for side in image.size)
    return Picture(
        stem=stem,
        media_type="image/webp",
        data=_packed(image),
        width=width,
        height=height,
        title=title or stem.replace("_", " "),
        alt=alt,
        caption=caption.removeprefix(omit).strip(),
    )


def _said(text: Any) -> str:
    return " ".join(text.get_text().split()) if text is not None else ""


def _drawn(figure: Any, hidden: list[Any], dpi: float) -> Image:
    from PIL import Image

    from pe_inspect.figures._saving import save

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


def _packed(image: Image) -> bytes:
    """Return the file, with as many colours as the image needs."""
    pixels = np.asarray(image) @ _PACKED
    colours, counts = _by_frequency(pixels)
    for count in _COLOURS:
        palette = _palette(colours, count)
        if _error(colours, counts, palette) <= _UNSEEN:
            break
    data = _file(pixels, colours, palette)
    return data if len(data) <= _LARGE else _file(pixels, colours, _palette(colours, _COLOURS[0]))


def _by_frequency(
    pixels: Int[np.ndarray, "height width"],
) -> tuple[Int[np.ndarray, "colours 3"], Int[np.ndarray, " colours"]]:
    """Return the colours that occur, the commonest first, and how often each does."""
    packed, counts = np.unique(pixels, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    packed = packed[order]
    return np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=1), counts[order]


def _palette(colours: Int[np.ndarray, "colours 3"], count: int) -> Int[np.ndarray, "entries 3"]:
    """Choose at most `count` colours for all, to be used without dithering.

    The commonest ones stay; the others are cut evenly over the colours that occur, not over
    pixels, so that the ends of a colour scale, of which few pixels are seen, keep their steps.
    """
    from PIL import Image

    if len(colours) <= count:
        return colours
    kept = count // 4
    rest = Image.fromarray(colours[None, kept:].astype(np.uint8))
    cut = rest.quantize(count - kept, dither=Image.Dither.NONE).convert("RGB")
    return np.concatenate([colours[:kept], np.unique(np.asarray(cut)[0], axis=0)])


def _error(
    colours: Int[np.ndarray, "colours 3"],
    counts: Int[np.ndarray, " colours"],
    palette: Int[np.ndarray, "entries 3"],
) -> float:
    """Return how far pixels end up from their colours, in levels, on average."""
    apart = np.abs(palette[_nearest(colours, palette)] - colours).mean(axis=1)
    return float(np.average(apart, weights=counts))


def _file(
    pixels: Int[np.ndarray, "height width"],
    colours: Int[np.ndarray, "colours 3"],
    palette: Int[np.ndarray, "entries 3"],
) -> bytes:
    """Write each pixel as the palette entry that is nearest to its colour, without loss."""
    from PIL import Image

    entries = np.zeros(1 << 24, dtype=np.uint8)  # touched at a few thousand places only
    entries[colours @ _PACKED] = _nearest(colours, palette)
    shown = palette.astype(np.uint8)[entries[pixels]]
    file = BytesIO()
    Image.fromarray(shown).save(file, format="WEBP", lossless=True, quality=50, method=2)
    return file.getvalue()


def _nearest(
    colours: Int[np.ndarray, "colours 3"], palette: Int[np.ndarray, "entries 3"]
) -> Int[np.ndarray, " colours"]:
    apart = colours[:, None] - palette[None]
    nearest: np.ndarray = (apart**2).sum(axis=-1).argmin(axis=1)
    return nearest
