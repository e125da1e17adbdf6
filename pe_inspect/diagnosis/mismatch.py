"""Why a table does not fit the model that it is loaded into, and what mends it.

Two things explain nearly every "size mismatch for pos_embed": another image size, or another number
of prefix tokens.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from pe_inspect.diagnosis.fitting import MOST_TOLD, Fitting, fitting
from pe_inspect.diagnosis.fitting_pairs import ReadingPair, fitting_pairs
from pe_inspect.diagnosis.held_tables import trunk_of
from pe_inspect.diagnosis.mended_file import mended_file
from pe_inspect.diagnosis.readings import Readings, RowDivision
from pe_inspect.families.reading.bias import cls_tokens, windows_of
from pe_inspect.families.reading.bias_tables import CLS_ROWS
from pe_inspect.families.reading.grid import x
from pe_inspect.families.reading.tokens import PrefixTokens, class_token, is_spectrogram_s
from pe_inspect.finding import Finding, RunsIn
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["ExpectedTable", "mismatch", "px", "written"]

CODE: Final = "mismatch-rows"
USUAL_PATCH: Final = (16, 16)
SUFFIXES: Final = (".pth", ".pt", ".bin", ".ckpt", ".safetensors", ".npz", ".npy")
_WHY: Final = (
    "Loading it stops with a size mismatch, or, with strict=False, leaves the model with untrained "
    "positions."
)


@dataclass(frozen=True)
class ExpectedTable:
    """What a table is expected to be.

    Attributes:
        rows: how many rows it should have.
        who: who expects them, in words: `"your model (--expect 197)"`.
        reading: how they divide, where that is known.
        num_prefix_rows: how many of them are of tokens, where that much is.
    """

    rows: int
    who: str
    reading: RowDivision | None = None
    num_prefix_rows: int | None = None


def mismatch(checkpoint: Checkpoint, found: Readings, wanted: ExpectedTable) -> Finding:
    """Return the finding that says how two numbers of rows come about, and what mends it."""
    have = found.likeliest[0]
    if len(found.likeliest) > 1 and not found.is_bias:
        return _undecided(checkpoint, found, wanted)
    fits = _fitting(checkpoint, found, have, wanted)
    need = fits.only
    if need is None and fits.all:
        return _several(checkpoint, found, have, wanted, fits)
    mend, runs_in = _mend(checkpoint, found, have, need)
    return Finding(
        CODE,
        found.key,
        _sentence(checkpoint, found, have, wanted, need),
        _WHY,
        mend,
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
        runs_in,
    )


def _fitting(
    checkpoint: Checkpoint, found: Readings, have: RowDivision, wanted: ExpectedTable
) -> Fitting:
    """Return the reading that is known, or those that fit."""
    if wanted.reading is not None:
        return Fitting((wanted.reading,), 1, keeps=True)
    if found.is_bias:
        windows = windows_of(wanted.rows) if wanted.rows > 0 else []
        likeliest = [RowDivision(each, cls_tokens(wanted.rows), "ordinary") for each in windows[:1]]
        return Fitting(tuple(likeliest), 1, keeps=True)
    keeps_height = is_spectrogram_s(trunk_of(checkpoint))
    prefix = wanted.num_prefix_rows
    fits = fitting(have, wanted.rows, keeps_height=keeps_height, num_prefix_rows=prefix)
    return fits if fits.all else fitting(have, wanted.rows, keeps_height=keeps_height)


def _several(
    checkpoint: Checkpoint, found: Readings, have: RowDivision, wanted: ExpectedTable, fits: Fitting
) -> Finding:
    """Return the finding of a number that several readings give: all are told, none is taken."""
    told = "; ".join(_sum(checkpoint, found, each) for each in fits.all)
    kept = (
        "Each keeps something of what the file shows"
        if fits.keeps
        else ("None keeps the shape or a side of the grid that the file has")
    )
    first = fits.all[0]
    return Finding(
        CODE,
        found.key,
        f"{found.key} has {found.rows} rows = {_sum(checkpoint, found, have)}; {wanted.who} "
        f"expects {wanted.rows}, which can be {told}. {kept}; the number does not tell which.",
        _WHY,
        f"Name the image size instead (--expect-res HxW), or the model's own checkpoint (--against "
        f"OTHER). If it is {first}: {written(checkpoint, first.grid_size)}"
        if _is_only_larger(checkpoint, found, have, first)
        else "Name the image size instead (--expect-res HxW), or the model's own checkpoint "
        "(--against OTHER).",
        {
            "rows": found.rows,
            "grid_size": list(have.grid_size),
            "num_prefix_rows": have.num_prefix_rows,
            "expected_rows": wanted.rows,
            "readings": [
                {"grid_size": list(each.grid_size), "num_prefix_rows": each.num_prefix_rows}
                for each in fits.all
            ],
        },
        "error",
    )


def _undecided(checkpoint: Checkpoint, found: Readings, wanted: ExpectedTable) -> Finding:
    """Return the finding of a table whose own grid nothing tells: both grids are told together."""
    likeliest = found.likeliest
    pairs = _pairs(checkpoint, likeliest, wanted)
    told = "; ".join(f"{_rows(have)} here and {_rows(need)} there" for have, need in pairs)
    flags = " or ".join("x".join(map(str, each.grid_size)) for each in likeliest[:MOST_TOLD])
    more = ", …" if len(likeliest) > MOST_TOLD else ""
    return Finding(
        CODE,
        found.key,
        f"{found.key} has {found.rows} rows, and {wanted.who} expects {wanted.rows}. That can be "
        f"{told or 'no two grids that are like one another'}; nothing in the file tells which.",
        _WHY,
        f"State the grid of the file first: --grid-size {flags}{more}. What mends it follows then.",
        {
            "rows": found.rows,
            "expected_rows": wanted.rows,
            "readings": [
                {
                    "grid_size": list(have.grid_size),
                    "num_prefix_rows": have.num_prefix_rows,
                    "expected_grid_size": list(need.grid_size),
                    "expected_num_prefix_rows": need.num_prefix_rows,
                }
                for have, need in pairs
            ],
        },
        "error",
    )


def _pairs(
    checkpoint: Checkpoint, likeliest: Sequence[RowDivision], wanted: ExpectedTable
) -> tuple[ReadingPair, ...]:
    if wanted.reading is not None:
        return tuple((each, wanted.reading) for each in likeliest[:MOST_TOLD])
    keeps_height = is_spectrogram_s(trunk_of(checkpoint))
    return fitting_pairs(likeliest, wanted.rows, keeps_height=keeps_height)


def _rows(reading: RowDivision) -> str:
    """Write a reading as `1 + 24×24`, or `1 + 24×24 + 100` with rows behind the grid."""
    behind = f" + {reading.num_suffix_rows}" if reading.num_suffix_rows else ""
    return f"{reading.num_prefix_rows} + {x(reading.grid_size)}{behind}"


def _sentence(
    checkpoint: Checkpoint,
    found: Readings,
    have: RowDivision,
    wanted: ExpectedTable,
    need: RowDivision | None,
) -> str:
    seen = f"{found.key} has {found.rows} rows = {_sum(checkpoint, found, have)}"
    expects = f"{wanted.who} expects {wanted.rows}"
    if need is None:
        return f"{seen}; {expects}, which no grid with up to 8 prefix rows has."
    folded, is_spectrogram = (
        _folded(checkpoint, found, have, need), is_spectrogram_s(trunk_of(checkpoint)),
    )  # fmt: skip
    differs = _difference(found, have, need, folded, is_spectrogram=is_spectrogram)
    return f"{seen}; {expects} = {_sum(checkpoint, found, need)}. {differs}"


def _sum(checkpoint: Checkpoint, found: Readings, reading: RowDivision) -> str:
    """Write a reading as `1 + 24×24 (384 px at patch 16)`."""
    if found.is_bias:
        cls = " and 3 for CLS" if reading.num_prefix_rows else ""
        return f"the offsets of a {x(reading.grid_size)} window{cls}"
    return f"{_rows(reading)} ({_image(checkpoint, reading.grid_size)})"


def _image(checkpoint: Checkpoint, grid_size: tuple[int, int]) -> str:
    """Write the size of the image; of a spectrogram, whose patches overlap, the axes alone."""
    if is_spectrogram_s(trunk_of(checkpoint)):
        return "frequency × time"
    patch = trunk_of(checkpoint).patch_size
    height, width = (n * p for n, p in zip(grid_size, patch or USUAL_PATCH))
    at = f"at patch {px(patch)}" if patch else f"if a patch is {px(USUAL_PATCH)}"
    return f"{px((height, width))} px {at}"


def _folded(
    checkpoint: Checkpoint, found: Readings, have: RowDivision, need: RowDivision | None
) -> int:
    """Return how many rows of its own tokens the table lacks where another has them.

    timm adds such rows to the tokens, which comes to the same (DINOv2 with registers).
    """
    if need is None or found.is_bias or have.num_prefix_rows:
        return 0
    return min(trunk_of(checkpoint).prefix_tokens.total, need.num_prefix_rows)


def _difference(
    found: Readings, have: RowDivision, need: RowDivision, folded: int, *, is_spectrogram: bool
) -> str:
    if found.is_bias:
        return "The windows differ: theirs is a table of other offsets."
    same_grid = have.grid_size == need.grid_size
    same_prefix = have.num_prefix_rows == need.num_prefix_rows
    tokens = f"{_tokens(have, found.own)} here, {_tokens(need, found.own)} there"
    if same_grid and same_prefix:
        return "They divide alike."
    if folded and same_grid:
        row = "the CLS row was" if need.num_prefix_rows == 1 else "the prefix rows were"
        return f"The grid is the same; {row} folded into cls_token (timm's reg4 layout)."
    if same_grid:
        return f"The grid is the same; prefix rows differ: {tokens}."
    size = "length of the spectrogram" if is_spectrogram else "image size"
    if same_prefix:
        return f"The prefix rows are the same; the {size} differs."
    return f"{size.capitalize()} and prefix rows both differ: {tokens}."


def _tokens(reading: RowDivision, own: PrefixTokens) -> str:
    """Name prefix rows as far as the file's own tokens tell what they stand for."""
    count = reading.num_prefix_rows
    if count == 2 and own.distillation:
        return "CLS and distillation"
    if own.registers and count == own.total:
        return f"CLS and {own.registers} registers"
    return {0: "none", 1: "CLS"}.get(count, f"{count} rows")


