"""Why a table does not fit the model that it is loaded into, and what mends it.

Two things explain nearly every "size mismatch for pos_embed": another image size, or another number
of prefix tokens.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from pe_inspect.diagnosis.mended_file import mended_file
from pe_inspect.diagnosis.readings import Reading, Readings, readings
from pe_inspect.families.reading.bias import CLS_ROWS, windows_of
from pe_inspect.families.reading.grid import prefix_tokens, x
from pe_inspect.families.reading.hints import is_flag
from pe_inspect.families.reading.patch import patch_size
from pe_inspect.finding import Finding
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["Wanted", "mismatch", "px", "written"]

CODE: Final = "mismatch-rows"
USUAL_PATCH: Final = (16, 16)
SUFFIXES: Final = (".pth", ".pt", ".bin", ".ckpt", ".safetensors", ".npz", ".npy")
_WHY: Final = (
    "Loading it stops with a size mismatch, or, with strict=False, leaves the model with untrained "
    "positions."
)


@dataclass(frozen=True)
class Wanted:
    """What a table is expected to be.

    Attributes:
        rows: how many rows it should have.
        who: who expects them, in words: `"your model (--expect 197)"`.
        reading: how they divide, where that is known.
    """

    rows: int
    who: str
    reading: Reading | None = None


def mismatch(checkpoint: Checkpoint, found: Readings, wanted: Wanted) -> Finding:
    """Return the finding that says how two numbers of rows come about, and what mends it."""
    have = found.taken or found.all[0]
    need = wanted.reading or (
        _nearest_window(wanted.rows) if found.is_bias else _nearest(have, wanted.rows)
    )
    return Finding(
        CODE,
        found.key,
        _sentence(checkpoint, found, have, wanted, need),
        _WHY,
        _mend(checkpoint, found, have, need),
        {
            "rows": found.rows,
            "grid_size": list(have.grid_size),
            "num_prefix_rows": have.num_prefix_rows,
            "folded_prefix_rows": _folded(checkpoint, found, have, need),
            "expected_rows": wanted.rows,
            "expected_grid_size": None if need is None else list(need.grid_size),
            "expected_num_prefix_rows": None if need is None else need.num_prefix_rows,
        },
        "error",
    )


def _nearest(have: Reading, rows: int) -> Reading | None:
    """Return the reading that differs least: in prefix rows, else in size, else in both."""

    def distance(other: Reading) -> tuple[bool, float, bool, int]:
        shape = other.grid_size[0] / other.grid_size[1], have.grid_size[0] / have.grid_size[1]
        stretched = max(shape) / min(shape) - 1
        differs = other.num_prefix_rows != have.num_prefix_rows
        same_grid = other.grid_size == have.grid_size
        return not same_grid, stretched, differs, other.num_prefix_rows

    return min(readings(rows), key=distance, default=None)


def _nearest_window(rows: int) -> Reading | None:
    windows = windows_of(rows) if rows > 0 else []
    return Reading(windows[0], 1 - rows % 2, "ordinary") if windows else None


def _sentence(
    checkpoint: Checkpoint, found: Readings, have: Reading, wanted: Wanted, need: Reading | None
) -> str:
    seen = f"{found.key} has {found.rows} rows = {_sum(checkpoint, found, have)}"
    expects = f"{wanted.who} expects {wanted.rows}"
    if need is None:
        return f"{seen}; {expects}, which no grid with up to 8 prefix rows has."
    differs = _difference(found, have, need, _folded(checkpoint, found, have, need))
    return f"{seen}; {expects} = {_sum(checkpoint, found, need)}. {differs}"


def _sum(checkpoint: Checkpoint, found: Readings, reading: Reading) -> str:
    """Write a reading as `1 + 24×24 (384 px at patch 16)`."""
    if found.is_bias:
        cls = " and 3 for CLS" if reading.num_prefix_rows else ""
        return f"the offsets of a {x(reading.grid_size)} window{cls}"
    patch = patch_size(checkpoint)
    height, width = (n * p for n, p in zip(reading.grid_size, patch or USUAL_PATCH))
    at = f"at patch {px(patch)}" if patch else f"if a patch is {px(USUAL_PATCH)}"
    return f"{reading.num_prefix_rows} + {x(reading.grid_size)} ({px((height, width))} px {at})"


def _folded(checkpoint: Checkpoint, found: Readings, have: Reading, need: Reading | None) -> int:
    """Return how many rows of its own tokens the table lacks where another has them.

    timm adds such rows to the tokens, which comes to the same (DINOv2 with registers).
    """
    if need is None or found.is_bias or have.num_prefix_rows:
        return 0
    return min(prefix_tokens(checkpoint).total, need.num_prefix_rows)


def _difference(found: Readings, have: Reading, need: Reading, folded: int) -> str:
    if found.is_bias:
        return "The windows differ: theirs is a table of other offsets."
    same_grid = have.grid_size == need.grid_size
    same_prefix = have.num_prefix_rows == need.num_prefix_rows
    tokens = f"{_tokens(have.num_prefix_rows)} here, {_tokens(need.num_prefix_rows)} there"
    if same_grid and same_prefix:
        return "They divide alike."
    if folded and same_grid:
        row = "the CLS row was" if need.num_prefix_rows == 1 else "the prefix rows were"
        return f"The grid is the same; {row} folded into cls_token (timm's reg4 layout)."
    if same_grid:
        return f"The grid is the same; prefix rows differ: {tokens}."
    if same_prefix:
        return "The prefix rows are the same; the image size differs."
    return f"Image size and prefix rows both differ: {tokens}."


def _tokens(count: int) -> str:
    names = {0: "none", 1: "CLS", 2: "CLS and distillation"}
    return names.get(count, f"{count} (CLS and {count - 1} registers)")


def _mend(checkpoint: Checkpoint, found: Readings, have: Reading, need: Reading | None) -> str:
    """Return the lines that make a file that fits, which work as pasted."""
    if need is None:
        return "Check the number: `pe-inspect info` shows what the file holds."
    if _is_only_larger(checkpoint, found, have, need):
        return written(checkpoint, need.grid_size)
    steps = []
    if have.grid_size != need.grid_size:
        steps += _resized_biases(need) if found.is_bias else _resampled(found, have, need)
    if have.num_prefix_rows != need.num_prefix_rows and not found.is_bias:
        steps += _other_prefix(found, have.num_prefix_rows, need.num_prefix_rows)
    return mended_file(checkpoint, found.key, steps) if steps else "Nothing: they fit."


def _is_only_larger(checkpoint: Checkpoint, found: Readings, have: Reading, need: Reading) -> bool:
    """Whether another grid is all that the file lacks, so that a command makes it fit."""
    same_prefix = found.is_bias or have.num_prefix_rows == need.num_prefix_rows
    return checkpoint.format != "state_dict" and same_prefix and have.grid_size != need.grid_size


def written(checkpoint: Checkpoint, grid_size: tuple[int, int]) -> str:
    """The command that writes the file at the other grid, as pasted into a shell."""
    source, flags = checkpoint.source, list[str]()
    for hint in ("grid_size", "num_prefix_tokens"):
        if is_flag(checkpoint, hint):
            said = getattr(checkpoint.hints, hint)
            shown = "x".join(map(str, said)) if isinstance(said, tuple) else said
            flags += [f"--{hint.replace('_', '-')}", str(shown)]
    grid = "x".join(map(str, grid_size))
    name = PurePath(source.rpartition(":")[2])
    suffix = name.suffix if name.suffix in SUFFIXES or checkpoint.path is None else ""
    target = f"{name.name.removesuffix(suffix) or 'model'}-{grid}{suffix or _suffix(checkpoint)}"
    words = ["pe-inspect", "interpolate", source, *flags, "--grid", grid, "--write", target]
    return shlex.join(words)


def _suffix(checkpoint: Checkpoint) -> str:
    """The extension of what has none in its name: nothing for a folder."""
    is_elsewhere = checkpoint.path is None
    return ".safetensors" if is_elsewhere else ""


def _resampled(found: Readings, have: Reading, need: Reading) -> list[str]:
    """The two lines of timm that do it in a state dict."""
    flat = found.table is not None and len(found.table.shape) == 2
    return [
        "from timm.layers import resample_abs_pos_embed",
        f"state[{found.key!r}] = resample_abs_pos_embed(state[{found.key!r}]"
        f"{'[None]' if flat else ''}, new_size={list(need.grid_size)}, "
        f"old_size={list(have.grid_size)}, num_prefix_tokens={have.num_prefix_rows})"
        f"{'[0]' if flat else ''}",
    ]


def _resized_biases(need: Reading) -> list[str]:
    rows, columns = (2 * side - 1 for side in need.grid_size)
    count = rows * columns + CLS_ROWS * need.num_prefix_rows
    return [
        "from timm.layers import resize_rel_pos_bias_table",
        "for key in [k for k in state if k.endswith('relative_position_bias_table')]:",
        f"    state[key] = resize_rel_pos_bias_table(state[key], {need.grid_size}, "
        f"({count}, state[key].shape[1]))",
    ]


def _other_prefix(found: Readings, have: int, need: int) -> list[str]:
    """Drop the last prefix rows, or add rows of zeros: a token without a position of its own."""
    state, kept = f"state[{found.key!r}]", min(have, need)
    zeros = [f"torch.zeros_like(table[..., :{need - have}, :])"] if need > have else []
    first = [f"table[..., :{kept}, :]"] if kept else []
    parts = [*first, *zeros, f"table[..., {have}:, :]" if have else "table"]
    if len(parts) == 1:
        return [f"{state} = {state}[..., {have}:, :]"]
    return [
        "import torch",
        f"table = {state}",
        f"{state} = torch.cat([{', '.join(parts)}], dim=-2)",
    ]


def px(size: tuple[int, int]) -> str:
    """Write an image size: 384, or 224×384."""
    return str(size[0]) if size[0] == size[1] else x(size)
