"""Rotary angles from what files store: cosines and sines, learned frequencies, periods.

Each reader returns `None` where the file is not of its sort.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from math import prod
from typing import Any, Final

import numpy as np

from pe_inspect.arrays import Float32
from pe_inspect.errors import AmbiguousCheckpoint, UnfitShapes
from pe_inspect.families.reading.arch import unwrapped
from pe_inspect.families.reading.grid import Layout, layout, period, x
from pe_inspect.families.reading.names import in_order
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
from pe_inspect.families.trunk import Trunk

__all__ = ["READERS"]

USUAL_HEAD_DIM: Final = 64
_ZERO: Final = 1e-4  # the cosine of π/2 is not quite zero in float32
_SCHH: Final = re.compile(r"attention\.rotary_embedding\.x_cos")
_SCHH_PARTS: Final = ("x_cos", "x_sin", "y_cos", "y_sin")
_EVA02: Final = re.compile(r"(?:blocks\.\d+\.attn\.)?rope\.freqs_(?:sin|cos)")
_BLOCK_FREQS: Final = re.compile(r"attn\.freqs")
_SWIN_FREQS: Final = re.compile(r"attn\.rope_freqs")


def from_schh(trunk: Trunk, _model: Any) -> Rotation | None:
    """Read s-chh's buffers of cosines and sines; each angle stands there twice, x before y."""
    stems = [(layer, key.removesuffix("x_cos")) for layer, key in _in_blocks(trunk, _SCHH)]
    if not stems:
        return None
    _check_whole(trunk, [stem for _, stem in stems])
    where = _schh_layout(trunk, stems[0][1])
    pairing = pairing_of(_buffer(trunk, f"{stems[0][1]}x_cos")) or "interleaved"
    layers = tuple((layer, _schh_angles(trunk, stem, where, pairing)) for layer, stem in stems)
    keys = tuple(f"{stem}{part}" for _, stem in stems for part in _SCHH_PARTS)
    return Rotation(layers, where.grid_size, keys, notes=(*where.notes, PAIRINGS[pairing]))


def _in_blocks(trunk: Trunk, pattern: re.Pattern[str]) -> list[tuple[str, str]]:
    """Return (block, key) of every tensor of a block that has this name, in block order."""
    found = [(each.layer, each.key) for each in trunk.matching_in_blocks(pattern)]
    return sorted(found, key=lambda each: in_order(each[0]))


def _check_whole(trunk: Trunk, stems: list[str]) -> None:
    """Refuse a file in which one of a block's four buffers is missing or of another shape."""
    for stem in stems:
        for key in (f"{stem}{part}" for part in _SCHH_PARTS):
            if key not in trunk or len(trunk.shape(key)) < 2:
                raise AmbiguousCheckpoint(
                    f"{stem}x_cos has no {key.removeprefix(stem)} of its shape beside it: each "
                    "block's angles need the cosines and the sines of both axes. The file is not "
                    "whole."
                )


def _buffer(trunk: Trunk, key: str) -> np.ndarray:
    """Read a buffer of numbers by row and channel; axes ahead of these have one place.

    Raises:
        UnfitShapes: they have more, or there are fewer axes.
    """
    shape = trunk.shape(key)
    if len(shape) < 2 or 0 in shape or prod(shape[:-2]) != 1:
        raise UnfitShapes(f"{trunk.stored_key(key)} has shape {shape}, not rows × channels.")
    return np.asarray(trunk.tensor(key), dtype=np.float64).reshape(shape[-2:])


