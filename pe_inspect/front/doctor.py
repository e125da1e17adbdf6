"""The doctor, asked of any subject."""

from __future__ import annotations

from typing import Any, Final

from pe_inspect.diagnosis.diagnosis import Diagnosis
from pe_inspect.diagnosis.doctor import doctor as examined
from pe_inspect.front.adapted import signed_as
from pe_inspect.front.subject import Subject, checkpoint_of
from pe_inspect.kinds.position_embedding import PositionEmbedding

__all__ = ["doctor"]

_SUBJECTS: Final = (
    "The first argument may be a `PositionEmbedding`, which is examined alone; or a whole "
    "checkpoint: a\n`Checkpoint`, a path or a name, a module or a state dict. `against` takes the "
    "same.\n`family` looks for one scheme only."
)


@signed_as(examined, _SUBJECTS, annotation="Subject")
def doctor(
    subject: Subject, *, family: str | None = None, against: Subject | None = None, **options: Any
) -> Diagnosis:
    """Run every check on a checkpoint, or those of arrays on one embedding."""
    return examined(
        subject if isinstance(subject, PositionEmbedding) else checkpoint_of(subject, family),
        against=None if against is None else checkpoint_of(against),
        **options,
    )
