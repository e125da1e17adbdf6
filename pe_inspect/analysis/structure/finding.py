"""What `structure` found, in one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isnan

import numpy as np

from pe_inspect.analysis.common.sentences import number_text, percent_text, sentence
from pe_inspect.analysis.structure.indices import Indices
from pe_inspect.analysis.structure.layer_rows import StructureRow
from pe_inspect.analysis.structure.rotation import LayerRotation
from pe_inspect.analysis.structure.words import in_words

__all__ = ["finding_of"]


def finding_of(
    rows: Sequence[StructureRow],
    baselines: Mapping[str, Indices],
    hierarchy: float,
    decided: Mapping[str, str],
    rotations: Sequence[LayerRotation],
) -> str:
    """Word what the maps look like, and the numbers behind it.

    Args:
        rows: the stored table first.
        baselines: the indices of tables that learned nothing.
        hierarchy: over layers; NaN for one layer.
        decided: the indices that the form of the scheme decides: no finding.
        rotations: of a rotary scheme; else none.
    """
    stored = rows[0].indices.row()
    parts = [
        _looks(rows),
        _distance(stored, baselines),
        _offset(stored, baselines) if "translation_share" not in decided else "",
        _axes(stored),
        _rank(stored, baselines),
        _turning(rotations),
        f"the hierarchy over layers is {number_text(hierarchy)}" if not isnan(hierarchy) else "",
    ]
    return sentence(_begun(part for part in parts if part) or ["No index is defined"])


def _begun(parts: Iterable[str]) -> list[str]:
    """The parts, the first with a capital."""
    found = list(parts)
    return [found[0][0].upper() + found[0][1:], *found[1:]] if found else []


def _looks(rows: Sequence[StructureRow]) -> str:
    layers = rows[1:] or rows
    return in_words([row.word for row in layers], [row.name for row in layers])


def _distance(stored: Mapping[str, float], baselines: Mapping[str, Indices]) -> str:
    own, shuffled = stored["ssdc_l1"], _of(baselines, "shuffled", "ssdc_l1")
    if isnan(own):
        return ""
    beside = "" if isnan(shuffled) else f" (rows shuffled {number_text(shuffled)})"
    return f"in the stored table affinity and nearness correlate at {number_text(own)}{beside}"


def _offset(stored: Mapping[str, float], baselines: Mapping[str, Indices]) -> str:
    own, shuffled = stored["translation_share"], _of(baselines, "shuffled", "translation_share")
    if isnan(own):
        return ""
    beside = "" if isnan(shuffled) else f" (shuffled {percent_text(shuffled)})"
    return f"the offset explains {percent_text(own)} of it{beside}"


def _axes(stored: Mapping[str, float]) -> str:
    rows, columns = stored["row_share"], stored["column_share"]
    if isnan(rows):
        return ""
    frames = stored.get("time_share", float("nan"))
    time = "" if isnan(frames) else f", frames {percent_text(frames)}"
    return f"rows explain {percent_text(rows)} of the table, columns {percent_text(columns)}{time}"


def _rank(stored: Mapping[str, float], baselines: Mapping[str, Indices]) -> str:
    own, noise = stored["effective_rank"], _of(baselines, "random", "effective_rank")
    if isnan(own):
        return ""
    beside = "" if isnan(noise) else f" (random {number_text(noise, on_a_scale=False)})"
    return f"its effective rank is {number_text(own, on_a_scale=False)}{beside}"


def _turning(rotations: Sequence[LayerRotation]) -> str:
    known = [rotation for rotation in rotations if rotation.is_linear]
    if not known:
        return ""
    cycles = np.concatenate([rotation.cycles.max(axis=-1).ravel() for rotation in known])
    aliased = np.concatenate([rotation.is_aliased.ravel() for rotation in known])
    ends = (number_text(float(end), on_a_scale=False) for end in (cycles.min(), cycles.max()))
    return (
        f"the angles turn {' to '.join(ends)} times over the image, and "
        f"{np.count_nonzero(aliased)} of {aliased.size} by more than half a turn a patch"
    )


def _of(baselines: Mapping[str, Indices], name: str, index: str) -> float:
    return baselines[name].row()[index] if name in baselines else float("nan")
