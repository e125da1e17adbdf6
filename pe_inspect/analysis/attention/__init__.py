"""Which heads attend by position: distance, entropy, budget, offsets, and parts of the logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Final

import numpy as np

from pe_inspect.analysis import questions
from pe_inspect.analysis.attention.heads import HALF_PLANE, OFFSET_HEAD, HeadNumbers, heads_of
from pe_inspect.analysis.common.sentences import count_text
from pe_inspect.analysis.common.stages import stacked_by_stage
from pe_inspect.analysis.common.trace_result import TraceResult
from pe_inspect.errors import UsageError
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.traces import AttentionSums, Trace

__all__ = ["HALF_PLANE", "OFFSET_HEAD", "AttentionResult", "HeadNumbers", "attention"]

MOST_NAMED: Final = 6
_BY_HEAD: Final = (
    *("distance_renormalised", "distance_raw", "entropy_all_keys", "entropy_renormalised"),
    *("position_nats", "content_nats", "offset_share", "prefix_share"),
)
DEFINITIONS: Final = {
    "num_images": "how many images the numbers are means over",
    "num_heads": "attention heads of all blocks",
    "num_offset_heads": f"heads that give one neighbour at least {OFFSET_HEAD:g} of a patch's "
    "attention among patches: the mean over patches that have that neighbour",
    "num_half_plane_heads": f"other heads of whose attention among patches at least "
    f"{HALF_PLANE:g} lies strictly above, below, left or right",
    "distance_renormalised": "mean distance of the attention among patches, in patches; mean over "
    "heads",
    "distance_of_uniform": "the same over that of equal attention to all patches",
    "entropy_all_keys": "of a patch's attention over all keys, prefix tokens included, in nats",
    "position_nats": "ln N − the entropy of the mean attention map over images: what position "
    "alone says; with content_nats and spread_nats it sums to ln N",
    "content_nats": "the entropy of the mean map − the mean entropy of the maps: what the image "
    "adds; at most ln of the number of images",
    "spread_nats": "the mean entropy of the maps, prefix tokens left out",
    "prefix_share": "of the attention of patches, what prefix tokens take",
}


@dataclass(frozen=True, eq=False)
class AttentionResult(TraceResult):
    """The heads of every block, over the images of a trace.

    Attributes:
        trace: what was run.
        heads: every head, block by block.
        pe: the embedding that the page shows the result beside.
    """

    question: ClassVar[str] = "attention"
    definitions: ClassVar[Mapping[str, str]] = DEFINITIONS

    trace: Trace
    heads: tuple[HeadNumbers, ...]
    pe: PositionEmbedding | None = None

    def __repr__(self) -> str:
        return f"AttentionResult({len(self.heads)} heads, {self.trace.images.count} images)"

    @property
    def blocks(self) -> tuple[AttentionSums, ...]:
        """The sums that the numbers are from."""
        return self.trace.attention

    @property
    def notes(self) -> tuple[str, ...]:
        """Every guess and omission, in words."""
        count = self.trace.images.count
        told = [f"content is at most ln {count} nats: few images flatter position"]
        if not self.trace.has_cls:
            told.append("there is no CLS token, and so no cls_map")
        return (*self.run_notes, *told)

    @property
    def offset_heads(self) -> tuple[HeadNumbers, ...]:
        """The heads that give one neighbour at least `OFFSET_HEAD`, most first."""
        found = (head for head in self.heads if head.word == "offset")
        return tuple(sorted(found, key=lambda head: -head.neighbour_attention))

    @property
    def half_plane_heads(self) -> tuple[HeadNumbers, ...]:
        """The other heads that give one side at least `HALF_PLANE`."""
        return tuple(head for head in self.heads if head.word == "half-plane")

    @property
    def finding(self) -> str:
        """How many heads attend by position alone, and which."""
        offset, half, count = self.offset_heads, self.half_plane_heads, len(self.heads)
        said = f"{len(offset)} of {count} heads look mostly at one neighbour{_listed_heads(offset)}"
        said += f"; {len(half)} more at one half of the image{_listed_heads(half)}"
        return f"{said}{self._most_positional} ({count_text(self.trace.images.count, 'image')})."

    @property
    def _most_positional(self) -> str:
        """Where there is no offset head: the head of which position says most, in words."""
        told = [head for head in self.heads if np.isfinite(head.position_nats)]
        if self.offset_heads or not told:
            return ""
        most = max(told, key=lambda head: head.position_nats)
        whole = most.position_nats + most.content_nats + most.spread_nats
        return (
            f"; position says most of {most.layer} head {most.head}: "
            f"{most.position_nats:.2f} of {whole:.2f} nats"
        )

    @cached_property
    def logit_share(self) -> tuple[np.ndarray, ...]:
        """For every block whose logits were taken apart, shares (heads, 3, 3)."""
        return tuple(
            each.logits.terms / each.logits.square[:, None, None]
            for each in self.blocks
            if each.logits is not None
        )

    @cached_property
    def logit_share_block(self) -> tuple[np.ndarray, ...]:
        """The same pooled over the heads of a block, (3, 3)."""
        return tuple(
            each.logits.terms.sum(axis=0) / each.logits.square.sum()
            for each in self.blocks
            if each.logits is not None
        )

    @cached_property
    def by_position_alone(self) -> tuple[HeadNumbers, ...]:
        """What the heads would do if patches were their position vectors and nothing else.

        It is so in the first block, and a proxy behind it; empty where positions are no vectors.
        """
        sides = np.sqrt(self.trace.patch_size[0] * self.trace.patch_size[1])
        blocks = (heads_of(each, float(sides)) for each in self.trace.position_attention)
        return tuple(head for block in blocks for head in block)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what `attention.npz` holds."""
        found: dict[str, np.ndarray] = {}
        for name in _BY_HEAD:
            found |= stacked_by_stage(name, [self._of(block, name) for block in self.blocks])
        found |= stacked_by_stage("offset_profile", [b.offset_profile for b in self.blocks])
        if self.logit_share:
            found |= stacked_by_stage("logit_share", self.logit_share)
            found |= stacked_by_stage("logit_share_block", self.logit_share_block)
        maps = [block.cls_map for block in self.blocks if block.cls_map is not None]
        found |= stacked_by_stage("cls_map", maps) if maps else {}
        return {
            **found,
            "layer_names": np.array([block.layer for block in self.blocks]),
            "grid_size": np.array(self.trace.grid_size),
            "num_images": np.array(self.trace.images.count),
            **self._position_arrays(),
        }

    def _position_arrays(self) -> dict[str, np.ndarray]:
        """Return what position alone would make of attention."""
        alone = self.trace.position_attention
        if not alone:
            return {}
        profiles = stacked_by_stage("position_offset_profile", [b.offset_profile for b in alone])
        return {**profiles, "position_layer_names": np.array([block.layer for block in alone])}

    def _of(self, block: AttentionSums, name: str) -> np.ndarray:
        own = (head for head in self.heads if head.layer == block.layer)
        return np.array([getattr(head, name) for head in own])

    def summary(self) -> dict[str, float]:
        """Return counts of heads, and means over all of them."""
        means = ("distance_renormalised", "distance_of_uniform", "entropy_all_keys",
                 "position_nats", "content_nats", "spread_nats", "prefix_share")  # fmt: skip
        return {
            "num_images": float(self.trace.images.count),
            "num_heads": float(len(self.heads)),
            "num_offset_heads": float(len(self.offset_heads)),
            "num_half_plane_heads": float(len(self.half_plane_heads)),
            **{n: float(np.mean([getattr(head, n) for head in self.heads])) for n in means},
        }

    def rows(self) -> list[dict[str, Any]]:
        """Return one dictionary a head."""
        return [head.row() for head in self.heads]


