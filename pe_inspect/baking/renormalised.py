"""Rows with the lengths that trained rows have: what bilinear resampling takes from them.

Averaging rows that point apart shortens them: after bilinear resampling, new rows are 10 % to 30 %
shorter than the trained ones (huggingface/pytorch-image-models, pull request 750).
"""

from __future__ import annotations

import numpy as np

from pe_inspect.analysis.interpolate.two_grids import row_norms
from pe_inspect.arrays import Float

__all__ = ["renormalised"]


def renormalised(
    made: Float[np.ndarray, "rows columns channels"],
    source: Float[np.ndarray, "old_rows old_columns channels"],
) -> Float[np.ndarray, "rows columns channels"]:
    """Scale each row, so that the lengths of all rows are distributed as the source's are.

    The k-th shortest of n rows gets the (k + ½)/n quantile of the source's lengths, linear between
    them: directions, and which rows are long, stay as they are. Rows that are zero or not finite
    are left alone.

    Args:
        made: the resampled table, patches only.
        source: the table that it was made of, patches only.
    """
    norms, wanted = row_norms(made), row_norms(source)
    wanted = np.sort(wanted[np.isfinite(wanted)])
    usable = np.isfinite(norms) & (norms > 0)
    count = int(usable.sum())
    if not count or not wanted.size:
        return made
    places = (np.arange(count) + 0.5) / count * len(wanted) - 0.5
    lengths = np.interp(places, np.arange(len(wanted)), wanted)
    scale = np.ones_like(norms)
    order = np.argsort(norms[usable], kind="stable")
    ranked = np.empty(count, norms.dtype)
    ranked[order] = lengths
    scale[usable] = ranked / norms[usable]
    return np.asarray(made * scale[..., None], made.dtype)
