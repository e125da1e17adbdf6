"""The section `contribution`: how much of each layer is position?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from pe_inspect.page.content import Definition, Fact, Section
from pe_inspect.page.map_frames import position_map_frames
from pe_inspect.page.result_parts import defined, parameters_of, pictures, table_of
from pe_inspect.page.sections import sections
from pe_inspect.page.subjects import Subject
from pe_inspect.page.views import Track, View

if TYPE_CHECKING:
    from pe_inspect.analysis.contribution import ContributionResult

_READING: Final = (
    "ω² is the share of the variance of a layer's patch tokens that their place explains; beside "
    "it stands the same model without positions, which shows what the images themselves have by "
    "place. A position map is what is left of tokens when the images are averaged out: its cosines "
    "show which places the layer takes to be alike. Edits show what the model makes of positions: "
    "the lower a line ends, the more it depends on them."
)
_CAVEATS: Final = (
    "A large share is not a large use: the edits show what follows from positions.",
    "ω² depends on the images, most in late layers: their source and number stand beside it.",
)
_FORMULA: Final = (
    "x_ip = μ + a_p + b_i + r_ip; ω² = (SS_pos − (N − 1) MS_res) / (SS_tot + MS_res); the position "
    "map is a_p; LN(x̃ + ω) = λ₁ LN(x̃) + λ₂ LN(ω)"
)


@sections.register("contribution")
def contribution(subject: Subject) -> Section:
    """Word where position is most of a layer, and what is left at the end.

    Raises:
        NotAsked: no model was run.
        UsageError: why it was not.
    """
    result: ContributionResult = subject.handed_in("contribution")
    finding = result.finding
    first = ("contribution_similarity", "contribution")
    cosines, *plates = pictures(result, finding, first=first, dpi=subject.dpi)
    return Section(
        stem="contribution",
        title="Contribution",
        question="How much of each layer is position?",
        finding=finding,
        figures=(cosines,),
        how_to_read=_READING,
        definition=Definition(
            "A two-way analysis of variance of patch tokens over images and positions, without "
            "replication, all channels together.",
            _FORMULA,
            "arXiv:2310.04861 (position maps); LaPE (ICCV 2023), Eq. 6–7 (λ)",
            tuple(result.defined().items()),
        ),
        tables=(table_of("by place in the stream", result.rows(), "contribution"),),
        facts=_facts(result),
        caveats=_CAVEATS,
        notes=result.notes,
        parameters=parameters_of(result),
        views=_views(subject, result),
        plates=tuple(plates),
    )


def _views(subject: Subject, result: ContributionResult) -> tuple[View, ...]:
    frames = position_map_frames(result)
    shares = np.nan_to_num(result.omega2, nan=-np.inf)
    title = "Position maps: every patch with every other, in every layer"
    note = "h0 is ahead of the first block, h1 behind it, and so on; final is behind the last norm."
    track = Track(subject.label, frames)
    return (
        View("similarity", "contribution-view", title, "layer", (track,), "cosine of position maps",
             start=int(np.argmax(shares)), notes=(note,)),
    )  # fmt: skip


def _facts(result: ContributionResult) -> tuple[Fact, ...]:
    numbers = result.summary()
    count = f"share of variance, {result.trace.images.count} images"
    facts = [
        Fact("Position, at most", numbers["omega2_most"], f"ω²: {count}"),
        Fact("Position, at the end", numbers["omega2_final"], "ω² behind the last norm"),
    ]
    if "cls_cosine_zero" in numbers:
        alike = "cosine of CLS at the end"
        facts.append(Fact("Without positions", numbers["cls_cosine_zero"], alike))
    return defined(*facts)
