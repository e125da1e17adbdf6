"""The doctor, asked of any subject."""

from __future__ import annotations

from pe_inspect.diagnosis.diagnosis import Diagnosis
from pe_inspect.diagnosis.doctor import doctor as examined
from pe_inspect.front.subject import Subject, checkpoint_of
from pe_inspect.kinds.position_embedding import PositionEmbedding

__all__ = ["doctor"]


def doctor(
    subject: Subject,
    *,
    family: str | None = None,
    expect: int | None = None,
    expect_res: int | tuple[int, int] | None = None,
    against: Subject | None = None,
    ask_timm: bool = False,
) -> Diagnosis:
    """Run every check on a checkpoint, or those of arrays on one embedding.

    Args:
        subject: a `PositionEmbedding`, which is examined alone; or a whole checkpoint: a
            `Checkpoint`, a path or a name, a module or a state dict.
        family: look for this scheme only.
        expect: the rows that a model expects of the table.
        expect_res: the image size that a model is built for, in pixels: R or (height, width).
        against: a checkpoint whose model it should fit, given as `subject` is.
        ask_timm: also have the installed timm resample a table, which imports it.

    Returns:
        A diagnosis without findings where the subject is healthy.

    Raises:
        NoPositionEmbedding: the file holds none, and nothing else is wrong with it.
        UnreadableCheckpoint: there is no such file, or it is damaged.
        UsageError: something is expected that cannot be counted, or of an embedding alone; or the
            subject is nothing that could hold an embedding.
    """
    return examined(
        subject if isinstance(subject, PositionEmbedding) else checkpoint_of(subject, family),
        expect=expect,
        expect_res=expect_res,
        against=None if against is None else checkpoint_of(against),
        ask_timm=ask_timm,
    )
