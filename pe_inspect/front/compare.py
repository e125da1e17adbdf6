"""Several subjects side by side: their embeddings, their names, and whose seeds they are."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pe_inspect.analysis.compare import CompareResult
from pe_inspect.analysis.compare import compare as compared
from pe_inspect.checkpoint_files import recipe_of
from pe_inspect.errors import UsageError
from pe_inspect.front import OpenedCheckpoint
from pe_inspect.front.subject import Subject, each_of, opened
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.page.subjects import unique_labels

__all__ = ["compare"]


def compare(
    *subjects: Subject | Iterable[Subject],
    family: str | None = None,
    labels: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
    **options: Any,
) -> CompareResult:
    """Set several embeddings side by side: in one sentence, in numbers, and on one scale.

    All are brought onto the smallest grid among them, each by its own library's rule, and their
    layers are matched by relative depth. What a scheme's map shows may differ: correlations and
    CKA do not depend on units, differences are given where the values share a range.

    Args:
        subjects: one after the other, or as one list: each a `PositionEmbedding`, what
            `pe_inspect.similarity` answered, a `Checkpoint`, a path or a name, a module or a state
            dict. Where one holds several schemes, all of them are compared.
        family: look for this scheme only.
        labels: a short name each; by default file names, with as much around them as is needed.
        groups: what each belongs to; by default runs of ours that differ in their seed alone are
            one group, named after their recipe.
        options: `layer`, `head`, `token` and `ln_eps`, as `pe_inspect.similarity` takes them.

    Raises:
        UsageError: fewer than two embeddings are left that can be compared.
        NoPositionEmbedding: a checkpoint holds none.

    Example:
        >>> pe_inspect.compare("deit.pth", "lape.pth").finding

    Source: Kornblith et al., ICML 2019; Song et al., JMLR 2012; Williams et al., NeurIPS 2021.
    """
    given = [one for each in subjects for one in each_of(each)]
    found = [pair for one in given for pair in _embeddings(one, family)]
    pes = [getattr(item, "pe", item) for item, _ in found]
    names = unique_labels(pes) if labels is None else _checked(labels, len(found))
    of = _groups(names, [origin for _, origin in found]) if groups is None else groups
    result: CompareResult = compared([item for item, _ in found], names, groups=of, **options)
    return result


def _embeddings(subject: Any, family: str | None) -> list[tuple[Any, str | None]]:
    """Return what is compared of one subject, each with the place of its file."""
    if isinstance(subject, PositionEmbedding) or hasattr(subject, "affinities"):
        return [(subject, getattr(subject, "pe", subject).source)]
    found: OpenedCheckpoint = opened(subject, family)
    place = found.checkpoint.path
    return [(pe, None if place is None else os.fspath(place)) for pe in found.tables]


def _checked(labels: Sequence[str], count: int) -> list[str]:
    if len(labels) != count or len(set(labels)) != count:
        raise UsageError(
            f"compare was given {len(labels)} labels ({len(set(labels))} different ones) for "
            f"{count} embeddings; give each its own."
        )
    return list(labels)


def _groups(labels: Sequence[str], origins: Sequence[str | None]) -> list[str]:
    """Return the recipe of runs that differ in their seed alone; else each one's own label."""
    recipes = [recipe_of(Path(place)) if place else None for place in origins]
    counts = Counter(recipe for recipe in recipes if recipe is not None)
    return [
        label if recipe is None or counts[recipe] < 2 else recipe[0]
        for label, recipe in zip(labels, recipes)
    ]
