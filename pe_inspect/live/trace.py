"""`trace(model, images)`: what a live model does with positions, on a stream of images.

Two passes: the first sums tokens and attention, with the null run and the edits beside it; the
second takes logits apart, once the position maps are known. Memory does not grow with the images.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from pe_inspect.errors import AmbiguousCheckpoint, NoPositionEmbedding, UsageError
from pe_inspect.families import extract
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.live.attention_sums import AttentionAccumulator
from pe_inspect.live.capture import Captured, captured
from pe_inspect.live.change import Change, NotApplicable
from pe_inspect.live.host import Host, host_of
from pe_inspect.live.images import ImageStream, image_stream
from pe_inspect.live.interception import Attended
from pe_inspect.live.logit_terms import LogitAccumulator, linear_norm
from pe_inspect.live.mixing import ShareAccumulator, omega_from
from pe_inspect.live.rebuild import rebuild
from pe_inspect.live.token_sums import FoldAccumulator, TokenAccumulator, position_folds
from pe_inspect.loading import Checkpoint, Hints, load
from pe_inspect.models.vit import VisionTransformer
from pe_inspect.resampling.target_grid import Size, available_memory, pair_of
from pe_inspect.traces import Edit, ImageSet, Trace

__all__ = ["QUESTIONS", "edits_of", "trace"]

QUESTIONS: Final = ("attention", "contribution", "probe")
NULL: Final = Change(mean=True)
BATCH: Final = 8
BYTES: Final = 4
_LIBRARIES: Final = ("torch", "timm", "transformers")
_MOST_HALVINGS: Final = 6


def trace(
    model: nn.Module | Checkpoint | str | Path,
    images: Any = None,
    *,
    res: Size | None = None,
    questions: Sequence[str] = QUESTIONS,
    batch_size: int = BATCH,
    seed: int = 0,
    max_memory: int | None = None,
    progress: Callable[[float], object] | None = None,
) -> Trace:
    """Run a model on images, and return what it did with positions.

    Beside the base run it holds the null run (every patch receives the mean of all positions),
    and for `contribution` eight edits of the positions and one image of the mean colour.

    Args:
        model: a checkpoint, its name or path, or a live model.
        images: `None` for 64 crops of scikit-learn's photographs; a folder; pixels (images, rows,
            columns, 3), uint8; or normalised tensors of the model's size.
        res: the size that it runs at, in pixels; its own unless given.
        questions: what it is for: `attention`, `contribution`, `probe`.
        batch_size: images at once.
        seed: of what is random.
        max_memory: bytes that sums of attention maps may take; beyond it queries are sampled.
            Half of what is free unless given.
        progress: is told the share that is done.

    Raises:
        UsageError: the images or the size are of no use, or a question is unknown.
        CannotRebuild: the checkpoint does not tell enough for a live model.
        NotApplicable: the model computes no attention, or takes no images.
    """
    _check_questions(questions)
    host, source, sha256 = _hosted(model)
    host = host if res is None else host.at(pair_of(res, "--res"))
    if not host.anatomy.blocks:
        raise NotApplicable(
            f"{type(host.model).__name__} computes no attention: there is nothing to trace."
        )
    stream = image_stream(images, host.preprocessing, seed)
    run = _Run(host, stream, questions, batch_size, seed, max_memory, progress)
    with torch.no_grad():
        run.first_pass()
        if "attention" in questions:
            run.second_pass()
    return run.result(source, sha256)


def edits_of(grid_size: tuple[int, int], seed: int) -> dict[str, Change]:
    """Return the changes of positions whose consequences are measured, by name.

    Transposing is missing where the grid is not square.
    """
    rows, columns = grid_size
    places = torch.arange(rows * columns).reshape(rows, columns)
    moved = {"roll_1": places.roll(1, dims=1), "flipped": places.flip(1)}
    if rows == columns:
        moved["transposed"] = places.T
    permuted = {name: Change(permutation=tuple(order.flatten().tolist()))
                for name, order in moved.items()}  # fmt: skip
    found = {"zero": Change(0.0), "mean_row": NULL, "shuffled": Change(seed=seed), **permuted,
             "half": Change(0.5), "double": Change(2.0)}  # fmt: skip
    order = ("zero", "mean_row", "shuffled", "roll_1", "transposed", "flipped", "half", "double")
    return {name: found[name] for name in order if name in found}


def _check_questions(questions: Sequence[str]) -> None:
    unknown = [name for name in questions if name not in QUESTIONS]
    if unknown or not questions:
        raise UsageError(f"questions are {', '.join(QUESTIONS)}, not {', '.join(unknown) or None}.")


def _hosted(model: Any) -> tuple[Host, str, str]:
    """Return the host, where the model is from, and the hash of its file."""
    if isinstance(model, (str, Path)):
        model = load(model)
    if isinstance(model, Checkpoint):
        return host_of(rebuild(model), _tables(model)), model.source, model.sha256
    if not isinstance(model, nn.Module):
        raise UsageError(
            f"trace was given a {type(model).__name__}. Pass a checkpoint, its path, or a live "
            "torch.nn.Module."
        )
    checkpoint = Checkpoint.from_state_dict(model.state_dict(), hints=_hints_of(model))
    return host_of(model.eval(), _tables(checkpoint)), type(model).__name__, ""


def _hints_of(model: nn.Module) -> Hints | None:
    """Return what one of our own models says of itself and its tensors do not."""
    if not isinstance(model, VisionTransformer):
        return None
    config = model.config
    return Hints(
        grid_size=config.grid_size,
        num_prefix_tokens=config.num_prefix_tokens,
        num_heads=config.num_heads,
    )


def _tables(checkpoint: Checkpoint) -> tuple[PositionEmbedding, ...]:
    try:
        return extract(checkpoint, with_sha256=False)
    except (NoPositionEmbedding, AmbiguousCheckpoint):
        return ()  # the host may still know where the model takes positions from


class _Run:
    """The two passes over the images, and the sums that they leave."""

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
        self.memory = max_memory or available_memory() // 2
        self.prefix = host.num_prefix_tokens
        self.passes = 1 + ("attention" in questions)
        self.done = self.count = 0
        self.notes: list[str] = []
        self.states: dict[str, list[TokenAccumulator]] = {}
        self.normed: dict[int, TokenAccumulator] = {}
        self.attention: dict[int, AttentionAccumulator | None] = {}
        self.shares: list[ShareAccumulator] = []
        self.cosines: dict[str, list[torch.Tensor]] = {}
        self.folds: dict[str, list[FoldAccumulator]] = {}
        self.omega: torch.Tensor | None = None

    def batches(self) -> Iterable[torch.Tensor]:
        """Yield batches where the model is; how far the work is gets told."""
        weight = next(self.host.model.parameters())
        for batch in self.stream.batches(self.host.res, self.batch_size):
            if tuple(batch.shape[-2:]) != self.host.res:
                raise UsageError(
                    f"images are {batch.shape[-2]}×{batch.shape[-1]} pixels, and the model is at "
                    f"{self.host.res[0]}×{self.host.res[1]}. Pass res with their size."
                )
            yield batch.to(weight)
            self.done += len(batch)
            if self.progress is not None:
                self.progress(min(1.0, self.done / (self.passes * len(self.stream))))

    def first_pass(self) -> None:
        """Sum tokens and attention, run the null and the edits."""
        for batch in self.batches():
            is_first = self.count == 0
            base = captured(self.host, batch, self._hear(len(batch)))
            if is_first:
                self._find_omega(batch, base)
            self._add("base", base)
            self._add_received(base)
            if self.omega is not None and "contribution" in self.questions:
                self._add_shares(base)
            changed = self._changed(batch)
            for name, found in changed.items():
                if name == "mean_row":
                    self._add("null", found)
                if "contribution" in self.questions:
                    self._add_cosines(name, base, found)
            self.count += len(batch)
        if not self.count:
            raise UsageError(f"none of {len(self.stream)} images of {self.stream.source} can be "
                             "read. Pass others.")  # fmt: skip

    def second_pass(self) -> None:
        """Take the logits of every block apart, with the position maps of the first pass."""
        sums = {i: LogitAccumulator(self.prefix) for i, each in self.attention.items()
                if each is not None and not each.is_window}  # fmt: skip
        maps = {i: self._position_map(i) for i in sums}
        for batch in self.batches():
            heard: dict[int, Attended] = {}
            found = captured(self.host, batch, heard.setdefault)
            for i, each in list(sums.items()):
                parts = self._parts(i, found, maps[i])
                if parts is None or heard[i].q is None:
                    del sums[i]
                else:
                    each.add(found.calls[i], heard[i], parts)
        for i, each in sums.items():
            kept = self.attention[i]
            if kept is not None:
                kept.logits = each.sums()
        self._note_missing_logits()

    def _changed(self, batch: torch.Tensor) -> dict[str, Captured]:
        """Run a batch under every change that the model can be put under."""
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

    def _grid(self, tokens: int) -> tuple[int, int]:
        """Return the grid of so many tokens: the input's, or one that was halved on the way."""
        rows, columns = self.host.grid_size
        for stage in range(_MOST_HALVINGS):
            grid = (-(-rows // 2**stage), -(-columns // 2**stage))
            if grid[0] * grid[1] == tokens - self.prefix:
                return grid
        raise NotApplicable(
            f"{type(self.host.model).__name__} has {tokens} tokens in a block, which are no grid "
            f"of its {rows}×{columns} patches."
        )

    def _add(self, run: str, found: Captured) -> None:
        if run not in self.states:
            names = [*(f"h{i}" for i in range(len(found.states) - 1)), "final"]
            grids = [self._grid(state.shape[1]) for state in found.states]
            self.states[run] = [TokenAccumulator(n, g) for n, g in zip(names, grids)]
            self.folds[run] = [FoldAccumulator(n, position_folds(g[0] * g[1]))
                               for n, g in zip(names, grids)]  # fmt: skip
        for sums, state in zip(self.states[run], found.states):
            sums.add(state)
        if "probe" in self.questions:
            for folds, state in zip(self.folds[run], found.states):
                folds.add(state[:, self.prefix :], self.count)

    def _add_received(self, found: Captured) -> None:
        for i, part in enumerate(self.host.anatomy.blocks):
            received = found.received(i)
            if received is None:
                continue
            if i not in self.normed:
                self.normed[i] = TokenAccumulator(part.name, self._grid(received.shape[1]))
            self.normed[i].add(received)

    def _add_shares(self, found: Captured) -> None:
        if self.omega is None:
            raise ValueError("a model without a table of vectors has no shares")
        blocks = self.host.anatomy.blocks
        if not self.shares:
            self.shares = [ShareAccumulator(b.name, b.norm) for b in blocks if b.norm is not None]
        for sums, state in zip(self.shares, found.states):
            patches = state[:, self.prefix :]
            if patches.shape[1:] == self.omega.shape:
                sums.add(patches, self.omega)

    def _add_cosines(self, name: str, base: Captured, edited: Captured) -> None:
        alike = [torch.cosine_similarity(own.double(), other.double(), dim=-1).sum(dim=0)
                 for own, other in zip(base.states, edited.states)]  # fmt: skip
        held = self.cosines.get(name)
        self.cosines[name] = alike if held is None else [a + b for a, b in zip(held, alike)]

    def _hear(self, images: int) -> Callable[[int, Attended], None] | None:
        if "attention" not in self.questions:
            return None

        def hear(block: int, attended: Attended) -> None:
            if block not in self.attention:
                self.attention[block] = self._accumulator(block, attended, images)
            sums = self.attention[block]
            if sums is not None:
                sums.add(attended)

        return hear

    def _accumulator(
        self, block: int, attended: Attended, images: int
    ) -> AttentionAccumulator | None:
        part = self.host.anatomy.blocks[block]
        batch, heads, queries, keys = attended.shape
        if queries != keys:
            self.notes.append(f"{part.name}: {queries} queries meet {keys} pooled keys; offsets "
                              "have no meaning there, and it was left out")  # fmt: skip
            return None
        is_window = batch != images
        grid = _window_of(part.attention, part.block, keys) if is_window else self._grid(keys)
        if grid is None:
            self.notes.append(f"{part.name}: windows of {keys} tokens of no known grid; left out")
            return None
        prefix = keys - grid[0] * grid[1]
        patches = grid[0] * grid[1]
        fitting = self.memory // (BYTES * heads * patches * len(self.host.anatomy.blocks))
        if fitting < patches:
            self.notes.append(f"{part.name}: {max(1, fitting)} of {patches} queries were sampled, "
                              "evenly spread, to stay within --max-memory")  # fmt: skip
        return AttentionAccumulator(
            part.name, grid, prefix, has_cls=self.host.has_cls, is_window=is_window,
            most_queries=max(1, min(fitting, patches)),
        )  # fmt: skip

    def _position_map(self, block: int) -> torch.Tensor:
        """Return the map that a block begins with: (prefix + patches, channels), and its mean."""
        sums = self.states["base"][block].sums()
        weight = next(self.host.model.parameters())
        return torch.from_numpy(sums.mean.copy()).to(weight)

    def _parts(
        self, block: int, found: Captured, mean: torch.Tensor
    ) -> Mapping[str, torch.Tensor] | None:
        """Return the parts of what a block's attention receives; `None` of post-norm blocks."""
        part, x = self.host.anatomy.blocks[block], found.states[block]
        received = found.received(block)
        linear = None if part.norm is None else linear_norm(part.norm, x)
        if linear is None or received is None:
            return None
        normed, constant = linear
        beside = received - normed(x) - constant  # what LaPE adds there; else nothing
        mu = mean[self.prefix :].mean(dim=0)
        if block == 0 and self.omega is not None:
            position = torch.cat((torch.zeros_like(mean[: self.prefix]), self.omega))
            still = torch.zeros_like(mu)
        elif block == 0 and float(beside.abs().max()) > 1e-4:
            position, still = torch.zeros_like(mean), torch.zeros_like(mu)
        else:
            position, still = mean - mu, mu
        content = x - position - still
        return {
            "content": normed(content),
            "position": normed(position.expand_as(x)) + beside,
            "constant": normed(still.expand_as(x)) + constant,
        }

    def _note_missing_logits(self) -> None:
        missing = [each.layer for each in self.attention.values()
                   if each is not None and each.logits is None]  # fmt: skip
        if missing:
            self.notes.append(
                f"the logits of {missing[0]}{f' and {len(missing) - 1} more' * (len(missing) > 1)} "
                "were not taken apart: windows, no norm ahead of attention, or q and k that are "
                "normalised themselves"
            )

    def result(self, source: str, sha256: str) -> Trace:
        """Return the trace."""
        host, stream = self.host, self.stream
        left_out = tuple(f"{file}: {why}" for file, why in stream.left_out.items())
        images = ImageSet(
            stream.source, self.count, stream.sha256, stream.preprocessing.in_words,
            tuple(map(float, stream.preprocessing.mean)),
            tuple(map(float, stream.preprocessing.std)), left_out,
        )  # fmt: skip
        attention = [self.attention[i] for i in sorted(self.attention)]
        sums = (each.sums() for each in attention if each is not None)
        per_fold = [len(range(fold, self.count, 4)) for fold in range(4)]
        with_probe = "probe" in self.questions
        return Trace(
            source, images, host.res, host.patch_size, host.grid_size, self.prefix, host.has_cls,
            tuple(part.name for part in host.anatomy.blocks),
            {run: tuple(s.sums() for s in each) for run, each in self.states.items()},
            tuple(self.normed[i].sums() for i in sorted(self.normed)),
            tuple(each for each in sums if each is not None),
            tuple(each.share() for each in self.shares if each.count),
            tuple(self._edits()), self._mean_colour(),
            {run: tuple(f.folded() for f in each) for run, each in self.folds.items()}
            if with_probe else {},
            tuple(per_fold) if with_probe else (),
            position_folds(host.grid_size[0] * host.grid_size[1]) if with_probe else None,
            host.library, type(host.model).__name__, sha256,
            str(next(host.model.parameters()).dtype).removeprefix("torch."), self.seed,
            {name: importlib.metadata.version(name) for name in _LIBRARIES
             if _is_installed(name)},
            tuple(self.notes),
        )  # fmt: skip

    def _edits(self) -> Iterable[Edit]:
        for name, alike in self.cosines.items():
            cosines = [(each / self.count).cpu().numpy() for each in alike]
            patches = torch.tensor([float(each[self.prefix :].mean()) for each in cosines])
            cls = torch.tensor([float(each[0]) for each in cosines])
            yield Edit(
                name, cls.double().numpy() if self.host.has_cls else None, patches.double().numpy()
            )

    def _mean_colour(self) -> tuple[Any, ...]:
        if "contribution" not in self.questions:
            return ()
        found = captured(self.host, self.host.blank())
        return tuple(state[0].float().cpu().numpy() for state in found.states)


def _window_of(attention: Any, block: Any, tokens: int) -> tuple[int, int] | None:
    """Return the (rows, columns) of a window, as the modules say them."""
    for module in (attention, block):
        size = getattr(module, "window_size", None)
        if size is not None:
            rows, columns = (size, size) if isinstance(size, int) else map(int, size)
            if rows * columns == tokens:
                return rows, columns
    return None


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
