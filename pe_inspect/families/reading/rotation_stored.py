"""Rotary angles from what files store: cosines and sines, learned frequencies, periods.

Each reader returns `None` where the file is not of its sort.
"""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np

from pe_inspect.arrays import Float32
from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families.reading.arch import unwrapped
from pe_inspect.families.reading.grid import Layout, layout, period, prefix_tokens, x
from pe_inspect.families.reading.names import block_of, in_order, trunk
from pe_inspect.families.reading.read_tensor import read_float32
from pe_inspect.families.reading.rotation import (
    PAIRINGS,
    Pairing,
    Rotation,
    first_of_pairs,
    grid_of,
    pairing_of,
    same_for_all,
    shown_grid,
)
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["from_eva02", "from_mixed", "from_mixed_blocks", "from_schh", "from_swin"]

USUAL_HEAD_DIM: Final = 64
_ZERO: Final = 1e-4  # the cosine of π/2 is not quite zero in float32
_SCHH: Final = re.compile(r"attention\.rotary_embedding\.x_cos")
_SCHH_PARTS: Final = ("x_cos", "x_sin", "y_cos", "y_sin")
_EVA02: Final = re.compile(r"(?:blocks\.\d+\.attn\.)?rope\.freqs_(?:sin|cos)")
_BLOCK_FREQS: Final = re.compile(r"attn\.freqs")
_SWIN_FREQS: Final = re.compile(r"attn\.rope_freqs")


def from_schh(checkpoint: Checkpoint, _model: Any) -> Rotation | None:
    """Read s-chh's buffers of cosines and sines; each angle stands there twice, x before y."""
    stems = [(layer, key.removesuffix("x_cos")) for layer, key in _in_blocks(checkpoint, _SCHH)]
    if not stems:
        return None
    _check_whole(checkpoint, [stem for _, stem in stems])
    where = _schh_layout(checkpoint, stems[0][1])
    pairing = pairing_of(_buffer(checkpoint, f"{stems[0][1]}x_cos")) or "interleaved"
    layers = tuple((layer, _schh_angles(checkpoint, stem, where, pairing)) for layer, stem in stems)
    keys = tuple(f"{stem}{part}" for _, stem in stems for part in _SCHH_PARTS)
    return Rotation(layers, where.grid_size, keys, notes=(*where.notes, PAIRINGS[pairing]))


def _in_blocks(checkpoint: Checkpoint, pattern: re.Pattern[str]) -> list[tuple[str, str]]:
    """Return (block, key) of every tensor of a block that has this name, in block order."""
    found = [
        (block[0], key)
        for bare, key in trunk(checkpoint).items()
        if (block := block_of(bare)) and pattern.fullmatch(block[1])
    ]
    return sorted(found, key=lambda each: in_order(each[0]))


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


def _schh_angles(checkpoint: Checkpoint, stem: str, where: Layout, pairing: Pairing) -> np.ndarray:
    axes = []
    for axis in "xy":
        cosines, sines = (_buffer(checkpoint, f"{stem}{axis}_{part}") for part in ("cos", "sin"))
        turned = first_of_pairs(np.arctan2(sines, cosines)[where.num_prefix_rows :], pairing)
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
    grid, notes = grid_of(checkpoint, model, key)
    freqs = read_float32(checkpoint, key)
    freqs = freqs.reshape(2, freqs.shape[1], heads, -1)
    if getattr(getattr(model, "rope", None), "grid_indexing", "xy") == "ij":
        freqs = freqs[::-1]  # NaFlexViT's: those of y are stored first
    layers = tuple(
        (f"blocks.{i}", mixed_angles(own, grid)) for i, own in enumerate(freqs.swapaxes(0, 1))
    )
    said = (*notes, *assumed, PAIRINGS["interleaved"])
    return Rotation(layers, grid, (key,), freqs.size, notes=said)


def from_mixed_blocks(checkpoint: Checkpoint, model: Any) -> Rotation | None:
    """Read frequencies that each block keeps to itself, (2, heads · head_dim / 2)."""
    found = [
        (layer, key)
        for layer, key in _in_blocks(checkpoint, _BLOCK_FREQS)
        if len(checkpoint.shape(key)) == 2 and checkpoint.shape(key)[0] == 2
    ]
    if not found:
        return None
    heads, assumed = _heads(checkpoint, found[0][1], model)
    grid, notes = _grid_beside(checkpoint, found[0][1], "freqs_t_x", model)
    layers = tuple(
        (layer, mixed_angles(read_float32(checkpoint, key).reshape(2, heads, -1), grid))
        for layer, key in found
    )
    keys = tuple(key for _, key in found)
    size = sum(checkpoint.tensors[key].size for key in keys)
    return Rotation(layers, grid, keys, size, notes=(*notes, *assumed, PAIRINGS["interleaved"]))


