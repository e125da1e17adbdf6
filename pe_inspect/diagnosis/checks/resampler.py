"""The installed timm: releases before 1.0.31 return some resampled tables unchanged.

Source: huggingface/pytorch-image-models PR 2737: a table of 2×8 asked for 4×4 has as many rows as
it should have, and came back as it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import metadata
from typing import Final

from pe_inspect.diagnosis.case import Case
from pe_inspect.diagnosis.checks import on_case, on_file
from pe_inspect.finding import Finding
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["broken_resampler", "old_timm"]

FIXED: Final = (1, 0, 31)
_WHY: Final = (
    "A table whose new grid has as many patches as the old one (2×8 → 4×4) comes back unchanged "
    "(timm PR 2737): the model runs, and every patch has the position of another."
)
_MEND: Final = 'pip install "timm>=1.0.31"'


@on_file("old-timm")
def old_timm(_checkpoint: Checkpoint) -> Iterator[Finding]:
    """An installed timm that is older than the release that resamples rightly; none is imported."""
    try:
        installed = metadata.version("timm")
    except metadata.PackageNotFoundError:
        return
    numbers = tuple(int(part) for part in re.findall(r"\d+", installed)[:3])
    if numbers < FIXED:
        wanted = ".".join(map(str, FIXED))
        yield Finding(
            "old-timm",
            "timm",
            f"timm {installed} is installed; {wanted} is the first that resamples every table.",
            _WHY,
            _MEND,
            {"installed": installed, "fixed": wanted},
            runs_in="shell",
        )


@on_case("asked-timm", codes=("old-timm",), is_asked=lambda expected: expected.timm)
def broken_resampler(case: Case) -> Iterator[Finding]:
    """Ask the installed timm to resample 2×8 to 4×4. Importing it takes seconds: only if asked."""
    if case.expected.timm:
        yield from _broken_resampler()


def _broken_resampler() -> Iterator[Finding]:
    import torch
    from timm.layers.pos_embed import resample_abs_pos_embed

    table = torch.arange(16.0).reshape(1, 16, 1)
    given = resample_abs_pos_embed(table, new_size=[4, 4], old_size=[2, 8], num_prefix_tokens=0)
    if torch.equal(given, table):
        yield Finding(
            "old-timm",
            "timm",
            f"timm {metadata.version('timm')} returned a 2×8 table unchanged when asked for 4×4.",
            _WHY,
            _MEND,
            {"installed": metadata.version("timm"), "unchanged": True},
            "error",
            "shell",
        )
