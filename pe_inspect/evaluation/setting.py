"""Which images a checkpoint is evaluated on, and how they are normalised."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from torch import nn

from pe_inspect.data import Dataset, load
from pe_inspect.data.by_name import DEFAULT_ROOT, reader_of
from pe_inspect.data.dataset import FileSplit
from pe_inspect.data.decoding import CROP_PCT
from pe_inspect.errors import UsageError
from pe_inspect.live.host import Host
from pe_inspect.live.rebuild import gives_logits
from pe_inspect.loading import Checkpoint

__all__ = [
    "Normalisation",
    "check_fit",
    "crop_pct_of",
    "dataset_of",
    "name_of",
    "normalisation_of",
    "refuse_features",
    "renamed_classes",
]

NAMED: Final = 3  # classes of another name that a note names


def name_of(checkpoint: Checkpoint, data: str | None, root: str | Path | None) -> str:
    """Return the dataset that was named, else the one in the checkpoint's config.json.

    Nothing of it is read.

    Raises:
        UsageError: neither names one, no dataset is called so, or its folder does not exist.
    """
    name = data or _said(checkpoint, "data").get("name")
    if not isinstance(name, str):
        raise UsageError(
            f"{checkpoint.source} does not say which images it is for. Pass --data NAME[:PATH], "
            "e.g. --data imagefolder:path/to/folder (train/<class>/*, test/<class>/*)."
        )
    reader_of(name)
    path = name.partition(":")[2]
    places = (Path(path), Path(root or DEFAULT_ROOT) / path)
    if path and not any(place.is_dir() for place in places):
        raise UsageError(f"--data {name}: {path} is no folder. Give the one that holds train/.")
    return name


def dataset_of(
    checkpoint: Checkpoint,
    name: str,
    root: str | Path | None,
    img_size: tuple[int, int],
    *,
    from_files: bool = False,
) -> Dataset:
    """Read the dataset that is evaluated on.

    Args:
        checkpoint: what is evaluated.
        name: `NAME`, or `NAME:PATH` with the folder that it lies in.
        root: where datasets lie, for a NAME alone.
        img_size: (H, W) of the model, which images of several sizes become.
        from_files: leave images that lie in a folder there, to be cropped as they are read;
            otherwise the recipe in config.json says whether they are.

    Raises:
        UsageError: it cannot be read.
    """
    kind, _, path = name.partition(":")
    if path and kind != "imagefolder":
        name, root = kind, path
    stream = "on" if from_files else str(_said(checkpoint, "recipe").get("stream", "auto"))
    return load(name, root=root, img_size=img_size, stream=stream)


@dataclass(frozen=True)
class Normalisation:
    """What becomes 0 and 1 in each channel, on [0, 1], and who says so."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    said_by: str
    is_guess: bool = False


