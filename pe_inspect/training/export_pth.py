"""A trained checkpoint in the layout of the original LaPE scripts, for tools that read those."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

import torch

from pe_inspect.bounded import json_in
from pe_inspect.checkpoint_files import WEIGHTS
from pe_inspect.errors import UnreadableCheckpoint
from pe_inspect.files import OutputFolder
from pe_inspect.models.config import ViTConfig
from pe_inspect.training.run_folder import CONFIG

__all__ = ["export"]

# Those scripts' own words; what they do not know keeps ours, so that nothing is called what it
# is not.
_JOIN_TYPES: Final = {"input": "basic", "lape": "LaPE"}
_SCHEMES: Final = {
    "learned": "learnable",
    "sincos1d": "1D_sin",
    "sincos2d": "2D_sin",
    "rel_bias_1d": "1D_RPE",
    "rel_bias_2d": "2D_RPE",
}


def export(folder: str | Path, path: str | Path, *, force: bool = False) -> Path:
    """Write `{"model": state_dict, "args": Namespace}` to `path`, whole or not at all.

    The weights are widened to float32. The Namespace says what those scripts' training did:
    `join_type`, `pe`, `model`, `input_size` and what goes with them, as plain values.

    Args:
        folder: a folder that `train` made.
        path: the `.pth` file; one that an earlier export made is replaced.
        force: replace also a file that pe-inspect did not make.

    Raises:
        UnreadableCheckpoint: the folder holds no checkpoint of ours.
        OutputError: the file cannot be written, or is not ours to replace.
    """
    config = _read_config(Path(folder))
    content = {"model": _read_weights(Path(folder)), "args": _namespace(config)}
    target = Path(path)
    place = OutputFolder(target.parent, force, option="--export")
    return place.write(target.name, lambda file: torch.save(content, file))


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = json_in(folder / CONFIG)
        return {**config, "model": ViTConfig.from_dict(config["model"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnreadableCheckpoint(
            f"{folder} is not a folder that pe-inspect trained: its {CONFIG} is missing or broken."
        ) from error


def _read_weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise UnreadableCheckpoint(f"{folder / WEIGHTS} cannot be read: {error}") from error
    return {key: tensor.float() for key, tensor in weights.items()}


def _namespace(config: dict[str, Any]) -> argparse.Namespace:
    shape: ViTConfig = config["model"]
    recipe = config["recipe"]
    return argparse.Namespace(
        model=recipe["name"],
        pe=_SCHEMES.get(shape.scheme, shape.scheme),
        join_type=_JOIN_TYPES.get(shape.join, shape.join),
        input_size=_one_or_pair(shape.img_size),
        patch_size=_one_or_pair(shape.patch_size),
        embed_dim=shape.embed_dim,
        depth=shape.depth,
        num_heads=shape.num_heads,
        nb_classes=shape.num_classes,
        data_set=config["data"]["label"],
        epochs=recipe["epochs"],
        batch_size=recipe["batch_size"],
        lr=recipe["lr"],
        weight_decay=recipe["weight_decay"],
        seed=config["seed"],
    )


def _one_or_pair(size: tuple[int, int]) -> int | tuple[int, int]:
    return size[0] if size[0] == size[1] else size
