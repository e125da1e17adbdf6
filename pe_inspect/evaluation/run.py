"""`evaluate(checkpoint)`: a live model, its images, and every condition that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch.nn import functional

from pe_inspect.analysis.evaluate import EvaluationResult, EvaluationRow, PairedCounts
from pe_inspect.analysis.evaluate import evaluate as in_order
from pe_inspect.arrays import Bool
from pe_inspect.data import Dataset
from pe_inspect.errors import NoPositionEmbedding, UsageError
from pe_inspect.evaluation.images import Images, chosen
from pe_inspect.evaluation.plan import (
    NATIVE,
    ImagePass,
    ablations,
    asked_methods,
    refuse_idle,
    refuse_missing,
    refuse_unsuited,
    resamplings,
    sized,
)
from pe_inspect.evaluation.setting import (
    Normalisation,
    check_fit,
    crop_pct_of,
    dataset_of,
    name_of,
    normalisation_of,
    refuse_features,
    renamed_classes,
)
from pe_inspect.families import extract
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.live.change import NotApplicable
from pe_inspect.live.host import Host, host_of
from pe_inspect.live.rebuild import rebuild
from pe_inspect.loading import Checkpoint
from pe_inspect.resampling.target_grid import Size, check_divisible, pair_of
from pe_inspect.training.hardware import find_device

__all__ = ["EvaluationProgress", "evaluate"]

TOP: Final = 5
BATCH: Final = {"cpu": 32}  # a 257-token ViT: 291 images/s in batches of 16, 174 of 256


@dataclass(frozen=True)
class EvaluationProgress:
    """How far an evaluation is.

    Attributes:
        what: the run that is going on, in words.
        share: of the whole work, 0 to 1; images of many patches count more.
    """

    what: str
    share: float


@dataclass(frozen=True, eq=False)
class Counts:
    """What one run found: which images are correct, how many among the first five, the loss."""

    hits: Bool[torch.Tensor, " images"]
    of_five: int
    loss: float


def evaluate(
    checkpoint: Checkpoint,
    data: str | Dataset | None = None,
    *,
    root: str | Path | None = None,
    res: Sequence[Size] = (),
    method: str = NATIVE,
    alpha: Sequence[float] = (),
    shuffle: bool = False,
    remove: bool = False,
    permute_patches: bool = False,
    batch_size: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    device: str = "auto",
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    crop_pct: float | None = None,
    progress: Callable[[EvaluationProgress], object] | None = None,
) -> EvaluationResult:
    """Measure top-1, top-5 and loss of a checkpoint on the test images of a dataset, in float32.

    The plain model at its own size is always measured. At other sizes, `native` is the rule that
    the live model itself follows, and every other method puts its resampled tables, biases or
    rotations into it. What is done to positions and patches is done at the model's own size, to
    what the model receives: a LaPE table after its norms, a bias after its own, prefix tokens
    never. A condition without a meaning for the scheme has no row; a note says why.

    Args:
        checkpoint: what `pe_inspect.load` returned.
        data: a dataset's name, `NAME:PATH`, or the dataset; by default that of its config.json.
        root: where datasets lie; `data/` unless given.
        res: image sizes in pixels, one side or (height, width) each.
        method: as for `interpolate`: a name, several with commas, or `all` that apply.
        alpha: factors on the position embedding.
        shuffle: give every patch the position of another, the same for all images.
        remove: take positions away: a factor of 0.
        permute_patches: let the patches of each image trade places, positions staying (RPI).
        batch_size: images a batch; 32 on a CPU, where more is slower, else 256.
        limit: how many of the test images, drawn with `seed`; all by default.
        seed: of what is random.
        device: `"auto"`, `"cpu"`, `"cuda"`, `"cuda:1"`, …
        mean: a channel's mean on [0, 1], instead of the checkpoint's.
        std: a channel's standard deviation.
        crop_pct: the share of an image file's shorter side that is evaluated, instead of the
            checkpoint's; the images of a folder are read one by one for it.
        progress: called after every batch.

    Raises:
        UsageError: no dataset is named, or one that is not known; the checkpoint has no
            classifier; the dataset does not fit the model or has its classes in another
            order, none of its images can be read, or they are no files for `crop_pct`; a size is
            no whole number of patches, or takes more memory than there is; a method is named
            without a size, or one that applies to no embedding of the model at any of them.
        CannotRebuild: the checkpoint does not tell enough for a live model.
    """
    place, methods = find_device(device), asked_methods(method)
    refuse_idle(methods, with_sizes=bool(res))
    if not isinstance(data, Dataset):
        data = name_of(checkpoint, data, root)
    refuse_features(checkpoint)
    tables = _tables_of(checkpoint)
    refuse_unsuited(tables, methods)
    host = host_of(rebuild(checkpoint).to(place), tables)
    sizes = [_pixels(each, host.patch_size) for each in res]
    dataset = data if isinstance(data, Dataset) else dataset_of(
        checkpoint, data, root, host.own_res, from_files=crop_pct is not None
    )  # fmt: skip
    check_fit(host, dataset, checkpoint.source)
    normalisation = normalisation_of(checkpoint, host.model, dataset, mean, std)
    images = Images(
        chosen(dataset.test, limit, seed), normalisation.mean, normalisation.std,
        batch_size or BATCH.get(place.type, 256), seed, place,
        crop_pct_of(checkpoint, host.model, dataset, crop_pct), dataset.test_name,
    )  # fmt: skip
    for size in sizes:
        images.refuse_if_too_large(size)
    notes = list(renamed_classes(checkpoint, dataset))
    notes += _notes(host, dataset, images, normalisation, with_sizes=bool(sizes))
    changes = ablations(host, alpha, shuffle=shuffle, remove=remove, seed=seed)
    permuted = [ImagePass("permuted", host)] * permute_patches
    other_sizes = _at_sizes(host, sizes, tables, methods, notes)
    runs = [ImagePass("plain", host), *changes, *permuted, *other_sizes]
    rows = list(_counted(runs, images, notes, progress))
    notes += [images.left_out] if images.left_out else []
    parameters = {
        "data": dataset.name, "images": rows[0].count, "res": [list(size) for size in sizes],
        "method": method, "alpha": list(alpha), "shuffle": shuffle, "remove": remove,
        "permute_patches": permute_patches, "seed": seed, **_preparation(images, normalisation),
        "split": dataset.test_name,
    }  # fmt: skip
    result: EvaluationResult = in_order(
        rows, dataset=dataset.label, num_classes=host.num_classes, parameters=parameters,
        pe=tables[0] if tables else None, notes=notes, split=dataset.test_name,
    )  # fmt: skip
    return result


def _preparation(images: Images, normalisation: Normalisation) -> dict[str, Any]:
    """Return how images are prepared, by the words of the result's parameters."""
    return {
        "mean": list(normalisation.mean),
        "std": list(normalisation.std),
        "normalised_by": normalisation.said_by,
        "crop_pct": images.crop_pct,
    }