def _mend(
    checkpoint: Checkpoint, found: Readings, have: RowDivision, need: RowDivision | None
) -> tuple[str, RunsIn]:
    """Return the lines that make a file that fits, which work as pasted, and where they do."""
    if need is None:
        return "Check the number: `pe-inspect info` shows what the file holds.", ""
    if _is_only_larger(checkpoint, found, have, need):
        return written(checkpoint, need.grid_size), "shell"
    steps = []
    if have.grid_size != need.grid_size:
        steps += _resized_biases(need) if found.is_bias else _resampling_lines(found, have, need)
    if have.num_prefix_rows != need.num_prefix_rows and not found.is_bias:
        steps += _other_prefix(checkpoint, found, have.num_prefix_rows, need.num_prefix_rows)
    if not steps:
        return "Nothing: they fit.", ""
    return mended_file(checkpoint, found.key, steps), "python"


def _is_only_larger(
    checkpoint: Checkpoint, found: Readings, have: RowDivision, need: RowDivision
) -> bool:
    """Whether another grid is all that the file lacks, so that a command makes it fit."""
    same_prefix = found.is_bias or have.num_prefix_rows == need.num_prefix_rows
    return checkpoint.format != "state_dict" and same_prefix and have.grid_size != need.grid_size


def written(checkpoint: Checkpoint, grid_size: tuple[int, int]) -> str:
    """The command that writes the file at the other grid, as pasted into a shell."""
    source, flags = checkpoint.source, list[str]()
    for hint in ("grid_size", "num_prefix_tokens"):
        if checkpoint.hints.is_flag(hint):
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