def from_swin(checkpoint: Checkpoint, model: Any) -> Rotation | None:
    """Read the frequencies of Swin-RoPE, (2, heads, head_dim / 2) a block, on its window.

    Axial and mixed models have the same keys; in an axial one all heads turn alike, and the
    second half of the channels not with x at all. Those frequencies are fixed.
    """
    found = [
        (layer, key)
        for layer, key in _in_blocks(checkpoint, _SWIN_FREQS)
        if len(checkpoint.shape(key)) == 3 and checkpoint.shape(key)[0] == 2
    ]
    if not found:
        return None
    grid, notes = _grid_beside(checkpoint, found[0][1], "rope_t_x", model)
    freqs = {layer: read_float32(checkpoint, key) for layer, key in found}
    is_axial = all(_is_axial(own) for own in freqs.values())
    kind = "axial, and fixed: all heads alike" if is_axial else "mixed: learned for each head"
    layers = tuple((layer, mixed_angles(own, grid)) for layer, own in freqs.items())
    size = 0 if is_axial else sum(own.size for own in freqs.values())
    said = (*notes, f"frequencies are {kind}", PAIRINGS["interleaved"])
    return Rotation(layers, grid, tuple(key for _, key in found), size, notes=said)


def _is_axial(freqs: Float32[np.ndarray, "2 heads half_head_dim"]) -> bool:
    half = freqs.shape[-1] // 2
    others = np.concatenate([freqs[0, :, half:].ravel(), freqs[1, :, :half].ravel()])
    are_alike = np.array_equal(freqs, np.broadcast_to(freqs[:, :1], freqs.shape))
    return bool(are_alike and np.abs(others).max(initial=0) < _ZERO)


def mixed_angles(
    freqs: Float32[np.ndarray, "2 heads half_head_dim"], grid_size: tuple[int, int]
) -> Float32[np.ndarray, "heads patches half_head_dim"]:
    """Return x·f_x + y·f_y, positions counted from 0."""
    rows, columns = (axis.reshape(-1, 1).astype(np.float32) for axis in np.indices(grid_size))
    return np.asarray(columns * freqs[0][:, None] + rows * freqs[1][:, None])


def _grid_beside(
    checkpoint: Checkpoint, key: str, positions: str, model: Any
) -> tuple[tuple[int, int], tuple[str, ...]]:
    """Return the grid as said, else as the x positions beside the frequencies show it."""
    beside = f"{key.rpartition('.')[0]}.{positions}"
    shown = shown_grid(checkpoint, beside) if checkpoint.hints.grid_size is None else None
    if shown is not None:
        return shown, (f"grid {x(shown)} read from {positions}",)
    return grid_of(checkpoint, model, key)


def _heads(checkpoint: Checkpoint, key: str, model: Any) -> tuple[int, tuple[str, ...]]:
    """Return the number of heads, and a note where 64 channels a head were assumed."""
    shape, said = checkpoint.shape(key), checkpoint.hints.num_heads
    if len(shape) == 4:
        return shape[2], ()
    if said is None and model is not None:
        said = getattr(model.blocks[0].attn, "num_heads", None)
    if said is not None and shape[-1] % said == 0:
        return said, ()
    if said is None and shape[-1] % (USUAL_HEAD_DIM // 2) == 0:
        heads = shape[-1] // (USUAL_HEAD_DIM // 2)
        return heads, (f"{heads} heads of {USUAL_HEAD_DIM} channels assumed (--num-heads)",)
    wanted = "" if said is None else f", which {said} heads do not divide"
    raise AmbiguousCheckpoint(
        f"{checkpoint.stored_key(key)} has shape {shape}: {shape[-1]} frequencies for all heads of "
        f"a block{wanted}. Pass --num-heads N."
    )


def from_eva02(checkpoint: Checkpoint, _model: Any) -> Rotation | None:
    """Read the original EVA-02's buffers of cosines and sines, (patches, head_dim) in pairs."""
    names = {bare: key for bare, key in trunk(checkpoint).items() if _EVA02.fullmatch(bare)}
    sine = next((key for bare, key in names.items() if bare.endswith("sin")), None)
    cosine = None if sine is None else f"{sine.removesuffix('sin')}cos"
    if sine is None or cosine is None or cosine not in checkpoint:
        return None
    sines, cosines = (_buffer(checkpoint, key) for key in (sine, cosine))
    where = _patches_only(checkpoint, sine, len(sines))
    pairing = pairing_of(cosines) or "interleaved"
    angles = unwrapped(first_of_pairs(np.arctan2(sines, cosines), pairing), where.grid_size)
    layers = same_for_all(checkpoint, angles[None])
    notes = (*where.notes, PAIRINGS[pairing])
    return Rotation(layers, where.grid_size, (sine, cosine), notes=notes)


def _patches_only(checkpoint: Checkpoint, key: str, rows: int) -> Layout:
    where = layout(checkpoint, checkpoint.stored_key(key), rows)
    if where.num_prefix_rows:
        raise AmbiguousCheckpoint(
            f"{checkpoint.stored_key(key)} has {rows} rows, one a patch: {x(where.grid_size)} "
            "leaves some over. Pass the --grid-size of the patches."
        )
    return where
