"""What `--arch timm:NAME` can tell: timm's own model is built, without its weights, and asked.

timm is imported inside these functions, and only where an architecture was named.
"""

from __future__ import annotations

import difflib
import json
import re
from functools import lru_cache
from typing import Any, Final

import numpy as np

from pe_inspect.arrays import Float, Float32
from pe_inspect.bounded import parsed_json
from pe_inspect.errors import AmbiguousCheckpoint, UsageError
from pe_inspect.families.reading.tensors import NamedTensors
from pe_inspect.loading.checkpoint import Hints

__all__ = [
    "build",
    "built",
    "grid_of_model",
    "is_timm_s",
    "looks_like_dinov3",
    "norm_eps",
    "rope_of",
    "rotary_model",
    "rotary_table",
    "timm_name",
    "unwrapped",
]

# An architecture that only a config.json or the file names is looked up where it says "rotary":
# importing timm costs seconds, and DeiT's name tells nothing that the tensors do not.
_ROTARY_NAMES: Final = re.compile(
    r"rope|eva02|dinov3|sapiens2|_pe_(?:core|spatial|lang)|eupe|lingbot|gemma4_vit|qwen3_vit|"
    r"deepseek_vit"
)
# What rope-vit's own training script calls its models, and saves among its arguments.
_ROPE_VIT: Final = re.compile(
    r"rope_(?P<sort>axial|axial_ape|mixed|mixed_ape)_deit_(?P<size>small|base|large)_patch16_LS"
)
_DINOV3_TOKENS: Final = ("reg_token", "embeddings.register_tokens", "storage_tokens")
_CLS: Final = ("cls_token", "embeddings.cls_token")
_LAYER_SCALE: Final = re.compile(r".*(?:gamma_1|layer_scale1\.lambda1|ls1\.gamma)$")
_ROUNDING: Final = 1e-3  # radians, of a mean of angles from float32 sines
_TABLES: Final = ("pos_embed", "embeddings.position_embeddings")


def looks_like_dinov3(trunk: NamedTensors) -> bool:
    """Whether names are those of a DINOv3: CLS and registers, layer scale, and no table."""
    has_cls, has_registers, has_table = (
        any(name in trunk.names for name in names) for names in (_CLS, _DINOV3_TOKENS, _TABLES)
    )
    return has_cls and has_registers and not has_table and trunk.begins(_LAYER_SCALE)


def norm_eps(trunk: NamedTensors) -> float | None:
    """Return the eps of norm1 in the named architecture; `None` where it has no such norm."""
    model = built(trunk)
    for name, module in model.named_modules():
        if re.search(r"(?:^|\.)(?:norm1|in_norm|norm)$", name) and hasattr(module, "eps"):
            return float(module.eps)
    return None


def rotary_model(trunk: NamedTensors) -> Any | None:
    """Return timm's model of the named architecture, or the part of it that rotates q and k.

    `None` where nothing does.

    Raises:
        UsageError: timm has no such architecture.
        AmbiguousCheckpoint: it has, and the file is of another one.
    """
    arch = trunk.hints.arch
    if arch is None:
        return None
    is_rotary = _ROTARY_NAMES.search(arch) or "rope_type" in _model_args(trunk)
    if not (trunk.hints.is_flag("arch") or is_rotary):
        return None
    if not (trunk.hints.is_flag("arch") or is_timm_s(timm_name(trunk.hints))):
        return None  # a name that another library gives
    modules = built(trunk).modules()
    model = next((module for module in modules if _turns(module)), None)
    if model is not None:
        _check_fit(trunk, model)
    return model


def _turns(module: Any) -> bool:
    """Whether a module owns the rotations of its blocks; some models wrap the one that does."""
    has_rope = hasattr(getattr(module, "rope", None), "get_embed")
    return hasattr(module, "blocks") and (has_rope or hasattr(module, "rotary_emb"))


def rope_of(model: Any) -> Any:
    """Return the module that computes a model's rotations."""
    return model.rope if hasattr(model, "rope") else model.rotary_emb


def rotary_table(
    model: Any, grid_size: tuple[int, int]
) -> tuple[Float[np.ndarray, "tokens head_dim"], Float[np.ndarray, "tokens head_dim"]]:
    """Return the sines and cosines by which timm's model turns q and k at each patch."""
    rope = rope_of(model).to_empty(device="cpu").eval()  # in training some shift their positions
    rope.init_non_persistent_buffers()
    if not hasattr(rope, "get_embed"):
        return _gemma_table(rope, grid_size)
    if hasattr(rope, "update_feat_shape") and getattr(rope, "feat_shape", None) is not None:
        rope.update_feat_shape(list(grid_size))
    embed = rope.get_embed(shape=list(grid_size))
    tables = embed if isinstance(embed, tuple) else embed.chunk(2, dim=-1)
    sines, cosines = (table.detach().double().numpy() for table in tables)
    return sines, cosines