def _resampling_lines(found: Readings, have: RowDivision, need: RowDivision) -> list[str]:
    """The two lines of timm that do it in a state dict."""
    flat = found.table is not None and len(found.table.shape) == 2
    if have.num_suffix_rows:
        return _resampled_before(found, have, need)
    return [
        "from timm.layers import resample_abs_pos_embed",
        f"state[{found.key!r}] = resample_abs_pos_embed(state[{found.key!r}]"
        f"{'[None]' if flat else ''}, new_size={list(need.grid_size)}, "
        f"old_size={list(have.grid_size)}, num_prefix_tokens={have.num_prefix_rows})"
        f"{'[0]' if flat else ''}",
    ]


def _resampled_before(found: Readings, have: RowDivision, need: RowDivision) -> list[str]:
    """The same for a table with rows behind its patches, which stay: timm's function has none."""
    behind = have.num_suffix_rows
    return [
        "import torch",
        "from timm.layers import resample_abs_pos_embed",
        f"table = state[{found.key!r}].reshape(1, {found.rows}, -1)",
        f"rows = resample_abs_pos_embed(table[:, :-{behind}], new_size={list(need.grid_size)}, "
        f"old_size={list(have.grid_size)}, num_prefix_tokens={have.num_prefix_rows})",
        f"rows = torch.cat([rows, table[:, -{behind}:]], dim=1)",
        f"state[{found.key!r}] = rows.reshape(*state[{found.key!r}].shape[:-2], *rows.shape[1:])",
    ]