def _schh_layout(trunk: Trunk, stem: str) -> Layout:
    """Divide the rows as was said; else by where the x angles of the first patch come back."""
    sines = _buffer(trunk, f"{stem}x_sin")
    prefix = trunk.prefix_tokens.total or 1
    patches = len(sines) - prefix
    columns = period(sines[prefix:])
    if trunk.hints.grid_size is not None or patches % columns:
        return layout(trunk, trunk.stored_key(f"{stem}x_sin"), len(sines))
    grid = (patches // columns, columns)
    return Layout(grid, prefix, (f"grid {x(grid)} read from the rotary buffers",))


def _schh_angles(trunk: Trunk, stem: str, where: Layout, pairing: Pairing) -> np.ndarray:
    axes = []
    for axis in "xy":
        cosines, sines = (_buffer(trunk, f"{stem}{axis}_{part}") for part in ("cos", "sin"))
        turned = first_of_pairs(np.arctan2(sines, cosines)[where.num_prefix_rows :], pairing)
        axes.append(unwrapped(turned, where.grid_size))
    return np.concatenate(axes, axis=1)[None]


def from_mixed(trunk: Trunk, model: Any) -> Rotation | None:
    """Read the learned frequencies of RoPE-Mixed, timm's or the original's: x·f_x + y·f_y.

    Source: arXiv:2403.13298, section 3.2.
    """
    names = trunk.names
    key = next((names[name] for name in ("rope.freqs", "freqs") if name in names), None)
    if key is None or len(trunk.shape(key)) not in (3, 4) or trunk.shape(key)[0] != 2:
        return None
    heads, assumed = _heads(trunk, key, model)
    grid, notes = grid_of(trunk, model, key)
    freqs = trunk.float32(key)
    freqs = freqs.reshape(2, freqs.shape[1], heads, -1)
    if getattr(getattr(model, "rope", None), "grid_indexing", "xy") == "ij":
        freqs = freqs[::-1]  # NaFlexViT's: those of y are stored first
    layers = tuple(
        (f"blocks.{i}", mixed_angles(own, grid)) for i, own in enumerate(freqs.swapaxes(0, 1))
    )
    said = (*notes, *assumed, PAIRINGS["interleaved"])
    return Rotation(layers, grid, (key,), freqs.size, notes=said)


def from_mixed_blocks(trunk: Trunk, model: Any) -> Rotation | None:
    """Read frequencies that each block keeps to itself, (2, heads · head_dim / 2)."""
    found = [
        (layer, key)
        for layer, key in _in_blocks(trunk, _BLOCK_FREQS)
        if len(trunk.shape(key)) == 2 and trunk.shape(key)[0] == 2
    ]
    if not found:
        return None
    heads, assumed = _heads(trunk, found[0][1], model)
    grid, notes = _grid_beside(trunk, found[0][1], "freqs_t_x", model)
    layers = tuple(
        (layer, mixed_angles(trunk.float32(key).reshape(2, heads, -1), grid))
        for layer, key in found
    )
    keys = tuple(key for _, key in found)
    size = sum(trunk.size(key) for key in keys)
    return Rotation(layers, grid, keys, size, notes=(*notes, *assumed, PAIRINGS["interleaved"]))


def from_swin(trunk: Trunk, model: Any) -> Rotation | None:
    """Read the frequencies of Swin-RoPE, (2, heads, head_dim / 2) a block, on its window.

    Axial and mixed models have the same keys; in an axial one all heads turn alike, and the
    second half of the channels not with x at all. Those frequencies are fixed.
    """
    found = [
        (layer, key)
        for layer, key in _in_blocks(trunk, _SWIN_FREQS)
        if len(trunk.shape(key)) == 3 and trunk.shape(key)[0] == 2
    ]
    if not found:
        return None
    grid, notes = _grid_beside(trunk, found[0][1], "rope_t_x", model)
    freqs = {layer: trunk.float32(key) for layer, key in found}
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
    trunk: Trunk, key: str, positions: str, model: Any
) -> tuple[tuple[int, int], tuple[str, ...]]:
    """Return the grid as said, else as the x positions beside the frequencies show it."""
    beside = f"{key.rpartition('.')[0]}.{positions}"
    shown = shown_grid(trunk, beside) if trunk.hints.grid_size is None else None
    if shown is not None:
        return shown, (f"grid {x(shown)} read from {positions}",)
    return grid_of(trunk, model, key)


