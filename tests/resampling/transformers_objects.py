"""Tiny models of every type in transformers, and what each makes of its own position tables.

Nothing is typed by hand: the classes are those of the library's modules, their sizes are shrunk by
what a configuration calls them, and a table's part in the tokens is measured by scaling it.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import transformers.models
from transformers.modeling_utils import PreTrainedModel

IMAGES = ("pixel_values", "pixel_values_videos", "input_values", "grid_thw")
LARGEST = 3e7
SMALL = (
    (r"hidden_size|embed_dim|d_model|width|hidden_dim|projection_dim|decoder_hidden_size", 32),
    (r"out_hidden_size|output_dim|proj_dim|output_hidden_size", 32),
    (r".*intermediate_size|mlp_dim|.*ffn_dim|dim_feedforward", 64),
    (r"depth|num_layers|layers|.*encoder_layers|.*decoder_layers|.*num_hidden_layers", 2),
    (r"num_heads|heads|.*attention_heads|num_key_value_heads", 2),
    (r"vocab_size", 99),
    (r"window_size", 2),
    (r"spatial_merge_size|num_windows", 1),
)
OTHERS = re.compile(
    r"connector|[xyhw]_position|relative|rel_pos|text|query|cell_2d|conv|decoder|prompt|post|token|mid_|_ids|time|temporal"
)


@dataclass(frozen=True)
class Table:
    """A position table of a model of one type."""

    model: Any
    config: Any
    key: str

    @property
    def values(self) -> torch.Tensor:
        return dict([*self.model.named_parameters(), *self.model.named_buffers()])[self.key]


def tables(only: tuple[str, ...] = ()) -> Iterator[Table]:
    """Yield every table of images of every type that can be built small enough."""
    for config_class, kinds in classes().items():
        if only and config_class.model_type not in only:
            continue
        made = _built(config_class, min(kinds, key=_plainness))
        if made is not None:
            for key in _keys(made[0]):
                yield Table(*made, key)


def classes() -> dict[Any, list[Any]]:
    """Return every type of model in transformers that takes images: configuration → classes."""
    found: dict[Any, list[Any]] = {}
    for name in sorted(each.name for each in pkgutil.iter_modules(transformers.models.__path__)):
        try:
            module = importlib.import_module(f"transformers.models.{name}.modeling_{name}")
        except ImportError:
            continue
        for each in vars(module).values():
            if _is_model(each, module.__name__):
                found.setdefault(each.config_class, []).append(each)
    return found


def _is_model(each: Any, module: str) -> bool:
    is_own = inspect.isclass(each) and issubclass(each, PreTrainedModel)
    if not is_own or each.__module__ != module or each.__name__.endswith("PreTrainedModel"):
        return False
    takes = inspect.signature(each.forward).parameters
    return each.config_class is not None and bool(takes.keys() & set(IMAGES))


def _plainness(each: Any) -> tuple[int, int]:
    return ("For" in each.__name__) + 2 * ("Decoder" in each.__name__), len(each.__name__)


def _built(config_class: Any, model_class: Any) -> tuple[Any, Any] | None:
    try:
        config = _small(config_class)
        with torch.device("meta"):
            model = model_class(config)
        if sum(each.numel() for each in model.parameters()) > LARGEST or not list(_keys(model)):
            return None
        return model_class(config).eval(), config
    except Exception:
        return None


def _small(config_class: Any) -> Any:
    plain = config_class()
    said = {
        name: small
        for name, value in vars(plain).items()
        for pattern, small in SMALL
        if type(value) is int and re.fullmatch(pattern, name)
    }
    patch, image = getattr(plain, "patch_size", None), getattr(plain, "image_size", None)
    step = patch[-1] if isinstance(patch, list | tuple) else patch
    if isinstance(step, int) and image is not None:
        said["image_size"] = 4 * step if isinstance(image, int) else [4 * step, 4 * step]
    if hasattr(plain, "mask_ratio"):
        said["mask_ratio"] = 0.0  # every patch keeps its token
    return config_class(**said)


def _keys(model: Any) -> Iterator[str]:
    for key, value in [*model.named_parameters(), *model.named_buffers()]:
        is_table = value.ndim > 1 and value.is_floating_point() and value.shape[-1] >= 4
        if is_table and "pos" in key.lower() and not OTHERS.search(key):
            yield key


@torch.no_grad()
def added(table: Table, grid: tuple[int, int]) -> torch.Tensor | None:
    """Return what the table adds to the tokens of an image of another grid: (tokens, width).

    It is what changes in proportion to the table where its module ends, or a block begins; `None`
    where the model takes no such image.
    """
    if table.config.model_type in _BY_HAND:
        return _asked_by_hand(table, grid)
    values, runs = table.values, []
    kept = values.clone()
    for factor in (0, 1, 2):
        values.copy_(factor * kept)
        runs.append(_seen(table, _inputs(table, *grid)))
    values.copy_(kept)
    width = kept.shape[1] if kept.ndim == 4 and kept.shape[-1] < 16 else kept.shape[-1]
    for place in runs[1]:
        for none, once, twice in zip(*(run.get(place, []) for run in runs)):
            if none.shape != once.shape or not _is_linear(once - none, twice - none):
                continue
            tokens = _tokens(once - none, grid, width)
            if tokens is not None:
                return tokens
    return _asked_by_name(table, grid)


def _asked_by_hand(table: Table, grid: tuple[int, int]) -> torch.Tensor:
    """What the table changes in the answer of the one module that adds it."""
    ask, values = _BY_HAND[table.config.model_type], table.values
    kept = values.clone()
    with_it = ask(table.model, grid, _patch(table.config))
    values.zero_()
    without = ask(table.model, grid, _patch(table.config))
    values.copy_(kept)
    return with_it - without


def _vilt_s(model: Any, grid: tuple[int, int], patch: int) -> torch.Tensor:
    """It puts patches in random order, and says in which."""
    image = torch.zeros(1, 3, patch * grid[0], patch * grid[1])
    mask = torch.ones(1, *image.shape[2:], dtype=torch.long)
    tokens, _, (places, _) = model.embeddings.visual_embed(image, mask, max_image_length=-1)
    order = torch.argsort(places[0, :, 0] * grid[1] + places[0, :, 1])
    return tokens[0, 1:][order]


def _layoutlmv3_s(model: Any, grid: tuple[int, int], patch: int) -> torch.Tensor:
    image = torch.zeros(1, 3, patch * grid[0], patch * grid[1])
    return model.patch_embed(image, model.pos_embed[:, 1:])[0]


def _inkling2_s(model: Any, grid: tuple[int, int], patch: int) -> torch.Tensor:
    count = grid[0] * grid[1]
    pixels = torch.zeros(count, patch, patch, model.config.num_channels)
    sizes = torch.tensor([[1, *grid]])
    return model.embeddings(pixels, sizes, 1 + torch.arange(count))[1:]


_STOPS = ("vivit",)  # its function asks for no frames, and forward stops at its answer
_BY_HAND = {"vilt": _vilt_s, "layoutlmv3": _layoutlmv3_s, "inkling2_vision": _inkling2_s}


def _asked_by_name(table: Table, grid: tuple[int, int]) -> torch.Tensor | None:
    """Ask the module that holds the table for `interpolate_pos_encoding`, in pixels or patches."""
    patch, width = _patch(table.config), table.values.shape[-1]
    if table.config.model_type in _STOPS:
        return None
    for name in _around(table.key):
        ask = getattr(table.model.get_submodule(name), "interpolate_pos_encoding", None)
        for step in (patch, 1) if ask else ():
            size = [step * side for side in grid]
            given = [torch.zeros(1, 1, width)] * (len(inspect.signature(ask).parameters) - 2)
            try:
                rows = ask(*given, *size).reshape(-1, width)
            except Exception:
                continue
            if 0 <= len(rows) - grid[0] * grid[1] <= 1:
                return rows
    return None


def _is_linear(once: torch.Tensor, twice: torch.Tensor) -> bool:
    return bool(once.abs().max() > 0) and torch.allclose(twice, 2 * once, atol=1e-4, rtol=1e-4)


def _tokens(moved: torch.Tensor, grid: tuple[int, int], width: int) -> torch.Tensor | None:
    count = grid[0] * grid[1]
    first = moved[0] if moved.ndim > 2 else moved
    if first.ndim == 3 and first.shape[0] == width and first[0].numel() == count:
        return first.flatten(1).T
    if first.ndim == 3 and first.shape[-1] == width and first[..., 0].numel() == count:
        return first.reshape(count, width)
    has_rows = first.ndim == 2 and first.shape[-1] == width and len(first) >= count
    return first if has_rows else None


def _seen(table: Table, inputs: dict[str, Any]) -> dict[Any, list[torch.Tensor]]:
    """Return what leaves the modules around the table, the innermost first, and enters blocks."""
    seen: dict[Any, list[torch.Tensor]] = {}
    hooks = []
    for name in _around(table.key):
        module = table.model.get_submodule(name)
        hooks.append(
            module.register_forward_hook(lambda _m, _i, out, at=name: _keep(seen, at, out))
        )
    lists = [m for m in table.model.modules() if isinstance(m, torch.nn.ModuleList) and len(m)]
    for number, blocks in enumerate(lists):
        hooks.append(
            blocks[0].register_forward_pre_hook(
                lambda _m, args, more, at=-number: _keep(seen, ("block", at), (args, more)),
                with_kwargs=True,
            )
        )
    for asked in (table.model, *(table.model.get_submodule(name) for name in _around(table.key))):
        takes = inspect.signature(asked.forward).parameters
        try:
            asked(**{name: each for name, each in inputs.items() if name in takes})
        except Exception:
            continue
    for hook in hooks:
        hook.remove()
    return seen


def _around(key: str) -> Iterator[str]:
    """The modules that hold a table, the innermost first."""
    parts = key.split(".")[:-1]
    yield from (".".join(parts[:depth]) for depth in range(len(parts), 0, -1))


def _keep(seen: dict[Any, list[torch.Tensor]], place: Any, value: Any) -> None:
    seen.setdefault(place, [t.detach().clone() for t in _floats(value)])


def _floats(value: Any) -> Iterator[torch.Tensor]:
    if torch.is_tensor(value):
        if value.is_floating_point():
            yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _floats(each)
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _floats(each)


def _inputs(table: Table, rows: int, columns: int) -> dict[str, Any]:
    """Return an image of so many patches, in whatever form the model takes it."""
    config, takes = table.config, inspect.signature(table.model.forward).parameters
    patch, channels = _patch(config), _channels(config)
    generator = torch.Generator().manual_seed(7)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    if "grid_thw" in takes or "image_grid_thw" in takes:
        depth = getattr(config, "temporal_patch_size", 1) or 1
        name = next(n for n in ("hidden_states", "pixel_values") if n in takes)
        sizes = torch.tensor([[1, rows, columns]])
        shape = _flat_shape(table, rows * columns, channels, depth, patch)
        return {
            name: noise(*shape),
            **{n: sizes for n in ("grid_thw", "image_grid_thw") if n in takes},
        }
    if "spatial_shapes" in takes or "target_sizes" in takes:
        return _packed(table, noise, rows, columns)
    height, width = rows * patch, columns * patch
    name = next(n for n in IMAGES if n in takes)
    frames = getattr(config, "num_frames", None)
    is_video = name == "pixel_values_videos" or (frames and "interpolate_pos_encoding" not in takes)
    shape = (1, frames or 2, channels, height, width) if is_video else (1, channels, height, width)
    inputs: dict[str, Any] = {name: noise(*shape), "interpolate_pos_encoding": True}
    if "patch_attention_mask" in takes:
        inputs["patch_attention_mask"] = torch.ones(1, rows, columns, dtype=torch.bool)
    if "pixel_mask" in takes:
        inputs["pixel_mask"] = torch.ones(1, height, width, dtype=torch.long)
    if "input_ids" in takes and "bbox" not in takes:
        inputs["input_ids"] = torch.zeros(1, 1, dtype=torch.long)
    if "noise" in takes:
        inputs["noise"] = torch.arange(rows * columns)[None].float()  # which keeps patches in order
    return inputs


def _packed(table: Table, noise: Any, rows: int, columns: int) -> dict[str, Any]:
    takes = inspect.signature(table.model.forward).parameters
    patch, channels, count = _patch(table.config), _channels(table.config), rows * columns
    if "target_sizes" in takes:
        pixels = noise(1, channels, patch, patch * count)
        return {"pixel_values": pixels, "target_sizes": torch.tensor([[rows, columns]])}
    return {
        "pixel_values": noise(1, count, channels * patch * patch),
        "pixel_attention_mask": torch.ones(1, count, dtype=torch.long),
        "spatial_shapes": torch.tensor([[rows, columns]]),
    }


def _flat_shape(table: Table, count: int, channels: int, depth: int, patch: int) -> tuple[int, ...]:
    """The flat patches of a model with `grid_thw`: a row each, or an image each for a kernel."""
    for name, module in table.model.named_modules():
        is_kernel = "patch" in name and isinstance(module, torch.nn.Conv2d | torch.nn.Linear)
        if is_kernel and isinstance(module, torch.nn.Linear):
            return count, module.in_features
        if is_kernel and "kimi" in table.config.model_type:
            return count, channels, patch, patch
        if is_kernel and "paddle" in table.config.model_type:
            return 1, count, channels, patch, patch
    return count, channels * depth * patch * patch


def _patch(config: Any) -> int:
    names = ("patch_stride", "tubelet_size", "patch_size")
    patch = next((getattr(config, name) for name in names if getattr(config, name, None)), 16)
    return patch[-1] if isinstance(patch, list | tuple) else patch


def _channels(config: Any) -> int:
    return getattr(config, "num_channels", getattr(config, "in_channels", 3)) or 3