def _resized_biases(need: RowDivision) -> list[str]:
    rows, columns = (2 * side - 1 for side in need.grid_size)
    count = rows * columns + CLS_ROWS * need.num_prefix_rows
    return [
        "from timm.layers import resize_rel_pos_bias_table",
        "for key in [k for k in state if k.endswith('relative_position_bias_table')]:",
        f"    state[key] = resize_rel_pos_bias_table(state[key], {need.grid_size}, "
        f"({count}, state[key].shape[1]))",
    ]


def _other_prefix(checkpoint: Checkpoint, found: Readings, have: int, need: int) -> list[str]:
    """Drop prefix rows, or add rows of zeros: a token without a position of its own.

    Where all go and the file keeps its class token, its row is added to it, which comes to the
    same in timm's models without a row for it (`no_embed_class`).
    """
    state, kept = f"state[{found.key!r}]", min(have, need)
    zeros = [f"torch.zeros_like(table[..., :{need - have}, :])"] if need > have else []
    first = [f"table[..., :{kept}, :]"] if kept else []
    parts = [*first, *zeros, f"table[..., {have}:, :]" if have else "table"]
    if len(parts) == 1:
        return [*_folding(checkpoint, found, have), f"{state} = {state}[..., {have}:, :]"]
    joined = f"{state} = torch.cat([{', '.join(parts)}], dim=-2)"
    return [*_untrained_tokens(found, have, need), "import torch", f"table = {state}", joined]


def _folding(checkpoint: Checkpoint, found: Readings, have: int) -> list[str]:
    """The lines that add the CLS row to the class token, where the row is that one alone."""
    token = class_token(trunk_of(checkpoint))
    if token is None or have != 1 or found.own.cls != 1:
        return []
    stored = checkpoint.stored_key(token)
    shape = checkpoint.shape(token)
    return [
        "# Its row is added to the class token, as timm does; a model without one drops both.",
        f"row = state[{found.key!r}][..., :1, :]",
        f"state[{stored!r}] = state[{stored!r}] + row.reshape({shape})",
    ]


def _untrained_tokens(found: Readings, have: int, need: int) -> list[str]:
    """The comment that a model with more tokens than the file holds is another class of model."""
    lacks = need - max(have, found.own.total)
    if lacks <= 0 or not found.own.known:
        return []
    tokens = "no class token" if need == 1 else f"only {found.own.total} of those {need} tokens"
    return [
        f"# The file holds {tokens}: a model with more is of another class, and has weights that",
        "# are not in the file. Rows alone do not make it fit.",
    ]


def px(size: tuple[int, int]) -> str:
    """Write an image size: 384, or 224×384."""
    return str(size[0]) if size[0] == size[1] else x(size)
