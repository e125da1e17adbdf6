"""The doctor's checks: a new check is one function in this folder, whatever it looks at.

    @on_embedding("constant")
    def constant(pe: PositionEmbedding) -> Iterator[Finding]: ...

    @on_file("index-buffer")
    def index_buffer(checkpoint: Checkpoint) -> Iterator[Finding]: ...

    @on_case("expected-rows", codes=("mismatch-rows",))
    def expected_rows(case: Case) -> Iterator[Finding]: ...

A check yields what it found and nothing else; what is healthy yields nothing. It draws a conclusion
only from numbers that it puts into the finding's evidence. It declares the codes of its findings
where they are not its own name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, TypeVar

from pe_inspect.diagnosis.case import Case, Expected
from pe_inspect.finding import Finding
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.loading.checkpoint import Checkpoint
from pe_inspect.registry import Registry

__all__ = ["Check", "checks", "checks_of", "on_case", "on_embedding", "on_file"]

Sort: TypeAlias = Literal["case", "file", "embedding"]
T = TypeVar("T", Case, Checkpoint, PositionEmbedding)
Finder: TypeAlias = Callable[[T], Iterator[Finding]]


def always(_: Expected) -> bool:
    """Ask whatever is expected."""
    return True


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: its word in the list of checks.
        sort: what it looks at: a file, an embedding, or the whole case with what is expected.
        codes: of the findings that it can give.
        find: the function.
        is_asked: whether it looks at anything, by what is expected of the file.
    """

    name: str
    sort: Sort
    codes: tuple[str, ...]
    find: Callable[[Any], Iterator[Finding]]
    is_asked: Callable[[Expected], bool] = always

    def __call__(self, subject: Case | Checkpoint | PositionEmbedding) -> Iterator[Finding]:
        """Yield what it finds.

        Raises:
            ValueError: it gave a finding whose code it does not declare.
        """
        for finding in self.find(subject):
            if finding.code not in self.codes:
                raise ValueError(f"check {self.name!r} does not declare {finding.code!r}")
            yield finding


checks: Final[Registry[Check]] = Registry("check", "pe_inspect.diagnosis.checks")


def checks_of(sort: Sort) -> tuple[Check, ...]:
    """Return the checks of one sort, in the order of their files."""
    return tuple(check for check in checks.values() if check.sort == sort)


def _entering(
    sort: Sort, name: str, codes: Sequence[str], is_asked: Callable[[Expected], bool] = always
) -> Callable[[Finder[T]], Finder[T]]:
    def enter(find: Finder[T]) -> Finder[T]:
        checks.register(name)(Check(name, sort, tuple(codes) or (name,), find, is_asked))
        return find

    return enter


def on_embedding(
    name: str, *, codes: Sequence[str] = ()
) -> Callable[[Finder[PositionEmbedding]], Finder[PositionEmbedding]]:
    """Return a decorator that enters a check of one embedding's arrays."""
    return _entering("embedding", name, codes)


def on_file(
    name: str, *, codes: Sequence[str] = ()
) -> Callable[[Finder[Checkpoint]], Finder[Checkpoint]]:
    """Return a decorator that enters a check of a file's names, shapes, types and buffers."""
    return _entering("file", name, codes)


def on_case(
    name: str, *, codes: Sequence[str] = (), is_asked: Callable[[Expected], bool] = always
) -> Callable[[Finder[Case]], Finder[Case]]:
    """Return a decorator that enters a check of how a file is read and what is expected of it.

    Args:
        name: the check's.
        codes: of its findings.
        is_asked: whether it looks at anything, by what is expected.
    """
    return _entering("case", name, codes, is_asked)
