"""What the doctor's checks found in one embedding, or in a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final

from pe_inspect.analysis.common.notebook_repr import Shown
from pe_inspect.analysis.common.sentences import count_text
from pe_inspect.diagnosis.ranked import Ranked
from pe_inspect.finding import Finding
from pe_inspect.kinds.position_embedding import PositionEmbedding

__all__ = ["Diagnosis"]

_MEASURED: Final = {
    "neighbour_correlation": "Moran's I: the mean inner product of neighbouring rows over that of "
    "a row with itself, the mean row taken out; 0 where neighbours are no more alike than any two",
}


@dataclass(frozen=True)
class Diagnosis(Shown):
    """What the checks found.

    Attributes:
        findings: what is wrong, in the order of the checks.
        checks: the names of those that ran on every subject of this sort.
        notes: what is true and harmless: rows for prefix tokens, which half encodes which axis.
        tables: the embeddings that were examined.
        readings: of every table of a file, the likeliest first; of an embedding alone, none.
        numbers: what was measured beside the checks.
        allowed: what was found too, and accepted.
    """

    findings: tuple[Finding, ...]
    checks: tuple[str, ...]
    notes: tuple[str, ...] = ()
    tables: tuple[PositionEmbedding, ...] = field(default=(), repr=False, compare=False)
    readings: tuple[Ranked, ...] = field(default=(), repr=False, compare=False)
    numbers: dict[str, float] = field(default_factory=dict)
    allowed: tuple[Finding, ...] = ()
    question: ClassVar[str] = "doctor"
    is_drawn: ClassVar[bool] = False

    def __repr__(self) -> str:
        found = "healthy" if self.healthy else count_text(len(self.findings), "finding")
        return f"Diagnosis({self.family}, {len(self.checks)} checks, {found})"

    @property
    def pe(self) -> PositionEmbedding | None:
        """The embedding that was examined, where it is one."""
        return self.tables[0] if len(self.tables) == 1 else None

    @property
    def family(self) -> str:
        """The schemes that were examined."""
        return ", ".join(pe.family for pe in self.tables)

    @property
    def healthy(self) -> bool:
        """Whether no check found anything."""
        return not self.findings

    @property
    def finding(self) -> str:
        """The diagnosis in one sentence: how many checks, and the codes of what they found."""
        made = count_text(len(self.checks), "check")
        accepted = f", {len(self.allowed)} allowed ({_codes(self.allowed)})" if self.allowed else ""
        if self.healthy:
            return f"Healthy: {made} found nothing{accepted}."
        found = f"{count_text(len(self.findings), 'finding')} in {made}: {_codes(self.findings)}"
        return f"{found}{accepted}."

    @property
    def parameters(self) -> dict[str, Any]:
        """The checks that ran."""
        return {"checks": list(self.checks)}

    def without(self, codes: Collection[str]) -> Diagnosis:
        """Return the diagnosis without the findings of some codes, which are accepted."""
        known = tuple(finding for finding in self.findings if finding.code in codes)
        others = tuple(finding for finding in self.findings if finding.code not in codes)
        return replace(self, findings=others, allowed=(*self.allowed, *known))

    def summary(self) -> dict[str, float]:
        """How many findings there are of each code, and what was measured."""
        counts = Counter(finding.code for finding in self.findings)
        by_code = {code: float(count) for code, count in counts.items()}
        return {"findings": float(len(self.findings)), **by_code, **self.numbers}

    def defined(self) -> dict[str, str]:
        """The definition of every number of `summary()`."""
        known = {"findings": "what the checks found, without what is allowed", **_MEASURED}
        return {name: known.get(name, f"findings of the code {name}") for name in self.summary()}

    def to_frame(self) -> Any:
        """One row a finding, as a pandas data frame."""
        import pandas as pd

        columns = ["code", "severity", "where", "message", "why", "mend"]
        rows = [[getattr(finding, name) for name in columns] for finding in self.findings]
        return pd.DataFrame(rows, columns=columns)


def _codes(findings: Sequence[Finding]) -> str:
    """Return the codes, each once, with how often it was found where that is more than once."""
    counts = Counter(finding.code for finding in findings)
    return ", ".join(f"{code} ({n})" if n > 1 else code for code, n in counts.items())
