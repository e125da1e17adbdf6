"""A recipe says everything that a training run depends on; it is a TOML file read into this."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, get_type_hints

from pe_inspect.errors import UsageError
from pe_inspect.models.config import ViTConfig
from pe_inspect.registry import did_you_mean

__all__ = ["Recipe"]

PRECISIONS: Final = ("auto", "float32", "bfloat16")
STORED_TYPES: Final = ("float32", "float16")


@dataclass(frozen=True)
class Recipe:
    """What to train, on what, and for how long.

    Attributes:
        name: the recipe's name; a file's is its stem.
        description: one line for the list of recipes.
        data: a dataset's name, e.g. `"digits"`, `"imagefolder:PATH"`.
        model: the shape of the network, scheme and join included (`[model]` in the file).
        epochs: passes over the training images.
        batch_size: images a step.
        lr: AdamW's learning rate at the end of the warm-up.
        min_lr: where the cosine ends.
        warmup_epochs: epochs (fractions too) of linear warm-up from zero.
        weight_decay: AdamW's, of weight matrices; norms, biases and embeddings have none.
        label_smoothing: probability mass spread over all classes, 0 … 1.
        clip_grad: the largest gradient norm; 0 does not clip.
        shift: training images move by up to this many pixels each way.
        flip: half of the training images are mirrored.
        precision: of matrix products in training: `"float32"`, `"bfloat16"`, or `"auto"`, which
            is bfloat16 where the hardware has it.
        stored_as: the type of the saved weights, `"float32"` or `"float16"`; the accuracy in
            `config.json` is that of the saved weights.
        snapshot_every: epochs between snapshots of the position embedding.
        seed: of the initial weights, the order and the augmentation.
        minutes_per_epoch: measured on `timed_on`; 0 where nobody measured it.
        timed_on: the machine that `minutes_per_epoch` was measured on.
    """

    name: str
    data: str
    model: ViTConfig
    description: str = ""
    epochs: int = 10
    batch_size: int = 128
    lr: float = 1e-3
    min_lr: float = 1e-5
    warmup_epochs: float = 1.0
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    clip_grad: float = 1.0
    shift: int = 0
    flip: bool = False
    precision: str = "auto"
    stored_as: str = "float32"
    snapshot_every: int = 1
    seed: int = 0
    minutes_per_epoch: float = 0.0
    timed_on: str = "2 CPU cores"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "snapshot_every"):
            self._demand(name, getattr(self, name) >= 1, "at least 1")
        self._demand("lr", 0 < self.lr < math.inf, "above 0 and finite")
        self._demand("label_smoothing", 0 <= self.label_smoothing < 1, "from 0 to below 1")
        for name in ("min_lr", "warmup_epochs", "weight_decay", "clip_grad", "shift", "seed"):
            self._demand(name, getattr(self, name) >= 0, "0 or more")
        self._demand("precision", self.precision in PRECISIONS, _one_of(PRECISIONS))
        self._demand("stored_as", self.stored_as in STORED_TYPES, _one_of(STORED_TYPES))

    @classmethod
    def open(cls, path: str | Path) -> Recipe:
        """Read a recipe file.

        Raises:
            UsageError: there is no such file, it is not TOML, or a key is unknown or mistyped.
        """
        path = Path(path)
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise UsageError(f"{path} cannot be read as a recipe (TOML): {error}") from error
        try:
            return cls.from_dict({"name": path.stem, **content})
        except UsageError as error:
            raise UsageError(f"{path.name}: {error}") from error

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Recipe:
        """Build a recipe from plain values, every one checked against its field's type."""
        plain = {key: value for key, value in content.items() if key != "model"}
        shape = content.get("model", {})
        if not isinstance(shape, Mapping):
            raise UsageError(f"model is {shape!r}; expected a table of its own: [model].")
        if "data" not in plain:
            raise UsageError('a recipe needs data, the name of a dataset, e.g. data = "digits".')
        model = ViTConfig(**_typed(_MODEL_TYPES, shape, _check))
        return cls(**_typed(_RECIPE_TYPES, plain, _check), model=model)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON; `from_dict` takes them back."""
        return {**asdict(self), "model": self.model.to_dict()}

    def with_overrides(self, assignments: Iterable[str]) -> Recipe:
        """Return the recipe with `key=value` assignments applied, e.g. `epochs=5`, `depth=4`.

        Raises:
            UsageError: an assignment has no `=`, its key does not exist, its value is of another
                type, or the result is no possible recipe.
        """
        given = dict(_split_assignment(text) for text in assignments)
        shape = {key: given.pop(key) for key in list(given) if key in _MODEL_TYPES}
        known = {**_RECIPE_TYPES, **_MODEL_TYPES}
        model = replace(self.model, **_typed(known, shape, _parse))
        return replace(self, model=model, **_typed(known, given, _parse))

    @property
    def expected_minutes(self) -> float:
        """Minutes that the run takes on `timed_on`; 0 where nobody measured it."""
        return self.minutes_per_epoch * self.epochs

    @property
    def num_parameters(self) -> int:
        """Learned scalars of the model."""
        return self.model.num_parameters

    def _demand(self, name: str, is_met: bool, expected: str) -> None:
        if not is_met:
            raise UsageError(f"{name} is {getattr(self, name)!r}; it must be {expected}.")


_HINTS: Final = get_type_hints(Recipe)
_RECIPE_TYPES: Final = {f.name: _HINTS[f.name] for f in fields(Recipe) if f.name != "model"}
_MODEL_TYPES: Final = get_type_hints(ViTConfig)

_EXPECTED: Final[Mapping[Any, str]] = {
    int: "a whole number, e.g. 5",
    float: "a number, e.g. 0.001",
    bool: "true or false",
    str: "a text",
    tuple[int, int]: "height and width, e.g. 32x32",
}
_SPOKEN_BOOLS: Final = {"true": True, "false": False}


def _split_assignment(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"{text!r} is no assignment; expected key=value, e.g. epochs=5.")
    return key.strip(), value.strip()


def _typed(
    types: Mapping[str, Any], given: Mapping[str, Any], read: Callable[[Any, Any], Any]
) -> dict[str, Any]:
    """Return the values as their fields' types, or say which key is unknown or mistyped."""
    values = {}
    for key, value in given.items():
        if key not in types:
            raise UsageError(did_you_mean("recipe key", key, list(types)))
        try:
            values[key] = read(value, types[key])
        except ValueError as error:
            expected = _EXPECTED[types[key]]
            raise UsageError(f"{key} is {value!r}; expected {expected}.") from error
    return values


def _parse(text: str, kind: Any) -> Any:
    """Read a value that was typed on the command line."""
    if kind is bool:
        return _lookup(_SPOKEN_BOOLS, text.lower())
    if kind == tuple[int, int]:
        sides = [int(side) for side in text.lower().replace("×", "x").split("x")]
        return _check(sides, kind)
    return kind(text)


def _check(value: Any, kind: Any) -> Any:
    """Take a value that TOML or JSON has typed already."""
    if kind == tuple[int, int]:
        return _pair(value)
    is_whole_float = kind is float and type(value) is int
    if type(value) is not kind and not is_whole_float:
        raise ValueError(type(value))
    return kind(value)


def _pair(value: Any) -> tuple[int, int]:
    sides = [value] if type(value) is int else list(value) if isinstance(value, list) else []
    if len(sides) not in (1, 2) or any(type(side) is not int for side in sides):
        raise ValueError(value)
    return sides[0], sides[-1]


def _lookup(known: Mapping[str, bool], text: str) -> bool:
    if text not in known:
        raise ValueError(text)
    return known[text]


def _one_of(names: tuple[str, ...]) -> str:
    return f"one of {', '.join(names)}"