def normalisation_of(
    checkpoint: Checkpoint,
    model: nn.Module,
    dataset: Dataset,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> Normalisation:
    """Return the model's normalisation: as said, as its config.json has it, timm's, or a guess.

    Raises:
        UsageError: one of two was given, or they do not fit the channels.
    """
    if (mean is None) != (std is None):
        raise UsageError("Pass --mean and --std together: a number for each channel, on [0, 1].")
    for said_by, values in _sources(checkpoint, model, mean, std):
        if all(_fits(value, dataset.in_chans) for value in values):
            return Normalisation(_floats(values[0]), _floats(values[1]), said_by)
        if said_by == "--mean, --std":
            raise UsageError(
                f"--mean and --std need a number for each of the {dataset.in_chans} channels, "
                "and a positive --std: --mean 0.485,0.456,0.406."
            )
    return Normalisation(dataset.mean, dataset.std, f"the images of {dataset.label}", is_guess=True)


def refuse_features(checkpoint: Checkpoint) -> None:
    """Stop where the names in a checkpoint show that its model has no classifier.

    Raises:
        UsageError: with the questions that need none.
    """
    if not gives_logits(checkpoint):
        raise UsageError(
            f"{checkpoint.source} holds a model without a classifier, and evaluate counts how "
            "often the class is right. Give the weights of a classifier; probe, attention and "
            "contribution ask what such features know of positions."
        )


def crop_pct_of(
    checkpoint: Checkpoint, model: nn.Module, dataset: Dataset, asked: float | None
) -> float:
    """Return the share of an image's shorter side that is evaluated: as asked, trained, or timm's.

    Of images that are held it is all.

    Raises:
        UsageError: it is no share, or one of images that are held.
    """
    if asked is not None and not 0 < asked <= 1:
        raise UsageError(f"--crop-pct is {asked:g}; it must be above 0 and at most 1.")
    if not isinstance(dataset.test, FileSplit):
        _refuse_crop(dataset, asked)
        return 1.0
    timm: Any = getattr(model, "pretrained_cfg", None) or {}
    sources = (asked, _said(checkpoint, "recipe").get("crop_pct"), timm.get("crop_pct"), CROP_PCT)
    return next(float(each) for each in sources if isinstance(each, (int, float)))


def _refuse_crop(dataset: Dataset, asked: float | None) -> None:
    if asked not in (None, 1):
        raise UsageError(
            f"--crop-pct {asked:g} is for images that are read from files of their own, and those "
            f"of {dataset.label} are evaluated whole. Leave it out."
        )


def _sources(
    checkpoint: Checkpoint,
    model: nn.Module,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> Iterator[tuple[str, tuple[Any, Any]]]:
    if mean is not None:
        yield "--mean, --std", (mean, std if all(s > 0 for s in std or ()) else None)
    saved = _said(checkpoint, "data")
    yield "config.json", (saved.get("mean"), saved.get("std"))
    timm: Any = getattr(model, "pretrained_cfg", None) or {}
    yield "timm's settings of the architecture", (timm.get("mean"), timm.get("std"))


def _said(checkpoint: Checkpoint, of: str) -> Mapping[str, Any]:
    """Return what our trainer writes into config.json, of the data or the recipe."""
    config: Any = checkpoint.metadata.get("config")
    saved = config.get(of) if isinstance(config, Mapping) else None
    return saved if isinstance(saved, Mapping) else {}


def _fits(values: Any, channels: int) -> bool:
    is_list = isinstance(values, Sequence) and not isinstance(values, str)
    return is_list and len(values) == channels and all(isinstance(v, (int, float)) for v in values)


def _floats(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(map(float, values))


def check_fit(host: Host, dataset: Dataset, source: str) -> None:
    """Stop where a model and a dataset are of different classes or channels.

    Raises:
        UsageError: with both numbers.
    """
    if host.num_classes != len(dataset.classes):
        raise UsageError(
            f"{source} tells {host.num_classes} classes apart, and {dataset.label} has "
            f"{len(dataset.classes)}. Pass --data with a dataset of the model's own classes."
        )
    if host.in_chans != dataset.in_chans:
        raise UsageError(
            f"{source} takes images of {host.in_chans} channels, and those of {dataset.label} "
            f"have {dataset.in_chans}. Pass --data with images of as many channels."
        )


def renamed_classes(checkpoint: Checkpoint, dataset: Dataset) -> Iterator[str]:
    """Yield a note where classes have other names than in training: numbers are compared then.

    Raises:
        UsageError: the model has a class of the dataset at another place, so that the labels
            would be wrong.
    """
    trained = _said(checkpoint, "data").get("classes")
    if not isinstance(trained, Sequence) or len(trained) != len(dataset.classes):
        return
    renamed = [(old, new) for old, new in zip(trained, dataset.classes) if old != new]
    for _, new in renamed:
        if new in trained:
            _refuse_moved(checkpoint.source, trained.index(new), dataset, new)
    if renamed:
        named = ", ".join(f"{old} is {new}" for old, new in renamed[:NAMED])
        more = f", and {len(renamed) - NAMED} more" if len(renamed) > NAMED else ""
        yield (
            f"classes of {dataset.label} have other names than in training, and were compared by "
            f"their number: {named}{more}"
        )


def _refuse_moved(source: str, place: int, dataset: Dataset, name: str) -> NoReturn:
    raise UsageError(
        f"{source} has {name!r} as class {place}, and {dataset.label} as class "
        f"{dataset.classes.index(name)}: the labels would be wrong. Pass --data with a dataset of "
        "the model's own classes."
    )
