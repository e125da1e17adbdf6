"""The configuration files of a new folder, each as its library reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pe_inspect.baking.config import Sizes, reconfigured
from pe_inspect.baking.hf_config import hf_config
from pe_inspect.baking.new_sizes import new_sizes
from pe_inspect.baking.open_clip_config import is_open_clips, open_clip_config
from pe_inspect.baking.plan import BakePlan
from pe_inspect.baking.timm_config import timm_config
from pe_inspect.baking.writing import leads_away
from pe_inspect.loading.byte_source import LocalFile
from pe_inspect.loading.checkpoint import Checkpoint
from pe_inspect.loading.formats.huggingface import read_object
from pe_inspect.resampling.target_grid import Size

__all__ = ["configurations"]

_PROCESSOR: Final = "preprocessor_config.json"
_CONFIGS: Final = ("config.json", "open_clip_config.json", _PROCESSOR)


def configurations(
    checkpoint: Checkpoint, folder: Path, made: BakePlan, res: Size | None
) -> dict[str, bytes]:
    """Return file name → content, of every configuration in a folder, for the new tables.

    Args:
        checkpoint: the folder's.
        folder: where they lie.
        made: the new tables.
        res: the new image size, where that was asked for.

    Raises:
        UsageError: the library that reads one could not build or run such a model.
    """
    sizes = new_sizes(checkpoint, made, res)
    there = (folder / name for name in _CONFIGS if (folder / name).is_file())
    paths = [path for path in there if not leads_away(path)]
    return {path.name: _content(checkpoint, path, sizes, made) for path in paths}


def _content(checkpoint: Checkpoint, path: Path, sizes: Sizes, made: BakePlan) -> bytes:
    """Return a file's new content; one in which nothing changes stays as it is, byte by byte."""
    config = read_object(LocalFile(path))
    is_processor = path.name == _PROCESSOR
    new = reconfigured(config, sizes, is_processor=is_processor)
    if not is_processor:
        new = _completed(checkpoint, new, sizes, made)
    if new == config:
        return path.read_bytes()
    return (json.dumps(new, indent=2, ensure_ascii=False) + "\n").encode()


def _completed(
    checkpoint: Checkpoint, config: Mapping[str, Any], sizes: Sizes, made: BakePlan
) -> Mapping[str, Any]:
    if "architecture" in config:
        return timm_config(checkpoint, config, sizes, made)
    if is_open_clips(config):
        return open_clip_config(config, sizes)
    if {"recipe", "model", "metrics"} <= config.keys():
        return _unmeasured(config)
    return hf_config(config, sizes) if "model_type" in config else config


def _unmeasured(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Our trainer's, without what was measured at the old size: nobody measured the new one."""
    metrics = config["metrics"] if isinstance(config["metrics"], Mapping) else {}
    kept = {name: value for name, value in metrics.items() if not name.startswith("test_")}
    return {name: value for name, value in config.items() if name != "best"} | {"metrics": kept}
