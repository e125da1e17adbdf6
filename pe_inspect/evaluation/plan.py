"""What is run, in which order, and how much work each run is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from pe_inspect.analysis.evaluate import Condition
from pe_inspect.analysis.interpolate import METHODS, InterpolationResult, interpolate
from pe_inspect.errors import UsageError
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.live.change import Change, NotApplicable
from pe_inspect.live.host import Host
from pe_inspect.registry import did_you_mean
from pe_inspect.resampling.methods import methods as known
from pe_inspect.resampling.refusals import needs_nothing, refuse_other_kinds

__all__ = [
    "NATIVE",
    "ImagePass",
    "ablations",
    "asked_methods",
    "refuse_idle",
    "refuse_missing",
    "refuse_unsuited",
    "resamplings",
    "sized",
]

NATIVE: Final = "native"
OWN: Final = "own"
LIST: Final = "all"
SAME: Final = 1e-6  # methods are the original libraries' to that


@dataclass(frozen=True, eq=False)
class ImagePass:
    """One pass over the images.

    Attributes:
        condition: what is done to positions or patches.
        host: the model, at the size of the run.
        method: how positions come to its grid.
        rule: the plain method that it comes down to; `"own"` for the model's.
        change: of the positions, at the model's own size.
        put: the resampled embeddings that the model is handed, by that method.
    """

    condition: Condition
    host: Host
    method: str = NATIVE
    rule: str = OWN
    change: Change | None = None
    put: tuple[InterpolationResult, ...] = field(default=())

    @property
    def res(self) -> tuple[int, int]:
        """(height, width) of the images."""
        return self.host.res

    @property
    def grid_size(self) -> tuple[int, int]:
        """(rows, columns) of patches."""
        (height, width), (down, across) = self.host.res, self.host.patch_size
        return height // down, width // across

    @property
    def work(self) -> float:
        """Tokens an image, for the time that is left."""
        return float(self.grid_size[0] * self.grid_size[1])

    @contextmanager
    def exchanged(self) -> Iterator[None]:
        """Let the model have the positions of this run for a while.

        Raises:
            NotApplicable: it has no place for them, or the change no meaning.
        """
        with ExitStack() as stack:
            for result in self.put:
                stack.enter_context(self.host.put(result.pe, result.embedding(self.method)))
            if self.change is not None:
                stack.enter_context(self.host.change(self.change))
            yield

    def is_like(self, other: ImagePass) -> bool:
        """Whether both run the very same model: equal changes, and equal tables to 1e-6."""
        if (self.condition == "permuted") != (other.condition == "permuted"):
            return False
        if self.res != other.res or (self.change or Change()) != (other.change or Change()):
            return False
        return len(self.put) == len(other.put) and all(
            np.allclose(mine.after, its.after, rtol=0, atol=SAME)
            for a, b in zip(self.put, other.put)
            for mine, its in zip(a.tables(self.method), b.tables(other.method))
        )

    @property
    def name(self) -> str:
        """What is being done, for a progress line."""
        factor = f" by {self.change.alpha:g}" if self.condition == "scaled" and self.change else ""
        by = f" by {self.method}" if self.condition == "plain" else ""
        return f"{self.condition}{factor} at {self.res[0]}×{self.res[1]}{by}"


def asked_methods(method: str) -> tuple[str, ...]:
    """Return the names of `--method`, each once.

    Raises:
        UsageError: there are none, or one is unknown.
    """
    names = tuple(dict.fromkeys(name.strip() for name in method.split(",") if name.strip()))
    if not names:
        raise UsageError(
            "--method names no method. Pass native, all, or names of `pe-inspect interpolate "
            "--method list`."
        )
    for name in names:
        if name != LIST and name not in METHODS:
            raise UsageError(did_you_mean("method", name, [*METHODS, LIST]))
    return names


def refuse_idle(names: Sequence[str], *, with_sizes: bool) -> None:
    """Refuse methods where no size is given that they would lead to.

    Raises:
        UsageError: with the option that is missing.
    """
    others = _beside_native(names)
    if others and not with_sizes:
        raise UsageError(
            f"--method {','.join(others)} is how positions come to another size, and none is "
            "given. Pass --res 24,32,48 with it, or leave --method out."
        )


def refuse_unsuited(tables: Sequence[PositionEmbedding], names: Sequence[str]) -> None:
    """Refuse a method for another kind of scheme than any of the model's; whatever the size.

    Raises:
        UsageError: with the methods that apply.
    """
    resampled = [pe for pe in tables if not needs_nothing(pe)]
    for name in _beside_native(names):
        if resampled and name != LIST and not any(known[name].suits(pe) for pe in resampled):
            refuse_other_kinds(resampled[0], known[name])


def refuse_missing(
    names: Sequence[str], runs: Sequence[ImagePass], refused: Mapping[str, UsageError]
) -> None:
    """Refuse a method by name that applies at no size that was asked for.

    Raises:
        UsageError: that of the first embedding and size.
    """
    done = {run.method for run in runs}
    for name in _beside_native(names):
        if name in refused and name not in done:
            raise refused[name]


def _beside_native(names: Sequence[str]) -> list[str]:
    return [name for name in names if name != NATIVE]


def ablations(
    host: Host, alphas: Sequence[float], *, shuffle: bool, remove: bool, seed: int
) -> Iterator[ImagePass]:
    """Yield the runs with changed positions, at the model's own size."""
    for alpha in dict.fromkeys(alphas):
        yield ImagePass("scaled", host, change=Change(alpha))
    if shuffle:
        yield ImagePass("shuffled", host, change=Change(seed=seed))
    if remove:
        yield ImagePass("removed", host, change=Change(0.0))


