"""What a run needs to go on as if it had never stopped: one file, written whole.

It holds the weights, the optimizer's moments and the running average as tensors, and the rest as
JSON, with a checksum of all of it. There is no random state in it: order, augmentation and dropout
of a step follow from the recipe's seed and the step's number.
"""

from __future__ import annotations

import json
import shlex
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import torch

from pe_inspect.bounded import parsed_json
from pe_inspect.errors import UsageError
from pe_inspect.training.recipe import Recipe

__all__ = [
    "FREE", "RESUME", "Standing", "damaged", "differing", "read_resume", "refusal",
    "resume_content", "spoken", "stays", "typed_as",
]  # fmt: skip

RESUME: Final = "resume.safetensors"
FORMAT: Final = 1

# What may differ between the two halves of a run: none of it touches a weight.
FREE: Final = frozenset(
    {"name", "description", "minutes_per_epoch", "timed_on", "expected_accuracy"}
    | {"accuracy_source", "snapshot_every", "stored_as", "notes", "strict"}
)


@dataclass
class Standing:
    """How far a run has come.

    Attributes:
        epoch: the one that goes on, from 1.
        batch: its steps that are done.
        step: steps that are done in the whole run.
        seconds: that the run took so far.
        rows: of `metrics.csv`.
        best: of the best finished epoch: its number, accuracy and loss; empty before the first.
        is_begun: whether an earlier run's history was cleared for this one.
        data: what `config.json` says of the data.
        precision: of the matrix products so far.
    """

    epoch: int = 1
    batch: int = 0
    step: int = 0
    seconds: float = 0.0
    rows: list[Mapping[str, Any]] = field(default_factory=list)
    best: dict[str, Any] = field(default_factory=dict)
    is_begun: bool = False
    data: Mapping[str, Any] = field(default_factory=dict)
    precision: str = ""


def resume_content(
    recipe: Recipe, standing: Standing, tensors: Mapping[str, torch.Tensor]
) -> bytes:
    """Return the content of a resume file."""
    from safetensors.torch import save

    plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    about = {"format": FORMAT, "recipe": recipe.to_dict(), "standing": asdict(standing)}
    text = json.dumps(about)
    return save(plain, metadata={"pe_inspect": f"{_checksum(text, plain)} {text}"})


def read_resume(path: Path, recipe: Recipe) -> tuple[Standing, dict[str, torch.Tensor]]:
    """Read a resume file of that recipe.

    Raises:
        UsageError: the file is damaged, or of another recipe.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            checksum, _, text = (file.metadata() or {})["pe_inspect"].partition(" ")
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        about = parsed_json(text)
        standing = Standing(**about["standing"])
        is_whole = about["format"] == FORMAT and checksum == _checksum(text, tensors)
        theirs = Recipe.from_dict(about["recipe"])
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, UsageError) as error:
        raise UsageError(damaged(path)) from error
    if not is_whole:
        raise UsageError(damaged(path))
    wrong = differing(theirs, recipe)
    if wrong:
        raise UsageError(refusal(path, wrong))
    return standing, tensors


def differing(theirs: Recipe, ours: Recipe) -> dict[str, tuple[Any, Any]]:
    """Return what differs between two recipes and touches a weight: key → (theirs, ours)."""
    there, here = _flat_recipe(theirs), _flat_recipe(ours)
    return {k: (there[k], here[k]) for k in here if k not in FREE and there[k] != here[k]}


def refusal(where: Path, wrong: Mapping[str, tuple[Any, Any]]) -> str:
    """Return why a run cannot go on with another recipe."""
    why = " (every step's learning rate hangs on it)" if set(wrong) == {"epochs"} else ""
    return (
        f"{where} is of another recipe: {spoken(wrong)}{why}. Continue it with the recipe that it "
        f"was begun with ({typed_as(wrong)}), or train this one into another --out."
    )


def spoken(wrong: Mapping[str, tuple[Any, Any]]) -> str:
    """Return what differs between a run that is there and one that is asked for, in words."""
    return ", ".join(f"{k} {_word(there)} there and {_word(here)} here"
                     for k, (there, here) in wrong.items())  # fmt: skip


def typed_as(wrong: Mapping[str, tuple[Any, Any]]) -> str:
    """Return the options that ask for the run that is there."""
    set_to = (f"{key}={_word(there)}" for key, (there, _) in wrong.items())
    return " ".join(f"--set {shlex.quote(each)}" for each in set_to)


def _word(value: Any) -> str:
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _flat_recipe(recipe: Recipe) -> dict[str, Any]:
    plain = asdict(recipe)
    shape = plain.pop("model")
    return {**plain, **shape}


def _checksum(text: str, tensors: Mapping[str, torch.Tensor]) -> str:
    total = zlib.crc32(text.encode())
    for key in sorted(tensors):
        named = f"{key} {tensors[key].dtype} {tuple(tensors[key].shape)}".encode()
        content = tensors[key].contiguous().view(-1).view(torch.uint8).numpy().data
        total = zlib.crc32(content, zlib.crc32(named, total))
    return f"{total:08x}"


def stays(folder: Path) -> str:
    """Return that another run leaves an interrupted one as it is, and how that one goes on."""
    return (
        f"The interrupted run in {folder} is as it was: the command that began it goes on with it, "
        "with --resume."
    )


def damaged(path: Path) -> str:
    """Return why a run cannot go on from a file."""
    return (
        f"{path} is damaged or was not written by this version; a run cannot go on from it. "
        "Leave --resume out to train anew."
    )
