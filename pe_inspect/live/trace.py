"""`trace(model, images)`: what a live model does with positions, on a stream of images.

Two passes: the first sums tokens and attention, with the null run and the edits beside it; the
second takes logits apart, once the position maps are known. Memory does not grow with the images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from pe_inspect.errors import AmbiguousCheckpoint, NoPositionEmbedding, UsageError
from pe_inspect.families import extract
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.live.change import NotApplicable
from pe_inspect.live.example import checked_token, example_of
from pe_inspect.live.host import Host, host_of
from pe_inspect.live.images import ImageStream, image_stream
from pe_inspect.live.passes import TraceRequest, TwoPasses
from pe_inspect.live.rebuild import rebuild
from pe_inspect.live.token_order import check_order
from pe_inspect.loading import Checkpoint, Hints, load
from pe_inspect.models.vit import VisionTransformer
from pe_inspect.resampling.target_grid import Size, pair_of
from pe_inspect.ridge import FOLDS
from pe_inspect.traces import Trace

__all__ = ["QUESTIONS", "trace"]

QUESTIONS: Final = ("attention", "contribution", "probe")
BATCH: Final = 8


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
    num_images: int | None = None,
    device: str | torch.device = "cpu",
    token: tuple[int, int] | None = None,
    begin: Callable[[Host, ImageStream], object] | None = None,
    light: bool = False,
    untrained: bool = False,
) -> Trace:
    """Run a model on images, and return what it did with positions.

    Beside the base run it holds the null run (every patch receives the mean of all positions),
    and for `contribution` eight edits of the positions and one image of the mean colour.

    Args:
        model: a checkpoint, its name or path, or a live model.
        images: `None` for 64 crops of scikit-learn's photographs; a folder; the name of a dataset;
            pixels (images, rows, columns, 3), uint8; or normalised tensors of the model's size.
        res: the size that it runs at, in pixels; its own unless given.
        questions: what it is for: `attention`, `contribution`, `probe`.
        batch_size: images at once.
        seed: of what is random.
        max_memory: bytes that sums of attention maps may take; beyond it queries are sampled.
            Half of what is free unless given.
        progress: is told the share of the work that is done; of each model, where two are run.
        num_images: the first so many; unless given 64 crops, 64 images of a dataset, and all of
            what else is given.
        device: where a checkpoint's model runs; a live one runs where it is.
        token: the patch whose attention in the first image is kept; the middle one unless given.
        begin: is told the model's host and the images before any of them runs.
        light: of attention, leave out what takes a mean map of every head (the information budget
            and the share that offsets explain) and the logits: faster, and in less memory.
        untrained: also run a model of the same shape with fresh weights on the same images.

    Raises:
        UsageError: the images or the size are of no use or too few, or a question is unknown.
        CannotRebuild: the checkpoint does not tell enough for a live model.
        NotApplicable: the model computes no attention, or takes no images.
    """
    _check_questions(questions)
    host, source, sha256 = _hosted(model, device)
    host = host if res is None else host.at(pair_of(res, "--res"))
    if not host.anatomy.blocks:
        raise NotApplicable(
            f"{type(host.model).__name__} computes no attention: there is nothing to trace."
        )
    check_order(host)
    stream = image_stream(images, host.preprocessing, seed, num_images)
    place = checked_token(host, token)
    _refuse_too_few(questions, stream)
    if begin is not None:
        begin(host, stream)
    asked = TraceRequest(questions, batch_size, seed, max_memory, light, progress=progress)
    found = _run(host, stream, asked).result(source, sha256)
    if "attention" in questions:
        found = replace(found, example=example_of(host, stream, place))
    if not untrained:
        return found
    fresh = _run(host.untrained(seed), stream, replace(asked, with_changes=False))
    return replace(found, untrained=fresh.result(f"{source}, untrained", ""))


@torch.no_grad()
def _run(host: Host, stream: ImageStream, asked: TraceRequest) -> TwoPasses:
    run = TwoPasses(host, stream, asked)
    run.first_pass()
    if asked.passes > 1:
        run.second_pass()
    return run


def _check_questions(questions: Sequence[str]) -> None:
    unknown = [name for name in questions if name not in QUESTIONS]
    if unknown or not questions:
        raise UsageError(f"questions are {', '.join(QUESTIONS)}, not {', '.join(unknown) or None}.")


def _refuse_too_few(questions: Sequence[str], stream: ImageStream) -> None:
    """Stop where a probe is all that is asked for, and its folds would be empty."""
    if set(questions) == {"probe"} and len(stream) < FOLDS:
        raise UsageError(
            f"A probe takes at least {FOLDS} images, one a fold, and 64 for late layers; "
            f"{stream.source} has {len(stream)}. Pass more."
        )


def _hosted(model: Any, device: str | torch.device) -> tuple[Host, str, str]:
    """Return the host, where the model is from, and the hash of its file."""
    if isinstance(model, (str, Path)):
        model = load(model)
    if isinstance(model, Checkpoint):
        return host_of(rebuild(model).to(device), _tables(model)), model.source, model.sha256
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