def resamplings(
    host: Host,
    res: tuple[int, int],
    tables: Sequence[PositionEmbedding],
    names: Sequence[str],
    notes: list[str],
    refused: dict[str, UsageError],
) -> Iterator[ImagePass]:
    """Yield the runs at one size: by the model's own rule, then by each method that applies.

    What does not apply is a note instead, and is entered in `refused` where it was named.
    """
    try:
        other = host.at(res)
    except NotApplicable as error:
        notes.append(f"at {sized(res)} nothing was evaluated: {error}")
        return
    yield ImagePass("plain", other)
    methods = _beside_native(names)
    for method, found in _by_method(other, tables, methods, notes, refused).items():
        rule = found[0].rules[method]
        yield ImagePass("plain", other, method, rule, put=tuple(found))


def _by_method(
    host: Host,
    tables: Sequence[PositionEmbedding],
    methods: Sequence[str],
    notes: list[str],
    refused: dict[str, UsageError],
) -> dict[str, list[InterpolationResult]]:
    """Return, for each method, the embeddings that it applies to, on the host's grid."""
    found: dict[str, list[InterpolationResult]] = {}
    if methods and not tables:
        notes.append(f"{', '.join(methods)}: there is no position embedding to resample")
    for pe in tables:
        for asked in methods:
            for name, result in _resampled(host, pe, asked, notes, refused):
                found.setdefault(name, []).append(result)
    return found


def _resampled(
    host: Host,
    pe: PositionEmbedding,
    asked: str,
    notes: list[str],
    refused: dict[str, UsageError],
) -> Iterator[tuple[str, InterpolationResult]]:
    try:
        result = interpolate(pe, grid=host.grid_of(pe), method=asked)
    except UsageError as error:
        notes.append(f"{asked} was left out: {error}")
        if asked != LIST and not needs_nothing(pe):
            refused.setdefault(asked, error)
        return
    for same in _same_rules(result):
        named = next((name for name in same if name == result.rules[name]), same[0])
        others = [name for name in same if name != named]
        if others:
            ends = "s" if len(others) == 1 else ""
            notes.append(f"{named} is also what {', '.join(others)} come{ends} down to")
        yield named, result


def _same_rules(result: InterpolationResult) -> Iterator[list[str]]:
    """Yield the methods that are one plain method; `native` is here the live model's own rule."""
    methods = [name for name in result.methods if name != NATIVE]
    for plain in dict.fromkeys(result.rules[name] for name in methods):
        yield [name for name in methods if result.rules[name] == plain]


def sized(res: tuple[int, int]) -> str:
    """Return a size in words."""
    return f"{res[0]}×{res[1]} pixels"
