"""How much of each layer is position: shares of variance, maps, λ, mean colour, causal edits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Final

import numpy as np

from pe_inspect.analysis import questions
from pe_inspect.analysis.common.sentences import count_text, number_text, percent_text
from pe_inspect.analysis.common.stages import stacked_by_stage
from pe_inspect.analysis.common.trace_result import TraceResult
from pe_inspect.analysis.contribution.pca import Colours, colours_of
from pe_inspect.analysis.contribution.variance import linear_cka, omega2_interval, shares_of
from pe_inspect.arrays import Float
from pe_inspect.errors import UsageError
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.traces import Trace

__all__ = ["ContributionResult", "contribution"]

_OMEGA2: Final = "ω², the share of the variance of patch tokens that position explains,"
_EDITS: Final = {
    "zero": "without positions",
    "mean_row": "with the mean of all positions at every patch",
    "shuffled": "with positions that trade places",
    "roll_1": "with positions moved by one column, those of the last column to the first",
    "transposed": "with rows and columns exchanged",
    "flipped": "with left and right exchanged",
    "half": "with half of every position vector",
    "double": "with twice every position vector",
}
DEFINITIONS: Final = {
    "num_images": "how many images the numbers are means over",
    "omega2_first": f"{_OMEGA2} ahead of the first block",
    "omega2_most": f"{_OMEGA2} where it is most",
    "omega2_final": f"{_OMEGA2} behind the last norm",
    "omega2_null_first": "ω² ahead of the first block where every patch has the mean position: "
    "what the images themselves have by place",
    **{f"cls_cosine_{name}": f"mean cosine, at the end, of the CLS token {words} to that of the "
       "model as it is" for name, words in _EDITS.items()},
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class ContributionResult(TraceResult):
    """How much of the residual stream is position, from h0 to behind the last norm.

    Attributes:
        trace: what was run.
        omega2: ω² of position by place, (places,).
        eta2: η² by place, which is biased upwards.
        omega2_null: ω² of the run without positions; NaN where it could not be run.
        omega2_after_norm: ω² of what every block's attention receives, (blocks,).
        pe: the embedding that the page shows the result beside.
    """

    question: ClassVar[str] = "contribution"
    definitions: ClassVar[Mapping[str, str]] = DEFINITIONS

    trace: Trace
    omega2: Float[np.ndarray, " places"]
    eta2: Float[np.ndarray, " places"]
    omega2_null: Float[np.ndarray, " places"]
    omega2_after_norm: Float[np.ndarray, " blocks"]
    pe: PositionEmbedding | None = None

    def __repr__(self) -> str:
        return f"ContributionResult({len(self.omega2)} places, {self.trace.images.count} images)"

    @property
    def parameters(self) -> dict[str, Any]:
        """The choices behind the result, and the seed of what is shuffled."""
        return {**super().parameters, "seed": self.trace.seed}

    @property
    def notes(self) -> tuple[str, ...]:
        """Every guess and omission, in words."""
        told = list(self.run_notes)
        if self.trace.images.count < 2:
            told.append("ω² is undefined for one image")
        if self.trace.shares:
            told.append(
                "λ behind the first block assumes that the vectors survive unchanged; λ are "
                "coefficients, not shares: they sum to 1 or more"
            )
        return tuple(told)

    @property
    def position_maps(self) -> tuple[Float[np.ndarray, "_ _"], ...]:
        """The mean over images of every patch token, less the mean over patches, by place."""
        maps = (sums.patches for sums in self.trace.states["base"])
        return tuple(each - each.mean(axis=0) for each in maps)

    @property
    def grid_sizes(self) -> tuple[tuple[int, int], ...]:
        """(rows, columns) of the patches, by place."""
        return tuple(sums.grid_size for sums in self.trace.states["base"])

    @cached_property
    def colours(self) -> tuple[Colours, ...]:
        """Every position map as red, green and blue."""
        return tuple(map(colours_of, self.position_maps, self.grid_sizes))

    def cosine_map(self, place: int, token: tuple[int, int]) -> Float[np.ndarray, "rows columns"]:
        """Return the cosine of one patch's row of a position map with every patch's.

        Args:
            place: its number.
            token: (row, column) on the grid of the input.
        """
        grid, own = self.grid_sizes[place], self.position_maps[place].astype(np.float64)
        row, column = self.token_at(place, token)
        lengths = np.linalg.norm(own, axis=1)
        unit = own / np.where(lengths > 0, lengths, np.nan)[:, None]
        cosines: np.ndarray = unit @ unit[row * grid[1] + column]
        return cosines.reshape(grid)

    def token_at(self, place: int, token: tuple[int, int]) -> tuple[int, int]:
        """Return where a patch of the input's grid lies on that of a place."""
        sides = zip(token, self.grid_sizes[place], self.grid_sizes[0])
        row, column = (at * side // whole for at, side, whole in sides)
        return row, column

    @cached_property
    def mean_colour_cka(self) -> Float[np.ndarray, " places"]:
        """Linear CKA of each position map with the tokens of one image of the mean colour."""
        pairs = zip(self.position_maps, self.trace.mean_colour)
        return np.array([linear_cka(own, one[len(one) - len(own) :]) for own, one in pairs])

    @cached_property
    def zero_patch_cka(self) -> Float[np.ndarray, " places"]:
        """The same with the tokens of patches whose projection is 0, which no image gives."""
        pairs = zip(self.position_maps, self.trace.zero_patch)
        return np.array([linear_cka(own, one[len(one) - len(own) :]) for own, one in pairs])

    @cached_property
    def omega2_interval(self) -> Float[np.ndarray, "places 2"]:
        """The ends of 95 % intervals of ω² over images; NaN where they were not drawn."""
        base, count = self.trace.states["base"], self.trace.images.count
        return np.array([omega2_interval(sums, count) for sums in base])

    @cached_property
    def omega2_untrained(self) -> Float[np.ndarray, " places"]:
        """ω² of a model of the same shape with fresh weights; NaN where none was run."""
        fresh = self.trace.untrained
        if fresh is None:
            return np.full(len(self.omega2), np.nan)
        shares = (shares_of(sums, fresh.images.count) for sums in fresh.states["base"])
        return np.array([each.omega2 for each in shares])

    @property
    def lambdas(self) -> Float[np.ndarray, "blocks 2"]:
        """λ₁ and λ₂ by block; NaN where they have no meaning."""
        held = {share.layer: (share.content, share.position) for share in self.trace.shares}
        missing = (float("nan"), float("nan"))
        return np.array([held.get(name, missing) for name in self.trace.layer_names])

    @property
    def finding(self) -> str:
        """Where position is most, beside the run without it, and what is left at the end."""
        if np.isnan(self.omega2).all():
            return "The share of position is undefined: it takes two images and two patches."
        place = int(np.nanargmax(self.omega2))
        null = self.omega2_null[place]
        beside = "" if np.isnan(null) else f" ({number_text(null)} without its positions)"
        return (
            f"Position is {percent_text(self.omega2[place])} of the variance of patch tokens at "
            f"{self.trace.places[place]}, where it is most{beside}, and "
            f"{percent_text(self.omega2[-1])} at the end "
            f"({count_text(self.trace.images.count, 'image')})."
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what `contribution.npz` holds."""
        trace = self.trace
        edits = {
            "causal_names": np.array([edit.name for edit in trace.edits]),
            "causal_cls_cosine": np.array([edit.cls_cosine for edit in trace.edits]),
            "causal_patch_cosine": np.array([edit.patch_cosine for edit in trace.edits]),
        }
        if not trace.has_cls:
            del edits["causal_cls_cosine"]
        colour = {"mean_colour_cka": self.mean_colour_cka} if trace.mean_colour else {}
        colour |= {"zero_patch_cka": self.zero_patch_cka} if trace.zero_patch else {}
        return {
            "omega2": self.omega2, "eta2": self.eta2, "omega2_null": self.omega2_null,
            "omega2_after_norm": self.omega2_after_norm, "lambda": self.lambdas,
            **stacked_by_stage("position_maps", self.position_maps), **edits, **colour,
            "omega2_interval": self.omega2_interval, "omega2_untrained": self.omega2_untrained,
            **stacked_by_stage("token_norms", [sums.norm for sums in trace.states["base"]]),
            "layer_names": np.array(trace.layer_names), "places": np.array(trace.places),
            "grid_size": np.array(trace.grid_size), "num_images": np.array(trace.images.count),
        }  # fmt: skip

    def summary(self) -> dict[str, float]:
        """Return the share of position at the ends and where it is most, and the edits' end."""
        edits = {f"cls_cosine_{edit.name}": float(edit.cls_cosine[-1])
                 for edit in self.trace.edits if edit.cls_cosine is not None}  # fmt: skip
        return {
            "num_images": float(self.trace.images.count),
            "omega2_first": float(self.omega2[0]),
            "omega2_most": float(np.max(self.omega2)),
            "omega2_final": float(self.omega2[-1]),
            "omega2_null_first": float(self.omega2_null[0]),
            **edits,
        }

    def rows(self) -> list[dict[str, Any]]:
        """Return one dictionary a place."""
        shares = {f"h{self.trace.layer_names.index(s.layer)}": s for s in self.trace.shares}
        after = {f"h{i}": value for i, value in enumerate(self.omega2_after_norm)}
        nan = float("nan")
        colours = self.mean_colour_cka if self.trace.mean_colour else [nan] * len(self.omega2)
        rows = []
        for i, place in enumerate(self.trace.places):
            share = shares.get(place)
            rows.append({
                "place": place, "omega2": self.omega2[i], "eta2": self.eta2[i],
                "omega2_null": self.omega2_null[i], "omega2_after_norm": after.get(place, nan),
                "omega2_low": self.omega2_interval[i, 0], "omega2_high": self.omega2_interval[i, 1],
                "omega2_untrained": self.omega2_untrained[i],
                "lambda_content": share.content if share else nan,
                "lambda_position": share.position if share else nan,
                "lambda_correlation": share.correlation if share else nan,
                "mean_colour_cka": float(colours[i]),
                **{f"patch_cosine_{e.name}": e.patch_cosine[i] for e in self.trace.edits},
                **{f"cls_cosine_{e.name}": e.cls_cosine[i] for e in self.trace.edits
                   if e.cls_cosine is not None},
            })  # fmt: skip
        return rows


@questions.register("contribution")
def contribution(trace: Trace) -> ContributionResult:
    """Answer how much of each layer is position.

    Args:
        trace: of a live model.

    Raises:
        UsageError: it holds no base run.

    Source: arXiv:2310.04861 (position maps), LaPE: ICCV 2023, Eq. 6–7 (λ).
    """
    if not trace.states.get("base"):
        raise UsageError(f"the trace of {trace.source} holds no base run. Run pei.trace again.")
    count, base = trace.images.count, trace.states["base"]
    found = [shares_of(sums, count) for sums in base]
    null = [shares_of(sums, count).omega2 for sums in trace.states.get("null", ())]
    normed = {sums.place: shares_of(sums, count).omega2 for sums in trace.normed}
    return ContributionResult(
        trace, np.array([each.omega2 for each in found]), np.array([each.eta2 for each in found]),
        np.array(null or [float("nan")] * len(base)),
        np.array([normed.get(name, float("nan")) for name in trace.layer_names]),
    )  # fmt: skip
