"""The two passes of a live model over images, and the trace that their sums make."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch

from pe_inspect.errors import UsageError
from pe_inspect.live.block_attention import BlockAttention
from pe_inspect.live.capture import Captured, captured
from pe_inspect.live.change import Change, NotApplicable
from pe_inspect.live.edits import NULL, EditAccumulator, edits_of
from pe_inspect.live.host import Host
from pe_inspect.live.images import ImageStream
from pe_inspect.live.interception import Attended
from pe_inspect.live.logit_terms import LogitAccumulator, parts_of_input
from pe_inspect.live.mixing import omega_from
from pe_inspect.live.position_attention import position_attention
from pe_inspect.live.probe_replicates import ProbeReplicates
from pe_inspect.live.replicates import weights_of
from pe_inspect.live.state_sums import StateSums
from pe_inspect.resampling.target_grid import available_memory
from pe_inspect.ridge import position_folds
from pe_inspect.traces import AttentionSums, FoldSums, ImageSet, Trace

__all__ = ["TraceRequest", "TwoPasses"]

_LIBRARIES: Final = ("torch", "timm", "transformers")


@dataclass(frozen=True)
class TraceRequest:
    """What the passes are for.

    Attributes:
        questions: `attention`, `contribution`, `probe`.
        batch_size: images at once.
        seed: of what is random.
        max_memory: bytes that sums of attention maps may take; half of what is free unless given.
        light: leave out what takes a mean map of every head, or logits taken apart.
        with_changes: also run the null, the edits, mean colour and zero patches.
        progress: is told the share that is done.
    """

    questions: Sequence[str]
    batch_size: int
    seed: int = 0
    max_memory: int | None = None
    light: bool = False
    with_changes: bool = True
    progress: Callable[[float], object] | None = None

    @property
    def has_attention(self) -> bool:
        """Whether heads are looked at."""
        return "attention" in self.questions

    @property
    def has_contribution(self) -> bool:
        """Whether shares of variance and edits are asked for."""
        return "contribution" in self.questions

    @property
    def has_probe(self) -> bool:
        """Whether sums for probes are."""
        return "probe" in self.questions

    @property
    def takes_logits_apart(self) -> bool:
        """Whether logits are."""
        return self.has_attention and not self.light

    @property
    def passes(self) -> int:
        """How often the images are run as they are."""
        return 1 + (self.takes_logits_apart or self.has_probe)


class TwoPasses:
    """A model's runs over images, with the sums that they leave.

    Args:
        host: of the model, at the size that it runs at.
        stream: the images.
        asked: what they are for.
    """

    def __init__(self, host: Host, stream: ImageStream, asked: TraceRequest) -> None:
        self.host, self.stream, self.asked = host, stream, asked
        self.prefix = host.num_prefix_tokens
        self.done = self.count = 0
        self.states = StateSums(
            host, with_probe=asked.has_probe, with_replicates=asked.has_contribution,
            seed=asked.seed,
        )  # fmt: skip
        memory = asked.max_memory or available_memory() // 2
        self.attention = BlockAttention(host, memory, with_maps=not asked.light)
        self.probes: list[ProbeReplicates] = []
        self.notes = self.attention.notes  # in the order in which things happen
        self.not_run: dict[str, dict[str, None]] = {}  # why → names of changes
        self.edits = EditAccumulator(self.prefix, has_cls=host.has_cls)
        self.omega: torch.Tensor | None = None

    @property
    def _costs(self) -> tuple[int, int]:
        """About how many runs of the model each of the two passes takes an image."""
        second = 2 if self.asked.takes_logits_apart else self.asked.passes - 1
        return 1 + len(self._changes()), second

    def batches(self, cost: int) -> Iterable[torch.Tensor]:
        """Yield batches where the model is; how far the work is gets told.

        Args:
            cost: of an image in this pass, as a part of those of both.

        Raises:
            UsageError: the images are of another size than the model, or have other channels.
        """
        weight, channels = next(self.host.model.parameters()), self.host.in_chans
        for batch in self.stream.batches(self.host.res, self.asked.batch_size):
            if tuple(batch.shape[-2:]) != self.host.res:
                raise UsageError(
                    f"images are {batch.shape[-2]}×{batch.shape[-1]} pixels, and the model is at "
                    f"{self.host.res[0]}×{self.host.res[1]}. Pass res with their size."
                )
            if batch.shape[1] != channels:
                raise UsageError(
                    f"images have {batch.shape[1]} channels, and {type(self.host.model).__name__} "
                    f"takes {channels}. Pass images as it was trained on, as a tensor: "
                    "(images, channels, rows, columns), normalised."
                )
            yield batch.to(weight)
            self.done += cost * len(batch)
            if self.asked.progress is not None:
                self.asked.progress(min(1.0, self.done / (sum(self._costs) * len(self.stream))))

    def first_pass(self) -> None:
        """Sum tokens and attention, run the null and the edits.

        Raises:
            UsageError: no image can be read, or they are of another size.
        """
        asked = self.asked
        for batch in self.batches(self._costs[0]):
            weights = weights_of(self.count, len(batch), asked.seed)
            hear = self.attention.listener(weights) if asked.has_attention else None
            base = captured(self.host, batch, hear)
            if self.count == 0 and (asked.takes_logits_apart or asked.has_contribution):
                self._find_omega(batch, base)
            self.states.add("base", base, self.count, weights)
            if asked.has_contribution or self.attention.has_windows:  # these lie on its grid
                self.states.add_received(base)
            if self.omega is not None and asked.has_contribution:
                self.states.add_shares(base, self.omega)
            self._add_changed(batch, base)
            self.count += len(batch)
        if not self.count:
            raise UsageError(f"none of {len(self.stream)} images of {self.stream.source} can be "
                             "read. Pass others.")  # fmt: skip

    def second_pass(self) -> None:
        """Take the logits of every block apart, and test probes image by image."""
        asked, first = self.asked, 0
        logits = self.attention.logit_sums() if asked.takes_logits_apart else {}
        maps = {i: self.states.position_map(i) for i in logits}
        self.probes = self.states.probe_replicates(self.count)
        for batch in self.batches(self._costs[1]):
            heard: dict[int, Attended] = {}
            found = captured(self.host, batch, heard.setdefault if logits else None)
            for i in list(logits):
                self._add_logits(i, logits, found, heard[i], maps[i])
            weights = weights_of(first, len(batch), asked.seed)
            for probe, state in zip(self.probes, found.states):
                probe.add(state[:, self.prefix :], first, weights)
            first += len(batch)
        self.attention.keep_logits(logits)

    def _add_logits(
        self,
        block: int,
        sums: dict[int, LogitAccumulator],
        found: Captured,
        heard: Attended,
        mean: torch.Tensor,
    ) -> None:
        """Add a batch to a block's sums, or give them up where the logits have no such parts."""
        omega, norm = self.omega if block == 0 else None, self.host.anatomy.blocks[block].norm
        parts = parts_of_input(found, block, norm, mean, self.prefix, omega)
        if parts is None or heard.q is None:
            del sums[block]
        else:
            sums[block].add(found.calls[block], heard, parts)

    def _add_changed(self, batch: torch.Tensor, base: Captured) -> None:
        """Add what a batch gives under every change that the model can be put under."""
        for name, found in self._changed(batch):
            if name == "mean_row":
                self.states.add("null", found, self.count)
            if self.asked.has_contribution:
                self.edits.add(name, base, found)

    def _changed(self, batch: torch.Tensor) -> Iterator[tuple[str, Captured]]:
        """Run a batch under one change after the other; note what cannot be run."""
        for name, change in self._changes().items():
            try:
                with self.host.change(change):
                    found = captured(self.host, batch)
            except NotApplicable as error:
                self.not_run.setdefault(str(error), {})[name] = None
            else:
                yield name, found

    def _changes(self) -> dict[str, Change]:
        if not self.asked.with_changes:
            return {}
        if self.asked.has_contribution:
            return edits_of(self.host.grid_size, self.asked.seed)
        return {"mean_row": NULL} if self.asked.has_probe else {}

    def _find_omega(self, batch: torch.Tensor, base: Captured) -> None:
        try:
            with self.host.change(Change(0.0)):
                without = captured(self.host, batch)
        except NotApplicable:
            return
        given, bare = (each.states[0][:, self.prefix :] for each in (base, without))
        self.omega = omega_from(given, bare)

    @torch.no_grad()
    def result(self, source: str, sha256: str) -> Trace:
        """Return the trace of a model that came from `source`, whose file has that hash."""
        host, sums = self.host, self.states
        return Trace(
            source, self._images(), host.res, host.patch_size, host.grid_size, self.prefix,
            host.has_cls, tuple(part.name for part in host.anatomy.blocks),
            sums.of_runs(), sums.of_norms(), tuple(self.attention.sums()),
            tuple(each.share() for each in sums.shares if each.count),
            tuple(self.edits.edits(self.count)), self._mean_colour(), self._folds(),
            tuple(sums.images_by_fold(self.count)),
            position_folds(host.grid_size[0] * host.grid_size[1]) if sums.with_probe else None,
            host.library, type(host.model).__name__, sha256,
            str(next(host.model.parameters()).dtype).removeprefix("torch."), self.asked.seed,
            {name: importlib.metadata.version(name) for name in _LIBRARIES
             if _is_installed(name)},
            tuple(self._notes()), zero_patch=self._zero_patch(),
            position_attention=self._position_attention(),
        )  # fmt: skip

    def _notes(self) -> Iterator[str]:
        yield from self.notes
        for why, names in self.not_run.items():
            listed = ", ".join(names)
            yield f"{listed} {'was' if len(names) == 1 else 'were'} not run: {why}"

    def _folds(self) -> dict[str, tuple[FoldSums, ...]]:
        folds = self.states.of_folds()
        if not self.probes:
            return folds
        drawn = (replace(sums, r2_replicates=probe.replicates())
                 for sums, probe in zip(folds["base"], self.probes))  # fmt: skip
        return {**folds, "base": tuple(drawn)}

    def _images(self) -> ImageSet:
        stream = self.stream
        left_out = tuple(f"{file}: {why}" for file, why in stream.left_out.items())
        return ImageSet(
            stream.source, self.count, stream.sha256, stream.preprocessing.in_words,
            tuple(map(float, stream.preprocessing.mean)),
            tuple(map(float, stream.preprocessing.std)), left_out,
        )  # fmt: skip

    def _mean_colour(self) -> tuple[np.ndarray, ...]:
        return _tokens_of(captured(self.host, self.host.blank())) if self.runs_blanks else ()

    @property
    def runs_blanks(self) -> bool:
        """Whether one image of the mean colour is run, as it is and without its patches."""
        return self.asked.has_contribution and self.asked.with_changes

    def _zero_patch(self) -> tuple[np.ndarray, ...]:
        projection = self.host.anatomy.projection
        if not self.runs_blanks or projection is None:
            return ()
        hook = projection.register_forward_hook(lambda _, __, output: torch.zeros_like(output))
        try:
            return _tokens_of(captured(self.host, self.host.blank()))
        finally:
            hook.remove()

    def _position_attention(self) -> tuple[AttentionSums, ...]:
        if self.omega is None or not self.asked.takes_logits_apart:
            return ()
        found = captured(self.host, self.host.blank())
        return tuple(position_attention(self.host, found, self.omega, self.attention.taken_apart))


def _tokens_of(found: Captured) -> tuple[np.ndarray, ...]:
    return tuple(state[0].float().cpu().numpy() for state in found.states)


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
