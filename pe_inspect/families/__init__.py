"""The families room: one file a scheme, each of which knows how files store that scheme.

A new scheme is one new module here that registers a `Family`; nothing else changes. What several
schemes share (names, grids, norms) lives in `trunk` and `reading/`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from pe_inspect.errors import AmbiguousCheckpoint, NoPositionEmbedding, UndecidedGrid, UnfitShapes
from pe_inspect.families.reading.tower_config import tower_type
from pe_inspect.families.trunk import Trunk
from pe_inspect.kinds.parts import FamilyFacts
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.loading.checkpoint import Checkpoint
from pe_inspect.registry import Registry

__all__ = ["Family", "extract", "families"]


@dataclass(frozen=True)
class Family:
    """One scheme: what it is called, what it looks like in a file, and how to read it.

    Attributes:
        name: the registered name, which is also `PositionEmbedding.family`.
        looks_for: one sentence about the tensors that give it away.
        example: a model or a repository whose checkpoints hold it.
        detect: whether a trunk holds the scheme; reads shapes, and at most one table.
        extract: reads the scheme, one embedding for every place where it enters the model.
        facts: what holds of each of its embeddings; they carry it.
        reads_frames: whether a grid (T, H, W) that is said is for it; others are told none.
    """

    name: str
    looks_for: str
    example: str
    detect: Callable[[Trunk], bool]
    extract: Callable[[Trunk], tuple[PositionEmbedding, ...]]
    facts: FamilyFacts = field(default_factory=FamilyFacts)
    reads_frames: bool = False


families: Final[Registry[Family]] = Registry(
    "family", "pe_inspect.families", helpers=("reading", "structure", "trunk")
)

_ORDER: Final = ("vectors", "bias", "relative", "phases", "function")


def extract(checkpoint: Checkpoint, *, with_sha256: bool = True) -> tuple[PositionEmbedding, ...]:
    """Return every position embedding of a checkpoint: tables first, then what acts in attention.

    Args:
        checkpoint: what `pe_inspect.load` returned; its `hints` say what the file does not.
        with_sha256: hash the weight file for provenance, which reads all of it once.

    Raises:
        NoPositionEmbedding: none was found; the message tells "not stored" from "none".
        AmbiguousCheckpoint: several readings fit and none is the ordinary one, or a hint
            contradicts the file.
        UsageError: `hints.family`, `hints.join` or `hints.arch` names something unknown.
    """
    if checkpoint.format == "pe" and checkpoint.path is not None:
        return (PositionEmbedding.open(checkpoint.path),)
    from pe_inspect.families.reading import stated

    trunk = Trunk(checkpoint)
    stated.refuse_other_model(trunk)
    stated.refuse_other_patch(trunk)
    stated.refuse_other_arch(trunk)
    found = _found(trunk)
    stated.refuse_other_heads(trunk)
    if not found:
        from pe_inspect.families.reading.missing import explain
        from pe_inspect.families.structure.candidates import candidates

        what = explain(trunk, list(families), _others(trunk), candidates(trunk))
        raise NoPositionEmbedding("\n".join(filter(None, (what, _offered(trunk)))))
    said = stated.notes_on_flags(trunk)
    if not all(pe.has_places for pe in found):
        said = (*said, *filter(None, [_offered(trunk)]))
    digest = checkpoint.sha256 if with_sha256 else ""
    return tuple(
        replace(
            pe,
            source=checkpoint.source,
            sha256=digest,
            notes=tuple(dict.fromkeys((*checkpoint.notes, *pe.notes, *said))),
            architecture=checkpoint.hints.arch or _made_here(checkpoint),
            library=trunk.library,
            model_type=tower_type(trunk.config),
            facts=families[pe.family].facts,
        )
        for pe in sorted(found, key=lambda pe: _ORDER.index(pe.kind))
    )


def _offered(trunk: Trunk) -> str:
    """Offer the architecture that the file's name may be that of."""
    from pe_inspect.families.structure.offered import offered_arch

    return offered_arch(trunk.checkpoint)


def _made_here(checkpoint: Checkpoint) -> str | None:
    """Name the scheme of a model that `train` made: its tables may have another model's names."""
    config = checkpoint.metadata.get("config")
    if not isinstance(config, dict) or not isinstance(config.get("recipe"), dict):
        return None
    model = config.get("model")
    scheme = model.get("scheme") if isinstance(model, dict) else None
    return f"pe-inspect:{scheme}" if isinstance(scheme, str) else None


def _found(trunk: Trunk) -> list[PositionEmbedding]:
    """Read by names, then by structure what names leave open."""
    found, refusal = _read_by_names(trunk)
    is_read = len(trunk) < 2 or _is_whole(trunk, found)
    if trunk.hints.tower == "text" or is_read:
        if refusal is not None:
            raise refusal
        return found
    from pe_inspect.families.structure.reconcile import reconciled
    from pe_inspect.families.structure.structure import Structure

    return reconciled(Structure(trunk), found, refusal)


def _is_whole(trunk: Trunk, found: list[PositionEmbedding]) -> bool:
    """Whether names tell all that a file holds, and its grid is said or shown."""
    if not (found and trunk.is_plain):
        return False
    if trunk.is_sized:
        return True
    from pe_inspect.families.structure.plain import speaks_for

    return len(found) == 1 and speaks_for(trunk, found[0])


def _read_by_names(trunk: Trunk) -> tuple[list[PositionEmbedding], AmbiguousCheckpoint | None]:
    """Ask every family; return what they read, and why one of them could not decide.

    Raises:
        AmbiguousCheckpoint: the file contradicts itself or a flag.
    """
    wanted, found = trunk.hints.family, list[PositionEmbedding]()
    refusal: AmbiguousCheckpoint | None = None
    for family in [families[wanted]] if wanted else list(families.values()):
        told = trunk if family.reads_frames else trunk.told_flat
        try:
            if family.detect(told):
                found += family.extract(told)
        except UnfitShapes as error:  # no reason to read nothing else
            what = f"{trunk.source} has the names of {family.name} and other shapes"
            refusal = refusal or UnfitShapes(f"{what}: {error}")
        except UndecidedGrid as error:
            refusal = refusal or error
    return found, refusal


def _others(trunk: Trunk) -> list[str]:
    """Name the families that the file holds, where the user asked for one that it does not."""
    if trunk.hints.family is None:
        return []
    return [name for name, family in families.items() if family.detect(trunk)]
