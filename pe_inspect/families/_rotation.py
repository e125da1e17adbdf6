"""The angles by which a rotary model turns queries and keys at each patch, where a file tells them.

Each reader returns `None` where the file is not of its sort.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pe_inspect._typing import Float32
from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families._arch import rotary_angles, unwrapped
from pe_inspect.families._grid import Layout, image_grid, layout, period, prefix_tokens, x
from pe_inspect.families._hints import origin
from pe_inspect.families._names import block_names, block_of, depth, in_order, trunk
from pe_inspect.families._read import read_float32
from pe_inspect.families._tables import find_tables
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["READERS", "Rotation", "from_architecture"]

USUAL_HEAD_DIM: Final = 64
_SCHH: Final = re.compile(r"attention\.rotary_embedding\.x_cos")


@dataclass(frozen=True, eq=False)
class Rotation:
    """Angles in radians, (num_heads or 1, patches, head_dim / 2), for every block.

    Attributes:
        layers: (block, angles), in block order; blocks that turn alike share one array.
        grid_size: (H, W).
        keys: the checkpoint's names of what was read.
        num_parameters: learned scalars; the fixed kinds have none.
        stored: whether the file holds what the angles come from.
        notes: what was assumed.
    """

    layers: tuple[tuple[str, Float32[np.ndarray, "heads patches half_head_dim"]], ...]
    grid_size: tuple[int, int]
    keys: tuple[str, ...] = ()
    num_parameters: int = 0
    stored: bool = True
    notes: tuple[str, ...] = ()


def from_schh(checkpoint: Checkpoint, _model: Any) -> Rotation | None:
    """Read s-chh's buffers of cosines and sines; each angle stands there twice, x before y."""
    stems = [
        (found[0], key.removesuffix("x_cos"))
        for bare, key in trunk(checkpoint).items()
        if (found := block_of(bare)) and _SCHH.fullmatch(found[1])
    ]
    if not stems:
        return None
    _check_whole(checkpoint, [stem for _, stem in stems])
    stems.sort(key=lambda each: in_order(each[0]))
    where = _schh_layout(checkpoint, stems[0][1])
    layers = tuple((layer, _schh_angles(checkpoint, stem, where)) for layer, stem in stems)
    keys = tuple(f"{stem}{part}" for _, stem in stems for part in _SCHH_PARTS)
    return Rotation(layers, where.grid_size, keys, notes=where.notes)


_SCHH_PARTS: Final = ("x_cos", "x_sin", "y_cos", "y_sin")


def _check_whole(checkpoint: Checkpoint, stems: list[str]) -> None:
    """Refuse a file in which one of a block's four buffers is missing or of another shape."""
    for stem in stems:
        for key in (f"{stem}{part}" for part in _SCHH_PARTS):
            if key not in checkpoint or len(checkpoint.shape(key)) < 2:
                raise AmbiguousCheckpoint(
                    f"{stem}x_cos has no {key.removeprefix(stem)} of its shape beside it: each "
                    "block's angles need the cosines and the sines of both axes. The file is not "
                    "whole."
                )


def _buffer(checkpoint: Checkpoint, key: str) -> np.ndarray:
    values = np.asarray(checkpoint.tensor(key), dtype=np.float64)
    return values.reshape(values.shape[-2:])