def _heads(trunk: Trunk, key: str, model: Any) -> tuple[int, tuple[str, ...]]:
    """Return the number of heads, and a note where 64 channels a head were assumed."""
    shape, said = trunk.shape(key), trunk.hints.num_heads
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
        f"{trunk.stored_key(key)} has shape {shape}: {shape[-1]} frequencies for all heads of "
        f"a block{wanted}. Pass --num-heads N."
    )


def from_eva02(trunk: Trunk, _model: Any) -> Rotation | None:
    """Read the original EVA-02's buffers of cosines and sines, (patches, head_dim) in pairs."""
    names = {each.bare: each.key for each in trunk.matching(_EVA02)}
    sine = next((key for bare, key in names.items() if bare.endswith("sin")), None)
    cosine = None if sine is None else f"{sine.removesuffix('sin')}cos"
    if sine is None or cosine is None or cosine not in trunk:
        return None
    sines, cosines = (_buffer(trunk, key) for key in (sine, cosine))
    if sines.shape != cosines.shape:
        raise UnfitShapes(f"{sine} has shape {sines.shape}, {cosine} {cosines.shape}.")
    where = _patches_only(trunk, sine, len(sines))
    pairing = pairing_of(cosines) or "interleaved"
    angles = unwrapped(first_of_pairs(np.arctan2(sines, cosines), pairing), where.grid_size)
    layers = same_for_all(trunk, angles[None])
    notes = (*where.notes, PAIRINGS[pairing])
    return Rotation(layers, where.grid_size, (sine, cosine), notes=notes)


def _patches_only(trunk: Trunk, key: str, rows: int) -> Layout:
    where = layout(trunk, trunk.stored_key(key), rows)
    if where.num_prefix_rows:
        raise AmbiguousCheckpoint(
            f"{trunk.stored_key(key)} has {rows} rows, one a patch: {x(where.grid_size)} "
            "leaves some over. Pass the --grid-size of the patches."
        )
    return where


def from_vit_nd(trunk: Trunk, model: Any) -> Rotation | None:
    """Read the fixed frequencies of lucidrains' ViTND, (heads, head_dim / 2, 2): rows, columns."""
    key = trunk.names.get("rotary_emb.freqs", "")
    shape = trunk.shape(key) if key else ()
    if len(shape) != 3 or shape[2] != 2:
        return None
    grid, notes = grid_of(trunk, model, key)
    positions = np.indices(grid).reshape(2, -1).T.astype(np.float32)
    angles = positions @ trunk.float32(key).swapaxes(1, 2)
    said = (*notes, PAIRINGS["half"])
    return Rotation(same_for_all(trunk, angles), grid, (key,), notes=said)


def from_rvt(trunk: Trunk, model: Any) -> Rotation | None:
    """Read the fixed scales of lucidrains' RvT, whose rows, then columns, go from -π to π."""
    key = trunk.names.get("transformer.pos_emb.scales", "")
    if not key or len(trunk.shape(key)) != 1:
        return None
    grid, notes = grid_of(trunk, model, key)
    scales = np.pi * trunk.float32(key)
    axes = np.meshgrid(*(np.linspace(-1, 1, side) for side in grid), indexing="ij")
    angles = np.concatenate([axis.reshape(-1, 1) * scales for axis in axes], axis=1)
    unsure = "the scales are stored even where the model was built with use_rotary=False"
    layers = same_for_all(trunk, angles.astype(np.float32)[None])
    return Rotation(layers, grid, (key,), notes=(*notes, PAIRINGS["interleaved"], unsure))


READERS: Final[tuple[Callable[[Trunk, Any], Rotation | None], ...]] = (
    from_schh,
    from_mixed,
    from_mixed_blocks,
    from_swin,
    from_eva02,
    from_vit_nd,
    from_rvt,
)
"""In the order in which they are asked."""
