"""What the modules of a named architecture know: windows, and the grids that they are fed.

No file stores these. timm's model is built without weights; only its shapes are asked. What has no
grid of its own, as a convolution, is shown on a grid that is stated.
"""

from __future__ import annotations

import re
from functools import lru_cache, partial
from typing import Any, Final

from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families.reading.arch import built, timm_name
from pe_inspect.families.reading.grid import image_grid, x
from pe_inspect.families.trunk import Trunk

__all__ = ["image_size_of", "input_grid", "module_at", "stated_grid"]

_SHOWN: Final = (14, 14)


def module_at(trunk: Trunk, path: str) -> Any | None:
    """Return the module of the named architecture at a path; `None` where nothing is known.

    Raises:
        UsageError: `--arch` names something that timm does not have.
        AmbiguousCheckpoint: the file holds the module with other shapes.
    """
    model = _named(trunk)
    module = None if model is None else dict(model.named_modules()).get(path)
    if module is None:
        return None
    for name, parameter in module.named_parameters():
        key = f"{path}.{name}"
        if key in trunk and trunk.shape(key) != tuple(parameter.shape):
            raise AmbiguousCheckpoint(
                f"{trunk.hints.arch} ({trunk.hints.origin('arch')}) has {key} of shape "
                f"{tuple(parameter.shape)}, {trunk.source} of {trunk.shape(key)}. "
                "Name the architecture that the file is of."
            )
    return module


def input_grid(trunk: Trunk, path: str) -> tuple[int, int] | None:
    """Return (H, W) of what a convolution of the named architecture is fed; `None` if unknown.

    The image is as large as was said, else as the architecture's own.
    """
    if module_at(trunk, path) is None:
        return None
    return _grids(built(trunk), trunk.hints.img_size).get(path)


def image_size_of(trunk: Trunk) -> tuple[int, int] | None:
    """Return the image size that the named architecture is built for."""
    model = _named(trunk)
    return None if model is None else _image_size(model)


def _named(trunk: Trunk) -> Any | None:
    """Return timm's model; a name that only a config.json says may be another library's."""
    if trunk.hints.arch is None:
        return None
    if not trunk.hints.is_flag("arch"):
        import timm

        if not timm.is_model(timm_name(trunk.hints)):
            return None
    return built(trunk)


def _image_size(model: Any) -> tuple[int, int]:
    config = model.pretrained_cfg
    _, height, width = config.get("input_size") or (3, 224, 224)
    return height, width


@lru_cache(maxsize=2)
def _grids(model: Any, img_size: tuple[int, int] | None) -> dict[str, tuple[int, int]]:
    """Return, for every convolution by its path, the grid of its input: one pass without data."""
    import torch

    found: dict[str, tuple[int, int]] = {}
    hooks = [
        module.register_forward_pre_hook(partial(_note_grid, found, path))
        for path, module in model.named_modules()
        if isinstance(module, torch.nn.Conv2d)
    ]
    height, width = img_size or _image_size(model)
    try:
        with torch.no_grad():
            model.eval()(torch.empty(1, 3, height, width, device="meta"))
    except (RuntimeError, AssertionError, NotImplementedError):
        found.clear()  # some models look at values, which there are none of, or at one size only
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _note_grid(
    found: dict[str, tuple[int, int]], path: str, _module: Any, inputs: tuple[Any, ...]
) -> None:
    found[path] = (int(inputs[0].shape[-2]), int(inputs[0].shape[-1]))


def stated_grid(trunk: Trunk, convolution: str) -> tuple[tuple[int, int], str]:
    """Return a grid and the note that states it: as said, as the architecture's, else 14×14.

    The image size tells it where there are no stages, whose grids would differ.

    Args:
        trunk: whose hints are asked.
        convolution: the path of the module that runs on the grid, in the named architecture.
    """
    said = trunk.hints.grid_size
    if said is not None:
        return said, f"on a {x(said)} grid ({trunk.hints.origin('grid_size')})"
    if (grid := input_grid(trunk, convolution)) is not None:
        return grid, f"on the grids of {trunk.hints.arch} ({trunk.hints.origin('arch')})"
    if (grid := _of_plain_vit(trunk)) is not None:
        return grid, f"on a {x(grid)} grid, from img_size ({trunk.hints.origin('img_size')})"
    return _SHOWN, f"on a {x(_SHOWN)} grid, for it runs on any (--grid-size, --arch)"


def _of_plain_vit(trunk: Trunk) -> tuple[int, int] | None:
    blocks = trunk.blocks
    is_plain = bool(blocks) and all(re.fullmatch(r"blocks\.\d+", name) for name in blocks)
    return image_grid(trunk) if is_plain else None