def _schh_layout(checkpoint: Checkpoint, stem: str) -> Layout:
    """Divide the rows as was said; else by where the x angles of the first patch come back."""
    sines = _buffer(checkpoint, f"{stem}x_sin")
    prefix = prefix_tokens(checkpoint).total or 1
    patches = len(sines) - prefix
    columns = period(sines[prefix:])
    if checkpoint.hints.grid_size is not None or patches % columns:
        return layout(checkpoint, checkpoint.stored_key(f"{stem}x_sin"), len(sines))
    grid = (patches // columns, columns)
    return Layout(grid, prefix, (f"grid {x(grid)} read from the rotary buffers",))


def _schh_angles(checkpoint: Checkpoint, stem: str, where: Layout) -> np.ndarray:
    axes = []
    for axis in "xy":
        cosines, sines = (_buffer(checkpoint, f"{stem}{axis}_{part}") for part in ("cos", "sin"))
        turned = np.arctan2(sines, cosines)[where.num_prefix_rows :, ::2]
        axes.append(unwrapped(turned, where.grid_size))
    return np.concatenate(axes, axis=1)[None]


def from_mixed(checkpoint: Checkpoint, model: Any) -> Rotation | None:
    """Read the learned frequencies of RoPE-Mixed, timm's or the original's: x·f_x + y·f_y.

    Source: arXiv:2403.13298, section 3.2.
    """
    names = trunk(checkpoint)
    key = next((names[name] for name in ("rope.freqs", "freqs") if name in names), None)
    if key is None or len(checkpoint.shape(key)) not in (3, 4) or checkpoint.shape(key)[0] != 2:
        return None
    heads, assumed = _heads(checkpoint, key, model)
    grid, notes = _grid_of(checkpoint, model, key)
    freqs = read_float32(checkpoint, key)
    freqs = freqs.reshape(2, freqs.shape[1], heads, 1, -1)
    rows, columns = (axis.reshape(-1, 1).astype(np.float32) for axis in np.indices(grid))
    angles = columns * freqs[0] + rows * freqs[1]  # (depth, heads, patches, head_dim / 2)
    layers = tuple((f"blocks.{i}", block) for i, block in enumerate(angles))
    return Rotation(layers, grid, (key,), freqs.size, notes=(*notes, *assumed))


def _heads(checkpoint: Checkpoint, key: str, model: Any) -> tuple[int, tuple[str, ...]]:
    """Return the number of heads, and a note where 64 channels a head were assumed."""
    shape, said = checkpoint.shape(key), checkpoint.hints.num_heads
    if len(shape) == 4:
        return shape[2], ()
    if said is None and model is not None:
        said = getattr(model.blocks[0].attn, "num_heads", None)
    if said is not None and shape[2] % said == 0:
        return said, ()
    if said is None and shape[2] % (USUAL_HEAD_DIM // 2) == 0:
        heads = shape[2] // (USUAL_HEAD_DIM // 2)
        return heads, (f"{heads} heads of {USUAL_HEAD_DIM} channels assumed (--num-heads)",)
    wanted = "" if said is None else f", which {said} heads do not divide"
    raise AmbiguousCheckpoint(
        f"{checkpoint.stored_key(key)} has shape {shape}: {shape[2]} frequencies for all heads of "
        f"a block{wanted}. Pass --num-heads N."
    )


def _grid_of(
    checkpoint: Checkpoint, model: Any, key: str
) -> tuple[tuple[int, int], tuple[str, ...]]:
    """Return the grid that the angles are asked for: a rotary model has none of its own.

    Raises:
        AmbiguousCheckpoint: nothing says one.
    """
    if (said := checkpoint.hints.grid_size) is not None:
        return said, (f"grid {x(said)} from {origin(checkpoint, 'grid_size')}",)
    if tables := find_tables(checkpoint):
        where = tables[0].layout(checkpoint)
        return where.grid_size, (f"grid {x(where.grid_size)} as in {tables[0].key}",)
    if (grid := image_grid(checkpoint)) is not None:
        return grid, (f"grid {x(grid)} from img_size ({origin(checkpoint, 'img_size')})",)
    if (grid := _naver_grid(checkpoint)) is not None:
        return grid, (f"grid {x(grid)} read from freqs_t_x",)
    if model is not None:
        rows, columns = model.patch_embed.grid_size
        return (rows, columns), (f"grid {rows}×{columns} of {checkpoint.hints.arch}",)
    raise AmbiguousCheckpoint(
        f"{checkpoint.stored_key(key)} says no grid: rotary angles are computed for any. "
        "Pass --grid-size HxW, or --arch timm:NAME for the grid that it was trained on."
    )


def _naver_grid(checkpoint: Checkpoint) -> tuple[int, int] | None:
    """Return the grid of the original repository's x positions, which count 0 … W−1 a row."""
    key = trunk(checkpoint).get("freqs_t_x")
    if key is None:
        return None
    positions = np.asarray(checkpoint.tensor(key)).reshape(-1, 1)
    columns = period(positions)
    return None if len(positions) % columns else (len(positions) // columns, columns)


def from_eva02(checkpoint: Checkpoint, _model: Any) -> Rotation | None:
    """Read the original EVA-02's buffers of cosines and sines, (patches, head_dim) in pairs."""
    names = trunk(checkpoint)
    keys = [names.get(f"rope.freqs_{part}") for part in ("sin", "cos")]
    if keys[0] is None or keys[1] is None:
        return None
    sines, cosines = (_buffer(checkpoint, key) for key in keys if key)
    where = _patches_only(checkpoint, keys[0], len(sines))
    angles = unwrapped(np.arctan2(sines, cosines)[:, ::2], where.grid_size)
    layers = _same_for_all(checkpoint, angles[None])
    return Rotation(layers, where.grid_size, (keys[0], keys[1]), notes=where.notes)


def _patches_only(checkpoint: Checkpoint, key: str, rows: int) -> Layout:
    where = layout(checkpoint, checkpoint.stored_key(key), rows)
    if where.num_prefix_rows:
        raise AmbiguousCheckpoint(
            f"{checkpoint.stored_key(key)} has {rows} rows, one a patch: {x(where.grid_size)} "
            "leaves some over. Pass the --grid-size of the patches."
        )
    return where


def from_dinov3(checkpoint: Checkpoint, model: Any) -> Rotation | None:
    """Compute DINOv3's angles from its stored periods: 2π·coordinate/period, y before x.

    Coordinates run over the centres of the patches from −1 to 1, each axis by itself.

    Source: arXiv:2508.10104, section 3.2.
    """
    key = trunk(checkpoint).get("rope_embed.periods")
    if key is None:
        return None
    grid, notes = _grid_of(checkpoint, model, key)
    periods = read_float32(checkpoint, key)
    centres = ((i.reshape(-1, 1) + 0.5) / n * 2 - 1 for i, n in zip(np.indices(grid), grid))
    angles = np.concatenate([2 * np.pi * axis / periods for axis in centres], axis=1)
    layers = _same_for_all(checkpoint, angles.astype(np.float32)[None])
    return Rotation(layers, grid, (key,), notes=notes)


def from_architecture(checkpoint: Checkpoint, model: Any) -> Rotation:
    """Ask timm's model of the named architecture: the file holds nothing.

    Raises:
        AmbiguousCheckpoint: the architecture learns its frequencies, so the file is of another.
    """
    arch, who = checkpoint.hints.arch, origin(checkpoint, "arch")
    if any(name.startswith("freqs") for name, _ in model.rope.named_parameters()):
        raise AmbiguousCheckpoint(
            f"{arch} ({who}) learns its frequencies (rope.freqs), and {checkpoint.source} holds "
            "none. Name the architecture that the file is of."
        )
    grid, notes = _grid_of(checkpoint, model, "rope")
    angles = rotary_angles(model, grid)[None]
    layers = _same_for_all(checkpoint, angles)
    note = f"computed from {who} {arch}: the file stores nothing of its rotary embedding"
    return Rotation(layers, grid, stored=False, notes=(note, *notes))


def _same_for_all(checkpoint: Checkpoint, angles: np.ndarray) -> tuple[tuple[str, np.ndarray], ...]:
    blocks = block_names(checkpoint) or [f"blocks.{i}" for i in range(max(depth(checkpoint), 1))]
    return tuple((block, angles) for block in blocks)


READERS: Final[tuple[Callable[[Checkpoint, Any], Rotation | None], ...]] = (
    from_schh,
    from_mixed,
    from_eva02,
    from_dinov3,
)
