"""What is wrong with a checkpoint, in one form for every check, whichever room it lives in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

__all__ = ["Finding", "RunsIn", "Severity"]

Severity = Literal["error", "warning"]
RunsIn = Literal["", "shell", "python"]


@dataclass(frozen=True)
class Finding:
    """One thing that a check found: what was seen, why it matters, what to do.

    Attributes:
        code: the finding's name, for scripts and for `--allow`: `"untrained"`.
        where: the tensor, layer or package that it is about.
        message: what was seen, with its numbers.
        why: what follows from it.
        mend: what to do; the first line is a command wherever one mends it.
        evidence: the numbers of the message by name.
        severity: `"error"` where the model cannot work as it is, else `"warning"`.
        runs_in: where `mend` is pasted as it is: a shell, or Python that holds the file's tensors
            as `state`; empty where it is words.
    """

    code: str
    where: str
    message: str
    why: str
    mend: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    severity: Severity = "warning"
    runs_in: RunsIn = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "evidence", MappingProxyType(dict(self.evidence)))

    def as_dict(self) -> dict[str, Any]:
        """Return the finding as one JSON object."""
        return {
            "code": self.code,
            "severity": self.severity,
            "where": self.where,
            "message": self.message,
            "why": self.why,
            "evidence": dict(self.evidence),
            "mend": self.mend,
            "runs_in": self.runs_in,
        }