def _tables_of(checkpoint: Checkpoint) -> tuple[PositionEmbedding, ...]:
    try:
        return extract(checkpoint, with_sha256=False)
    except NoPositionEmbedding:  # a model of scheme `none` is evaluated all the same
        return ()


def _pixels(size: Size, patch_size: tuple[int, int]) -> tuple[int, int]:
    pixels = pair_of(size, "--res")
    check_divisible(pixels, patch_size)
    return pixels


def _notes(
    host: Host, dataset: Dataset, images: Images, by: Normalisation, *, with_sizes: bool
) -> Iterator[str]:
    if dataset.label != dataset.name:
        yield f"images: the {dataset.test_name} split of {dataset.label}"
    if len(images) < len(dataset.test):
        yield (
            f"{len(images):,} of {len(dataset.test):,} {dataset.test_name} images were drawn "
            "(--limit)"
        )
    if by.is_guess:
        yield (
            "how the model's images were normalised is not said anywhere: the mean and σ of "
            f"{by.said_by} were taken. --mean and --std say otherwise"
        )
    yield from dataset.notes
    if images.are_files:
        yield (
            "images were read from their files, and the middle resized to each size: "
            f"{images.crop_pct:.1%} of the side that fits (--crop-pct)"
        )
    elif with_sizes or images.split.img_size != host.res:
        yield (
            f"images of {sized(images.split.img_size)} were resized from uint8 by bicubic "
            "interpolation, antialiased"
        )
    if with_sizes:
        yield f"native is the live model's own rule: {host.rule}"


