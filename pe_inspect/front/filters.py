"""The filters that make patches, asked of any checkpoint."""

from __future__ import annotations

from typing import Final

from pe_inspect.analysis.filters import FiltersResult, PatchKernel
from pe_inspect.analysis.filters import filters as analysed
from pe_inspect.errors import NoPositionEmbedding, UsageError
from pe_inspect.front import OpenedCheckpoint
from pe_inspect.front.adapted import signed_as
from pe_inspect.front.subject import Subject, checkpoint_of
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["filters", "filters_of"]

_SUBJECTS: Final = (
    "The first argument may be a whole checkpoint: a `Checkpoint`, a path or a name, a module or a "
    "state dict;\nor a `PatchKernel`. `family` chooses the table that is compared."
)


@signed_as(analysed, _SUBJECTS, annotation="Subject")
def filters(
    subject: Subject | PatchKernel,
    pe: PositionEmbedding | None = None,
    *,
    family: str | None = None,
) -> FiltersResult:
    """Say what the filters that make patches look for, and what of a table lies among them."""
    if isinstance(subject, PatchKernel):
        answer: FiltersResult = analysed(subject, pe)
        return answer
    checkpoint = checkpoint_of(subject, family)
    tables = subject.tables if isinstance(subject, OpenedCheckpoint) else _tables(checkpoint)
    return filters_of(checkpoint, tables if pe is None else (pe,))


def filters_of(checkpoint: Checkpoint, tables: tuple[PositionEmbedding, ...]) -> FiltersResult:
    """Return the filters of a checkpoint, and of its embeddings the first that has their channels.

    Raises:
        UsageError: no single convolution makes its patches.
    """
    from pe_inspect.families.reading.filters import patch_filters
    from pe_inspect.families.trunk import Trunk

    vectors = [pe for pe in tables if pe.tables and pe.scheme_kind.has_token_rows]
    found = patch_filters(Trunk(checkpoint), vectors[0].embed_dim if vectors else None)
    if found is None:
        raise UsageError(
            f"filters: no single convolution makes the patches of {checkpoint.source} from an "
            "image: patches lie behind a stem, or are made by a matrix. The filters of a plain "
            "ViT's patch_embed.proj can be asked."
        )
    kernel = PatchKernel(*found, source=checkpoint.source)
    fitting = (pe for pe in vectors if pe.embed_dim == len(kernel.values))
    answer: FiltersResult = analysed(kernel, next(fitting, None))
    return answer


def _tables(checkpoint: Checkpoint) -> tuple[PositionEmbedding, ...]:
    """The embeddings of a checkpoint; none where it holds none: it has filters all the same."""
    from pe_inspect.families import extract

    try:
        return extract(checkpoint)
    except NoPositionEmbedding:
        return ()
