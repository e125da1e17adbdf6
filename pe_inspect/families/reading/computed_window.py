"""On which window a computed bias is evaluated, and by which window its offsets are divided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from pe_inspect.errors import GridNotStored
from pe_inspect.families.reading.grid import image_grid, x
from pe_inspect.families.reading.named_model import module_at
from pe_inspect.families.reading.names import in_order
from pe_inspect.families.reading.tensors import Place
from pe_inspect.families.trunk import Trunk
from pe_inspect.kinds.offset_network import trained_window

__all__ = ["Evaluation", "evaluation_of"]

_TABLE: Final = "relative_coords_table"
_USUAL_IMAGE: Final = 224


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A window, and by which its network's offsets are divided.

    Attributes:
        window: (H, W).
        trained: (H, W) of the window of pre-training; `None` where nothing is divided.
        notes: where the window comes from.
    """

    window: tuple[int, int]
    trained: tuple[float, float] | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Known:
    """A window, the one that offsets are divided by (0 where it is the window itself), and who."""

    window: tuple[int, int]
    trained: tuple[float, float]
    who: str


def evaluation_of(trunk: Trunk, place: Place, is_swin: bool) -> Evaluation:
    """Return the window of one network: as said, as persisted, as the architecture has it.

    Args:
        trunk: whose hints and buffers are asked.
        place: where the network lies.
        is_swin: whether offsets are divided by the window of pre-training, as in Swin v2.

    Raises:
        AmbiguousCheckpoint: nothing says one.
    """
    own = _persisted(trunk, place) or _of_module(trunk, place)
    own = own or _of_config(trunk, place) or _of_image(trunk, place)
    said = trunk.hints.grid_size
    if said is None and own is None:
        raise GridNotStored(_nothing_says(trunk, place, is_swin))
    if said is None and own is not None:
        window, note = own.window, f"window {x(own.window)} {own.who}"
    else:
        window = _within_stage(trunk, place, said or (0, 0))
        note = f"evaluated on a {x(window)} window ({trunk.hints.origin('grid_size')})"
    if not is_swin:
        return Evaluation(window, None, (note,))
    trained = own.trained if own is not None and own.trained[0] else window
    return Evaluation(window, trained, (note, _divided(own, window, trained)))


def _divided(own: _Known | None, window: tuple[int, int], trained: tuple[float, ...]) -> str:
    rows, columns = trained
    name = f"{rows:g}×{columns:g}"
    if own is not None and own.trained[0]:
        return f"offsets divided by those of a {name} window ({own.who})"
    if own is not None and own.window == window:
        return "offsets divided by the window itself: none of pre-training is known"
    return (
        f"offsets divided by those of {name} itself: no window of pre-training is known, and "
        "a model that was fine-tuned to a larger window has one (--arch)"
    )


def _persisted(trunk: Trunk, place: Place) -> _Known | None:
    """Read the window off the coordinates that Microsoft's and torchvision's files keep."""
    key = f"{place.stem}.attn.{_TABLE}"
    if key not in trunk or len(trunk.shape(key)) != 4:
        return None
    _, rows, columns, _ = trunk.shape(key)
    table = np.asarray(trunk.tensor(key))[0]
    window = ((rows + 1) // 2, (columns + 1) // 2)
    return _Known(window, trained_window(table), f"read from {_TABLE}")


def _of_module(trunk: Trunk, place: Place) -> _Known | None:
    """Ask timm's module of the named architecture; a RelPosMlp lies within its attention."""
    paths = (f"{place.path}.attn.rel_pos", f"{place.path}.attn", place.path)
    modules = (module_at(trunk, path) for path in paths)
    owner = next((m for m in modules if m is not None and hasattr(m, "window_size")), None)
    if owner is None:
        return None
    rows, columns = owner.window_size
    trained = getattr(owner, "pretrained_window_size", (0, 0))
    who = f"of {trunk.hints.arch} ({trunk.hints.origin('arch')})"
    return _Known((rows, columns), (trained[0], trained[1]), who)


def _of_config(trunk: Trunk, place: Place) -> _Known | None:
    """Read transformers' config.json: one window, shrunk where a stage is smaller."""
    window = trunk.config.get("window_size")
    if not isinstance(window, int) or not place.layer.startswith("layers."):
        return None
    stage = in_order(place.layer)[0]
    trained = trunk.config.get("pretrained_window_sizes") or []
    side = trained[stage] if len(trained) > stage else 0
    return _Known(_within_stage(trunk, place, (window, window)), (side, side), "from config.json")


def _of_image(trunk: Trunk, place: Place) -> _Known | None:
    """A plain ViT attends over the whole grid."""
    grid = image_grid(trunk)
    is_plain = place.layer.startswith(("blocks.", "shared_rel_pos"))
    if grid is None or not is_plain:
        return None
    return _Known(grid, (0, 0), f"from img_size ({trunk.hints.origin('img_size')})")


def _within_stage(trunk: Trunk, place: Place, window: tuple[int, int]) -> tuple[int, int]:
    """Shrink a window to the stage's own grid, where the image size tells that: Swin does."""
    grid = image_grid(trunk)
    if grid is None or not place.layer.startswith("layers."):
        return window
    stage = in_order(place.layer)[0]
    rows, columns = (-(-side // 2**stage) for side in grid)
    return min(window[0], rows), min(window[1], columns)


def _nothing_says(trunk: Trunk, place: Place, is_swin: bool) -> str:
    what = f"{trunk.source} says no window for {place.layer}: its bias is computed for any"
    if is_swin:
        return (
            f"{what}. Swin v2 comes with 8×8, 12×12 and 16×16, and with 16×16 and 24×24 that were "
            "pre-trained on 12×12. Pass --arch timm:NAME, or --grid-size HxW for the window."
        )
    patch = trunk.patch_size
    is_plain = place.layer.startswith(("blocks.", "shared_rel_pos")) and patch is not None
    if is_plain and patch is not None:
        grid = (_USUAL_IMAGE // patch[0], _USUAL_IMAGE // patch[1])
        usual = f" ({'x'.join(map(str, grid))} at {_USUAL_IMAGE} px)"
    else:
        usual = ""
    return f"{what}. Pass --grid-size HxW{usual}, or --arch timm:NAME."