@questions.register("attention")
def attention(trace: Trace) -> AttentionResult:
    """Answer which heads attend by position.

    Args:
        trace: of a live model, with its attention.

    Raises:
        UsageError: the trace holds no attention.

    Source: arXiv:2212.03862 (offsets and distances), arXiv:2010.11929, Fig. 7 (distance).
    """
    if not trace.attention:
        raise UsageError(
            f"the trace of {trace.source} holds no attention. Run pei.trace with "
            'questions=["attention"] on a model that attends.'
        )
    pixels = float(np.sqrt(trace.patch_size[0] * trace.patch_size[1]))
    stages = (pixels * trace.grid_size[0] / _grid_rows(trace, each) for each in trace.attention)
    heads = (heads_of(each, side) for each, side in zip(trace.attention, stages))
    return AttentionResult(trace, tuple(head for block in heads for head in block))


def _grid_rows(trace: Trace, block: AttentionSums) -> float:
    """Return the rows of the grid that a block's window lies on."""
    by_place = {sums.place: sums.grid_size[0] for sums in trace.normed}
    return float(by_place.get(block.layer, block.grid_size[0]))


def _listed_heads(heads: Sequence[HeadNumbers]) -> str:
    shown = ", ".join(head.in_words for head in heads[:MOST_NAMED])
    more = f" and {len(heads) - MOST_NAMED} more" if len(heads) > MOST_NAMED else ""
    return f": {shown}{more}" if heads else ""
