"""The two passes of a live model over images, and the trace that their sums make."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import torch

from pe_inspect.errors import UsageError
from pe_inspect.live.block_attention import BlockAttention
from pe_inspect.live.capture import Captured, captured
from pe_inspect.live.change import Change, NotApplicable
from pe_inspect.live.edits import NULL, EditAccumulator, edits_of
from pe_inspect.live.host import Host
from pe_inspect.live.images import ImageStream
from pe_inspect.live.interception import Attended
from pe_inspect.live.logit_terms import parts_of_input
from pe_inspect.live.mixing import omega_from
from pe_inspect.live.state_sums import StateSums
from pe_inspect.live.token_sums import position_folds
from pe_inspect.resampling.target_grid import available_memory
from pe_inspect.traces import ImageSet, Trace

__all__ = ["TwoPasses"]

_LIBRARIES: Final = ("torch", "timm", "transformers")


class TwoPasses:
    """A model's runs over images, with the sums that they leave.

    Args:
        host: of the model, at the size that it runs at.
        stream: the images.
        questions: what the sums are for.
        batch_size: images at once.
        seed: of what is random.
        max_memory: bytes that sums of attention maps may take; half of what is free unless given.
        progress: is told the share that is done.
    """

    def __init__(
        self,
        host: Host,
        stream: ImageStream,
        questions: Sequence[str],
        batch_size: int,
        seed: int,
        max_memory: int | None,
        progress: Callable[[float], object] | None,
    ) -> None:
        self.host, self.stream, self.questions = host, stream, questions
        self.batch_size, self.seed, self.progress = batch_size, seed, progress
        self.prefix = host.num_prefix_tokens
        self.costs = self._costs()
        self.done = self.count = 0
        self.states = StateSums(host, with_probe="probe" in questions)
        self.attention = BlockAttention(host, max_memory or available_memory() // 2)
        self.notes = self.attention.notes  # in the order in which things happen
        self.edits = EditAccumulator(self.prefix, has_cls=host.has_cls)
        self.omega: torch.Tensor | None = None

    def _costs(self) -> tuple[int, int]:
        """Return about how many runs of the model each of the two passes takes an image."""
        edits = len(edits_of(self.host.grid_size, self.seed))
        changed = edits if "contribution" in self.questions else "probe" in self.questions
        return 1 + changed, 2 * ("attention" in self.questions)

    def batches(self, cost: int) -> Iterable[torch.Tensor]:
        """Yield batches where the model is; how far the work is gets told.

        Args:
            cost: of an image in this pass, as a part of those of both.

        Raises:
            UsageError: the images are of another size than the model, or have other channels.
        """
        weight, channels = next(self.host.model.parameters()), self.host.in_chans
        for batch in self.stream.batches(self.host.res, self.batch_size):
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
            if self.progress is not None:
                self.progress(min(1.0, self.done / (sum(self.costs) * len(self.stream))))

    def first_pass(self) -> None:
        """Sum tokens and attention, run the null and the edits.

        Raises:
            UsageError: no image can be read, or they are of another size.
        """
        for batch in self.batches(self.costs[0]):
            is_heard = "attention" in self.questions
            hear = self.attention.listener(len(batch)) if is_heard else None
            base = captured(self.host, batch, hear)
            if self.count == 0:
                self._find_omega(batch, base)
            self.states.add("base", base, self.count)
            self.states.add_received(base)
            if self.omega is not None and "contribution" in self.questions:
                self.states.add_shares(base, self.omega)
            self._add_changed(batch, base)
            self.count += len(batch)
        if not self.count:
            raise UsageError(f"none of {len(self.stream)} images of {self.stream.source} can be "
                             "read. Pass others.")  # fmt: skip

    def second_pass(self) -> None:
        """Take the logits of every block apart, with the position maps of the first pass."""
        sums = self.attention.logit_sums()
        maps = {i: self.states.position_map(i) for i in sums}
        for batch in self.batches(self.costs[1]):
            heard: dict[int, Attended] = {}
            found = captured(self.host, batch, heard.setdefault)
            for i, each in list(sums.items()):
                omega = self.omega if i == 0 else None
                part = self.host.anatomy.blocks[i]
                parts = parts_of_input(found, i, part.norm, maps[i], self.prefix, omega)
                if parts is None or heard[i].q is None:
                    del sums[i]
                else:
                    each.add(found.calls[i], heard[i], parts)
        self.attention.keep_logits(sums)

    def _add_changed(self, batch: torch.Tensor, base: Captured) -> None:
        """Add what a batch gives under every change that the model can be put under."""
        for name, found in self._changed(batch).items():
            if name == "mean_row":
                self.states.add("null", found, self.count)
            if "contribution" in self.questions:
                self.edits.add(name, base, found)

    def _changed(self, batch: torch.Tensor) -> dict[str, Captured]:
        """Run a batch under every change that the questions need; note what cannot be run."""
        edits = edits_of(self.host.grid_size, self.seed)
        if "contribution" not in self.questions:
            edits = {"mean_row": NULL} if "probe" in self.questions else {}
        found = {}
        for name, change in edits.items():
            try:
                with self.host.change(change):
                    found[name] = captured(self.host, batch)
            except NotApplicable as error:
                note = f"{name} was not run: {error}"
                self.notes += [] if note in self.notes else [note]
        return found

    def _find_omega(self, batch: torch.Tensor, base: Captured) -> None:
        try:
            with self.host.change(Change(0.0)):
                without = captured(self.host, batch)
        except NotApplicable:
            return
        given, bare = (each.states[0][:, self.prefix :] for each in (base, without))
        self.omega = omega_from(given, bare)

    def result(self, source: str, sha256: str) -> Trace:
        """Return the trace of a model that came from `source`, whose file has that hash."""
        host, sums = self.host, self.states
        return Trace(
            source, self._images(), host.res, host.patch_size, host.grid_size, self.prefix,
            host.has_cls, tuple(part.name for part in host.anatomy.blocks),
            sums.of_runs(), sums.of_norms(), tuple(self.attention.sums()),
            tuple(each.share() for each in sums.shares if each.count),
            tuple(self.edits.edits(self.count)), self._mean_colour(), sums.of_folds(),
            tuple(sums.images_by_fold(self.count)),
            position_folds(host.grid_size[0] * host.grid_size[1]) if sums.with_probe else None,
            host.library, type(host.model).__name__, sha256,
            str(next(host.model.parameters()).dtype).removeprefix("torch."), self.seed,
            {name: importlib.metadata.version(name) for name in _LIBRARIES
             if _is_installed(name)},
            tuple(self.notes),
        )  # fmt: skip

    def _images(self) -> ImageSet:
        stream = self.stream
        left_out = tuple(f"{file}: {why}" for file, why in stream.left_out.items())
        return ImageSet(
            stream.source, self.count, stream.sha256, stream.preprocessing.in_words,
            tuple(map(float, stream.preprocessing.mean)),
            tuple(map(float, stream.preprocessing.std)), left_out,
        )  # fmt: skip

    def _mean_colour(self) -> tuple[Any, ...]:
        if "contribution" not in self.questions:
            return ()
        found = captured(self.host, self.host.blank())
        return tuple(state[0].float().cpu().numpy() for state in found.states)


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
