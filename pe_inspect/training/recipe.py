"""A recipe says everything that a training run depends on; it is a TOML file read into this."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, get_type_hints

from pe_inspect.bounded import is_file_name
from pe_inspect.data.augmentation import Augmentation
from pe_inspect.errors import UsageError
from pe_inspect.models.config import SCHEMES, ViTConfig
from pe_inspect.registry import did_you_mean
from pe_inspect.training.recipe_file import read_recipes
from pe_inspect.training.recipe_values import check, one_of, parse, split_assignments, typed

__all__ = ["Recipe"]

PRECISIONS: Final = ("auto", "float32", "bfloat16")
STORED_TYPES: Final = ("float32", "float16")
SWITCHES: Final = ("auto", "on", "off")
POLICIES: Final = ("none", "randaugment", "randaugment-timm", "trivialaugment", "3-augment")
FILLS: Final = ("mean", "noise")
OPTIMIZERS: Final = ("adamw", "lamb")
LOSSES: Final = ("cross-entropy", "bce")
SCHEDULES: Final = ("step", "schh", "deit")
DECAYED: Final = ("matrices", "deit", "all")
STARTS: Final = ("timm", "schh", "lape")

_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "precision": PRECISIONS,
    "stored_as": STORED_TYPES,
    "compile": SWITCHES,
    "channels_last": SWITCHES,
    "stream": SWITCHES,
    "augment": POLICIES,
    "erasing_fill": FILLS,
    "optimizer": OPTIMIZERS,
    "loss": LOSSES,
    "schedule": SCHEDULES,
    "decayed": DECAYED,
    "start": STARTS,
}
# What the minutes of an epoch do not hang on.
TIMELESS: Final = frozenset(
    {"name", "description", "epochs", "lr", "min_lr", "warmup_epochs", "weight_decay", "strict"}
    | {"label_smoothing", "stored_as", "snapshot_every", "seed", "minutes_per_epoch", "timed_on"}
    | {"schedule", "decayed", "start"}
)
_NOT_NEGATIVE: Final = (
    *("min_lr", "warmup_epochs", "weight_decay", "clip_grad", "shift"),
    *("mixup", "cutmix", "mixup_off_epoch", "minutes_per_epoch"),
)
BEYOND: Final = 10**9
LARGEST_SEED: Final = 2**32 - 1  # times the strides of epochs and steps it still is a 64-bit number


@dataclass(frozen=True)
class Recipe:
    """What to train, on what, and for how long.

    Attributes:
        name: the recipe's name; a file's is its stem.
        description: one line for the list of recipes.
        data: a dataset's name, e.g. `"digits"`, `"imagefolder:PATH"`.
        model: the shape of the network, scheme and join included (`[model]` in the file).
        epochs: passes over the training images, those of an extended run included.
        extends: as many of them an earlier run did, from whose weights this one goes on by a
            schedule of its own; 0 for a run from the beginning. `--extend` sets it.
        batch_size: images a step, over all its micro-batches and all processes.
        accumulate: micro-batches of equal size that a step's gradient is summed over.
        optimizer: `"adamw"`, or `"lamb"` (arXiv:1904.00962).
        lr: its learning rate at the end of the warm-up.
        min_lr: where the cosine ends.
        warmup_epochs: epochs (fractions too) of linear warm-up from zero.
        schedule: `"step"`, a rate of its own for each step; `"schh"` and `"deit"`, a rate an
            epoch, as those codes have it: s-chh's stays at its highest one epoch longer, DeiT's
            comes one epoch late and begins at 1e-6.
        weight_decay: of the parameters that decay.
        decayed: which do: `"matrices"`, weight matrices, and no norm, bias or embedding;
            `"deit"`, embeddings too, but for `pos_embed` and `cls_token`, as under the timm (0.3.2)
            that DeiT and LaPE ask for; `"all"`, every parameter, as s-chh's code has it.
        start: of the weights: `"timm"`, linear layers of σ 0.02 and convolutions as torch has
            them; `"schh"`, convolutions likewise of σ 0.02, and their biases at zero; `"lape"`,
            as timm, and biases by offset at zero.
        loss: `"cross-entropy"`, or `"bce"`: a binary one for every class, which is there if it has
            any share of the image (arXiv:2204.07118).
        label_smoothing: probability mass spread over all classes, 0 … 1.
        clip_grad: the largest gradient norm; 0 does not clip.
        ema_decay: of the moving average of the weights, which is then what is saved; 0 keeps none.
        shift: training images move by up to this many pixels each way.
        flip: half of the training images are mirrored.
        augment: `"randaugment"` or `"trivialaugment"`, as torchvision has them,
            `"randaugment-timm"` (`rand-m9-mstd0.5-inc1`), `"3-augment"` (DeiT III's), or
            `"none"`.
        num_ops: operations an image under either RandAugment.
        magnitude: their strength there, 0 … 30; 0 … 10 of timm's.
        color_jitter: brightness, contrast and saturation of a training image change by up to this
            share, after the policy; 0 … 1.
        erasing: how often a rectangle of a training image is erased, 0 … 1.
        erasing_fill: whether it becomes the `"mean"` colour or `"noise"`.
        teacher: a checkpoint whose answers the head of the distillation token learns instead of
            the labels (hard distillation, arXiv:2012.12877): a file, a folder or a name that
            `pei.rebuild` makes a model of; empty for none.
        mixup: α of the Beta distribution that two images are blended by; 0 for none.
        cutmix: α of the Beta distribution of the area that another image is pasted into; 0 for
            none. With both, each step takes one of them, as often as the other.
        mixup_off_epoch: the first epoch, from 1, without either; 0 for never.
        repeats: how often an image comes in the order of an epoch, augmented anew each time; an
            epoch is as long as ever, and sees fewer images. Source: arXiv:1901.09335.
        crop_scale: the smallest share of a streamed training image that a crop keeps, 0 … 1.
        crop_pct: the share of a streamed test image's shorter side that is evaluated, above 0 … 1.
        stream: whether images are read from the disk as they are needed; `"auto"` where they do
            not fit into the memory that a set may take.
        strict: stop at an image that cannot be read, instead of leaving it out.
        precision: of matrix products in training: `"float32"`, `"bfloat16"`, or `"auto"`, which
            is bfloat16 where the hardware has it.
        stored_as: the type of the saved weights, `"float32"` or `"float16"`; the accuracy in
            `config.json` is that of the saved weights.
        compile: whether `torch.compile` builds the step: `"on"`, `"off"`, or `"auto"`, where it
            pays.
        channels_last: the memory format of images, likewise.
        deterministic: on a GPU, allow only algorithms that give the same bits every time.
        snapshot_every: epochs between snapshots of the position embedding.
        seed: of the initial weights, the order and the augmentation; 0 … 4294967295.
        minutes_per_epoch: measured on `timed_on`; 0 where nobody measured it.
        timed_on: the machine that `minutes_per_epoch` was measured on.
        expected_accuracy: top-1 that was published for it, 0 … 1; 0 where none was.
        accuracy_source: where that was published.
        notes: what was decided for the user, e.g. the join of a scheme; not part of the recipe.
    """

    name: str
    data: str
    model: ViTConfig
    description: str = ""
    epochs: int = 10
    extends: int = 0
    batch_size: int = 128
    accumulate: int = 1
    optimizer: str = "adamw"
    lr: float = 1e-3
    min_lr: float = 1e-5
    warmup_epochs: float = 1.0
    schedule: str = "step"
    weight_decay: float = 0.05
    decayed: str = "matrices"
    start: str = "timm"
    loss: str = "cross-entropy"
    label_smoothing: float = 0.1
    clip_grad: float = 1.0
    ema_decay: float = 0.0
    shift: int = 0
    flip: bool = False
    augment: str = "none"
    num_ops: int = 2
    magnitude: int = 9
    color_jitter: float = 0.0
    erasing: float = 0.0
    erasing_fill: str = "mean"
    teacher: str = ""
    mixup: float = 0.0
    cutmix: float = 0.0
    mixup_off_epoch: int = 0
    repeats: int = 1
    crop_scale: float = 0.08
    crop_pct: float = 0.875
    stream: str = "auto"
    strict: bool = False
    precision: str = "auto"
    stored_as: str = "float32"
    compile: str = "auto"
    channels_last: str = "auto"
    deterministic: bool = False
    snapshot_every: int = 1
    seed: int = 0
    minutes_per_epoch: float = 0.0
    timed_on: str = "2 CPU cores"
    expected_accuracy: float = 0.0
    accuracy_source: str = ""
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        self._demand("name", is_file_name(self.name), "one part of a path, as vit-lape: a folder "
                     "of that name is made")  # fmt: skip
        for name in ("epochs", "batch_size", "snapshot_every", "accumulate", "num_ops", "repeats"):
            self._demand(name, 1 <= getattr(self, name) < BEYOND, "at least 1, and below 10^9")
        for name in _NOT_NEGATIVE:
            self._demand(name, 0 <= getattr(self, name) < math.inf, "0 or more")
        self._demand("extends", 0 <= self.extends < self.epochs, "0 or more, and below epochs")
        self._demand("lr", 0 < self.lr < math.inf, "above 0 and finite")
        for name in ("label_smoothing", "ema_decay"):
            self._demand(name, 0 <= getattr(self, name) < 1, "from 0 to below 1")
        self._demand("seed", 0 <= self.seed <= LARGEST_SEED, f"from 0 to {LARGEST_SEED}")
        self._demand("crop_pct", 0 < self.crop_pct <= 1, "above 0 and at most 1")
        for name in ("erasing", "crop_scale", "color_jitter", "expected_accuracy"):
            self._demand(name, 0 <= getattr(self, name) <= 1, "from 0 to 1")
        top = 10 if self.augment == "randaugment-timm" else 30
        self._demand("magnitude", 0 <= self.magnitude <= top, f"from 0 to {top}")
        for name, known in _CHOICES.items():
            self._demand(name, getattr(self, name) in known, one_of(known))
        self._demand("teacher", not self.teacher or self.model.distilled, "empty: the model has no "
                     "distillation token; --set distilled=true adds one")  # fmt: skip
        self._check_epsilon()
        self._check_micro_batches()

    @classmethod
    def open(cls, path: str | Path) -> Recipe:
        """Read a recipe file; of a family one member, named after a colon: `mine.toml:lape`.

        Raises:
            UsageError: there is no such file or variant, it is not TOML, or a key is unknown or
                mistyped.
        """
        file, colon, variant = str(path).partition(".toml:")
        place = Path(f"{file}.toml") if colon else Path(path)
        known = read_recipes(place)
        name = f"{place.stem}-{variant}" if colon else place.stem
        if name not in known:
            raise UsageError(_which(place, variant, list(known)))
        try:
            return cls.from_dict(known[name])
        except UsageError as error:
            raise UsageError(f"{place.name}: {error}") from error

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Recipe:
        """Build a recipe from plain values, every one checked against its field's type."""
        plain = {key: value for key, value in content.items() if key != "model"}
        shape = content.get("model", {})
        if not isinstance(shape, Mapping):
            raise UsageError(f"model is {shape!r}; expected a table of its own: [model].")
        values = typed(_RECIPE_TYPES, plain, check)
        if "data" not in values:
            raise UsageError('a recipe needs data, the name of a dataset, e.g. data = "digits".')
        return cls(**values, model=ViTConfig(**typed(_MODEL_TYPES, shape, check)))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON; `from_dict` takes them back."""
        plain = {**asdict(self), "model": self.model.to_dict()}
        del plain["notes"]
        return plain

    def with_overrides(self, assignments: Iterable[str]) -> Recipe:
        """Return the recipe with `key=value` assignments applied, e.g. `epochs=5`, `depth=4`.

        Raises:
            UsageError: an assignment has no `=`, its key does not exist or has two values, its
                value is of another type, or the result is no possible recipe.
        """
        given = split_assignments(assignments)
        shape = {key: given.pop(key) for key in list(given) if key in _MODEL_TYPES}
        known = {**_RECIPE_TYPES, **_MODEL_TYPES}
        model, notes = _reshaped(self.model, typed(known, shape, parse))
        changed = typed(known, given, parse)
        if shape or not TIMELESS.issuperset(changed):
            changed = {"minutes_per_epoch": 0.0, **changed}  # nobody timed this one
        return replace(self, model=model, notes=(*self.notes, *notes), **changed)

    @property
    def augmentation(self) -> Augmentation:
        """What happens to its training images."""
        shared = {f.name: getattr(self, f.name) for f in fields(Augmentation) if f.name != "policy"}
        return Augmentation(policy=self.augment, **shared)

    @property
    def expected_minutes(self) -> float:
        """Minutes that the run takes on `timed_on`; 0 where nobody measured it."""
        return self.minutes_per_epoch * self.own_epochs

    @property
    def own_epochs(self) -> int:
        """Epochs of its own schedule: all but those of the run that it extends."""
        return self.epochs - self.extends

    @property
    def num_parameters(self) -> int:
        """Learned scalars of the model."""
        return self.model.num_parameters

    def _check_epsilon(self) -> None:
        eps = self.model.ln_eps
        if not 0 <= eps < 1:
            raise UsageError(f"ln_eps is {eps!r}; it must be from 0 to below 1, e.g. 1e-6.")

    def _check_micro_batches(self) -> None:
        if self.batch_size % self.accumulate:
            fitting = _multiple(self.batch_size, self.accumulate)
            raise UsageError(
                f"accumulate is {self.accumulate}, which does not divide batch_size "
                f"{self.batch_size}; choose e.g. batch_size={fitting}."
            )

    def _demand(self, name: str, is_met: bool, expected: str) -> None:
        if not is_met:
            raise UsageError(f"{name} is {getattr(self, name)!r}; it must be {expected}.")


_HINTS: Final = get_type_hints(Recipe)
_NOT_PLAIN: Final = ("model", "notes")
_RECIPE_TYPES: Final = {f.name: _HINTS[f.name] for f in fields(Recipe) if f.name not in _NOT_PLAIN}
_MODEL_TYPES: Final = get_type_hints(ViTConfig)


def _reshaped(model: ViTConfig, changes: Mapping[str, Any]) -> tuple[ViTConfig, list[str]]:
    """Change a model; a new scheme that cannot have the old join takes its ordinary one."""
    scheme = changes.get("scheme", model.scheme)
    fitting = SCHEMES.get(scheme, (model.join,))
    if "join" in changes or model.join in fitting:
        return replace(model, **changes), []
    note = f"scheme {scheme} cannot have join {model.join!r}; it takes its own, {fitting[0]!r}."
    return replace(model, **{**changes, "join": fitting[0]}), [note]


def _multiple(number: int, divisor: int) -> int:
    return max(1, round(number / divisor)) * divisor


def _which(file: Path, variant: str, known: list[str]) -> str:
    """Say which recipes a file holds."""
    variants = [name.removeprefix(f"{file.stem}-") for name in known]
    if variants == [file.stem]:
        return f"{file.name} holds one recipe and no variants; leave :{variant} out."
    if not variant:
        listed = ", ".join(variants)
        return f"{file.name} holds several recipes; name one as {file}:{variants[0]}: {listed}."
    return f"{file.name}: {did_you_mean('variant', variant, variants)}"