def _at_sizes(
    host: Host,
    sizes: Sequence[tuple[int, int]],
    tables: Sequence[PositionEmbedding],
    methods: Sequence[str],
    notes: list[str],
) -> list[ImagePass]:
    """Return the runs at other sizes; at the model's own every method is the identity.

    Raises:
        UsageError: a method that was named applies at none of them.
    """
    refused: dict[str, UsageError] = {}
    runs: list[ImagePass] = []
    for size in dict.fromkeys(sizes):
        if size != host.res:
            runs += resamplings(host, size, tables, methods, notes, refused)
        elif set(methods) != {NATIVE}:
            notes.append(f"at {sized(size)}, the model's own size, every method is the identity")
    refuse_missing(methods, runs, refused)
    return runs


def _counted(
    runs: Sequence[ImagePass],
    images: Images,
    notes: list[str],
    progress: Callable[[EvaluationProgress], object] | None,
) -> Iterator[EvaluationRow]:
    """Yield a row for every run that has a meaning; why another has none becomes a note."""
    whole, done = sum(run.work for run in runs), 0.0
    counted: list[tuple[ImagePass, Counts]] = []
    missed: dict[str, list[str]] = {}
    for run in runs:
        tell = _teller(progress, run, done / whole, run.work / whole)
        try:
            same = next((found for other, found in counted if run.is_like(other)), None)
            counts = same or _count(run, images, tell)
            counted.append((run, counts))
            yield _row(run, counts, counted[0][1], _own_rule(run, counted))
        except NotApplicable as error:
            missed.setdefault(str(error), []).append(run.name)
        done += run.work
    notes.extend(f"{_in_short(names)}: not evaluated: {why}" for why, names in missed.items())


def _in_short(names: Sequence[str]) -> str:
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def _own_rule(run: ImagePass, counted: Sequence[tuple[ImagePass, Counts]]) -> Counts | None:
    """Return what the own rule gave at a method's size; `None` for the own rule itself."""
    own = [found for other, found in counted if (other.res, other.method) == (run.res, NATIVE)]
    return own[0] if run.method != NATIVE and own else None


def _teller(
    progress: Callable[[EvaluationProgress], object] | None,
    run: ImagePass,
    before: float,
    share: float,
) -> Callable[[float], object]:
    if progress is None:
        return lambda _: None
    return lambda part: progress(EvaluationProgress(run.name, before + part * share))


def _row(run: ImagePass, counts: Counts, plain: Counts, own_rule: Counts | None) -> EvaluationRow:
    pairs = _pairs(counts, plain)
    return EvaluationRow(
        run.condition, run.res, run.grid_size, pairs.correct,
        counts.of_five if run.host.num_classes > TOP else None, counts.loss, pairs.count,
        run.method, run.rule, 1.0 if run.change is None else run.change.alpha,
        pairs.gained, pairs.lost, None if own_rule is None else _pairs(counts, own_rule),
    )  # fmt: skip


def _pairs(counts: Counts, reference: Counts) -> PairedCounts:
    mine, its = counts.hits, reference.hits
    gained, lost = (int((a & ~b).sum()) for a, b in ((mine, its), (its, mine)))
    return PairedCounts(int(mine.sum()), gained, lost, len(mine))


@torch.inference_mode()
def _count(run: ImagePass, images: Images, tell: Callable[[float], object]) -> Counts:
    permuted = run.host.patch_size if run.condition == "permuted" else None
    batches = []
    with run.exchanged():
        for seen, (batch, labels) in enumerate(images.batches(run.res, permuted), start=1):
            batches.append(_tally(_logits(run, batch), labels))
            tell(min(1.0, seen * images.batch_size / len(images)))
    hits, of_five, losses = (torch.cat(parts) for parts in zip(*batches))
    return Counts(hits.cpu(), int(of_five.sum()), float(losses.sum()))


def _logits(run: ImagePass, images: torch.Tensor) -> torch.Tensor:
    try:
        logits: torch.Tensor = run.host.run(images)
    except (AssertionError, RuntimeError) as error:
        if run.res == run.host.own_res:
            raise
        raise NotApplicable(f"the model does not take this size ({error})") from error
    return logits


def _tally(
    logits: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return of each image whether it is correct, whether among the first five, and its loss."""
    best = logits.topk(min(TOP, logits.shape[1]), dim=1).indices == labels[:, None]
    losses = functional.cross_entropy(logits.double(), labels, reduction="none")
    return best[:, 0], best.any(dim=1), losses