def _gemma_table(
    rope: Any, grid_size: tuple[int, int]
) -> tuple[Float[np.ndarray, "tokens head_dim"], Float[np.ndarray, "tokens head_dim"]]:
    """Ask Gemma's module, which is given positions, x before y."""
    import torch

    rows, columns = (torch.from_numpy(axis.reshape(-1)) for axis in np.indices(grid_size))
    places = torch.stack([columns, rows], dim=-1)[None]
    tables = rope(torch.zeros(1), places)
    cosines, sines = (table[0].double().numpy() for table in tables)
    return sines, cosines


def grid_of_model(trunk: NamedTensors, model: Any) -> tuple[int, int]:
    """Return the grid that timm's model is built for."""
    patches = getattr(model, "patch_embed", None) or getattr(model, "embeds", None)
    if (grid := getattr(patches, "grid_size", None)) is not None:
        return int(grid[0]), int(grid[1])
    size = getattr(patches, "patch_size", None) or getattr(model, "patch_size", None)
    patch = size if isinstance(size, tuple) else (size, size)
    _, height, width = built(trunk).pretrained_cfg["input_size"]
    return height // patch[0], width // patch[1]


def unwrapped(
    angles: Float[np.ndarray, "tokens channels"], grid_size: tuple[int, int]
) -> Float32[np.ndarray, "tokens channels"]:
    """Return angles known modulo 2π as angles that grow evenly over the grid.

    Where all are whole turns at the grid's centre, as DINOv3's, they are made zero there: the
    first patch alone does not tell how often a fast one has turned since.
    """
    field = angles.reshape(*grid_size, -1)
    steady = np.unwrap(np.unwrap(field, axis=1), axis=0)
    centre = steady.mean(axis=(0, 1))
    whole = 2 * np.pi * np.rint(centre / (2 * np.pi))
    if np.abs(centre - whole).max(initial=0.0) < _ROUNDING:
        steady -= whole
    return steady.reshape(angles.shape).astype(np.float32)


def timm_name(hints: Hints) -> str:
    """Return the name that `--arch` gives, or a config.json.

    Raises:
        UsageError: it is of another library.
    """
    arch = hints.arch or ""
    if ":" in arch and not arch.startswith("timm:"):
        raise UsageError(f"--arch {arch} is not understood: it takes timm:NAME.")
    return _ROPE_VIT.sub(_as_timm_calls_it, arch.removeprefix("timm:"))


def _as_timm_calls_it(match: re.Match[str]) -> str:
    parts = [part for part in ("mixed", "ape") if part in match["sort"]]
    return "_".join((f"vit_{match['size']}_patch16_rope", *parts, "224"))


def is_timm_s(name: str) -> bool:
    """Whether timm has an architecture of that name."""
    import timm

    return bool(timm.is_model(name))


def _model_args(trunk: NamedTensors) -> dict[str, Any]:
    """Return the arguments that timm wrote into a config.json for the architecture named there."""
    if "architecture" not in trunk.config or trunk.config["architecture"] != timm_name(trunk.hints):
        return {}
    saved = trunk.config.get("model_args")
    return saved if isinstance(saved, dict) else {}


def built(trunk: NamedTensors) -> Any:
    """Build the named architecture as its config.json says that it was changed."""
    name, arguments = timm_name(trunk.hints), _model_args(trunk)
    if not arguments:
        return build(name)
    try:
        return _changed(name, json.dumps(arguments, default=str))
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        said = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        raise AmbiguousCheckpoint(
            f"config.json of {trunk.source} has model_args that timm does not build {name} "
            f"with: {said} ({error}). Mend them, or give the weight file without the config."
        ) from error


@lru_cache(maxsize=2)
def build(name: str) -> Any:
    """Build timm's model on the meta device: no weights are made, and none are fetched.

    Raises:
        UsageError: timm has no such architecture.
    """
    import timm

    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3)
        offer = f" Did you mean {' or '.join(f'timm:{n}' for n in near)}?" if near else ""
        raise UsageError(f"timm {timm.__version__} has no architecture {name!r}.{offer}")
    return _changed(name, "{}")


@lru_cache(maxsize=2)
def _changed(name: str, arguments: str) -> Any:
    """Build an architecture of timm with arguments of its own, as JSON."""
    import timm
    import torch

    with torch.device("meta"):
        return timm.create_model(name, pretrained=False, **parsed_json(arguments))


def _check_fit(trunk: NamedTensors, model: Any) -> None:
    arch, blocks = trunk.hints.arch, trunk.depth
    if blocks and blocks != len(model.blocks):
        raise AmbiguousCheckpoint(
            f"--arch {arch} has {len(model.blocks)} blocks, {trunk.source} has {blocks}. "
            "Name the architecture that the file is of."
        )
    key = trunk.names.get("blocks.0.norm1.weight")
    width = trunk.shape(key)[0] if key else model.embed_dim
    if width != model.embed_dim:
        raise AmbiguousCheckpoint(
            f"--arch {arch} has embed_dim {model.embed_dim}, {trunk.source} has {width}. "
            "Name the architecture that the file is of."
        )
