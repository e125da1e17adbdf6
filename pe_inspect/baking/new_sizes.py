"""What a plan changes of a model's sizes, in the units that configurations state them in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pe_inspect.baking.config import Sizes
from pe_inspect.baking.plan import BakePlan
from pe_inspect.families.reading.names import in_order
from pe_inspect.kinds.layouts import grid_for
from pe_inspect.loading.checkpoint import Checkpoint
from pe_inspect.resampling.target_grid import Size, is_windowed, pair_of

__all__ = ["new_sizes"]

Pair = tuple[int, int]

MOST_STAGES: Final = 16


def new_sizes(checkpoint: Checkpoint, made: BakePlan, res: Size | None) -> Sizes:
    """Return the old sizes and the new ones; `res` is the image size where it was asked for."""
    old_patch, new_patch = made.tables[0].patch_size, made.patch_size
    is_other = old_patch is not None and new_patch is not None and old_patch != new_patch
    return Sizes(
        image=_image(checkpoint, made, res),
        patch=(old_patch, new_patch) if is_other and old_patch and new_patch else None,
        window=(made.old, made.new) if is_windowed(made.tables[0]) else None,
        windows=_windows(made),
        lengths=_new_spectrogram(checkpoint, made),
    )


def _image(checkpoint: Checkpoint, made: BakePlan, res: Size | None) -> tuple[Pair, Pair] | None:
    patch, old = made.tables[0].patch_size, checkpoint.hints.img_size
    if old is None and patch is not None and not is_windowed(made.tables[0]):
        old = (made.old[0] * patch[0], made.old[1] * patch[1])
    if old is None:
        return None
    return old, pair_of(res, "--res") if res is not None else _new_image(old, made)


def _new_image(image: Pair, made: BakePlan) -> Pair:
    """The new image: its patches, or, where the grid is no count of them, in proportion."""
    main, new = made.tables[0], made.patch_size
    if main.patch_size is None or new is None:
        return _in_proportion(image, made, (1, 1))
    if is_windowed(main):
        return _in_proportion(
            image, made, (new[0] / main.patch_size[0], new[1] / main.patch_size[1])
        )
    return made.new[0] * new[0], made.new[1] * new[1]


def _in_proportion(image: Pair, made: BakePlan, wider: tuple[float, float]) -> Pair:
    """`wider` is how many times as wide a patch becomes, down and across."""
    rows, columns = (
        round(side * after / before * times)
        for side, before, after, times in zip(image, made.old, made.new, wider)
    )
    return rows, columns


def _windows(made: BakePlan) -> tuple[Pair, ...]:
    """The new window of each stage, from the first on; one without tables has the next one's."""
    main = made.tables[0]
    if not is_windowed(main):
        return ()
    known = {_stage(table.layer): grid_for(main, table, made.new) for table in main.tables}
    return tuple(
        known[min(stage for stage in known if stage >= at)]
        for at in range(min(max(known), MOST_STAGES) + 1)
    )


def _stage(layer: str) -> int:
    return in_order(layer)[0] if in_order(layer) else 0


def _new_spectrogram(checkpoint: Checkpoint, made: BakePlan) -> Mapping[str, int]:
    """AST states its sizes in frequencies and frames, and its steps among them."""
    config = checkpoint.metadata.get("config")
    said: Mapping[str, Any] = config if isinstance(config, Mapping) else {}
    axes = (("num_mel_bins", "frequency_stride"), ("max_length", "time_stride"))
    return {
        name: said[name] + (after - before) * said[stride]
        for (name, stride), before, after in zip(axes, made.old, made.new)
        if type(said.get(name)) is int and type(said.get(stride)) is int
    }
