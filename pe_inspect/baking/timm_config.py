"""A timm folder's config.json for the new tables: timm builds the model, and its shapes decide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from pe_inspect.baking.config import Sizes, plain
from pe_inspect.baking.plan import BakePlan
from pe_inspect.errors import AmbiguousCheckpoint, UsageError
from pe_inspect.families.reading.arch import built, is_timm_s
from pe_inspect.families.reading.tensors import NamedTensors
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["timm_config"]

Config = Mapping[str, Any]


def timm_config(checkpoint: Checkpoint, config: Config, sizes: Sizes, made: BakePlan) -> Config:
    """Return a configuration whose `model_args` make timm build the new tables.

    Which arguments an architecture takes is timm's to know: they are tried, the fewest first.

    Args:
        checkpoint: the folder's.
        config: its config.json, with the sizes that it mentions changed.
        sizes: what changes.
        made: the new shapes.

    Raises:
        UsageError: timm builds no such model.
    """
    name = str(config["architecture"])
    tried = [_with(config, sizes, arguments) for arguments in _arguments(sizes)]
    if not is_timm_s(name):
        return tried[0]
    found = next((each for each in tried if _fits(checkpoint, each, made)), None)
    if found is None:
        raise UsageError(
            f"timm builds no {name} with tables of this size from a config.json, so that the new "
            "folder would not load. Pass the weight file instead of the folder to have it alone."
        )
    return found


def _arguments(sizes: Sizes) -> Iterator[dict[str, Any]]:
    """Yield what may be passed to timm: sizes alone, then windows by one of their names."""
    known = {"img_size": sizes.image, "patch_size": sizes.patch}
    plainly = {name: plain(pair[1]) for name, pair in known.items() if pair is not None}
    yield plainly
    windows = [plain(window) for window in sizes.windows]
    if len(set(sizes.windows)) == 1:
        yield {**plainly, "window_size": windows[0]}
    if windows:
        yield {**plainly, "window_size": windows}
        yield {**plainly, "window_sizes": windows}


def _with(config: Config, sizes: Sizes, arguments: Mapping[str, Any]) -> Config:
    kept, told = config.get("model_args"), config.get("pretrained_cfg")
    made = {**config, "model_args": {**(kept if isinstance(kept, Mapping) else {}), **arguments}}
    size = told.get("input_size") if isinstance(told, Mapping) else None
    if sizes.image is not None and isinstance(size, list):
        picture = [*size[:-2], *sizes.image[1]]  # (channels, height, width)
        made["pretrained_cfg"] = {**config["pretrained_cfg"], "input_size": picture}
    return made


def _fits(checkpoint: Checkpoint, config: Config, made: BakePlan) -> bool:
    """Whether timm's model of a configuration has the new shapes."""
    told = replace(
        checkpoint,
        metadata={**checkpoint.metadata, "config": dict(config)},
        hints=replace(checkpoint.hints, arch=str(config["architecture"])),
    )
    try:
        theirs = built(NamedTensors(told)).state_dict()
    except AmbiguousCheckpoint:
        return False
    return all(
        tuple(theirs[key].shape) == values.shape
        for key, values in made.changes.items()
        if key in theirs
    )
