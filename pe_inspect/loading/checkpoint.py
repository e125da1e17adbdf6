"""The lazy container that loading hands to families: names, shapes, and tensors on demand."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from pe_inspect.arrays import Shaped
from pe_inspect.loading.byte_source import hash_of

__all__ = ["Checkpoint", "Hints", "StoredTensor"]

if TYPE_CHECKING:
    # What readers that know names divide by; structure alone is handed one of three axes.
    GridHint: TypeAlias = tuple[int, int]
else:
    GridHint = tuple[int, int] | tuple[int, int, int]

CONFIG: Final = "config.json"
_SCALARS: Final = (str, int, float, bool, type(None))

BUFFERS: Final = frozenset({
    "relative_position_index", "relative_coords_table", "attn_mask", "num_batches_tracked",
    "running_mean", "running_var", "position_ids", "attention_bias_idxs",
    "x_cos", "x_sin", "y_cos", "y_sin", "freqs_cos", "freqs_sin",
})  # fmt: skip


_FIXED: Final = (
    *(f".{name}" for name in BUFFERS),
    "pos_embedding.pos_embedding",  # s-chh's sines; learned is .weight
)


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A tensor that has not been read yet.

    Attributes:
        key: its name as the file stores it, wrappers and prefixes included.
        shape: read from the file's header.
        dtype: the stored type by numpy's or PyTorch's name: `"float32"`, `"bfloat16"`, `"int64"`.
        read: returns the values; float types narrower than 32 bits come widened, exactly.
        storage: equal for two names of the same numbers (tied weights); `None` is nobody else's.
    """

    key: str
    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], Shaped[np.ndarray, "..."]]
    storage: Hashable = None

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    def named(self, key: str) -> StoredTensor:
        """The same tensor under its name in the file."""
        if self.key == key:
            return self
        return StoredTensor(key, self.shape, self.dtype, self.read, self.storage)

    @property
    def is_floating(self) -> bool:
        """Whether the numbers are real and fractional, as a learned parameter's are."""
        return self.dtype.startswith(("float", "bfloat"))


@dataclass(frozen=True)
class Hints:
    """What flags, a config.json or a Namespace in the file say; `None` is unknown.

    `origins` names, for each hint that is set, who said it: `"--grid-size"`, `"config.json"`,
    `"args in the file"`. Flags outrank a config.json, which outranks what the file carries.
    """

    grid_size: GridHint | None = None
    img_size: tuple[int, int] | None = None
    patch_size: tuple[int, int] | None = None
    num_prefix_tokens: int | None = None
    num_heads: int | None = None
    embed_dim: int | None = None
    depth: int | None = None
    family: str | None = None
    join: str | None = None
    pe: str | None = None
    ln_eps: float | None = None
    arch: str | None = None
    rope_theta: float | None = None
    tower: str | None = None
    origins: Mapping[str, str] = field(default_factory=dict)

    def origin(self, name: str) -> str:
        """Return who said a hint: `"--grid-size"`, `"config.json"`, `"args in the file"`."""
        return self.origins.get(name, f"--{name.replace('_', '-')}")

    def is_flag(self, name: str) -> bool:
        """Whether the user gave a hint: a flag binds, what a file says may be out of date."""
        return getattr(self, name) is not None and self.origin(name).startswith("--")

    def is_of_config(self, name: str) -> bool:
        """Whether a hint was found in the config.json that came with the weights."""
        return getattr(self, name) is not None and self.origin(name) == CONFIG

    def over(self, weaker: Hints) -> Hints:
        """Return these hints, with what they leave open taken from `weaker`."""
        open_fields = [name for name in _HINT_NAMES if getattr(self, name) is None]
        taken = {name: getattr(weaker, name) for name in open_fields}
        origins = {n: weaker.origins[n] for n in open_fields if n in weaker.origins}
        return replace(self, **taken, origins={**origins, **self.origins})


_HINT_NAMES: Final = tuple(f.name for f in fields(Hints) if f.name != "origins")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """One state dict of one file, read lazily.

    Attributes:
        source: the checkpoint as the user named it.
        path: the file (for a folder: its weight file or index), where there is one.
        format: `pytorch safetensors npz npy huggingface pe` (`"state_dict"` for one in memory).
        tensors: name → tensor, container and wrapper prefixes removed; the file's order.
        hints: what is known beside the tensors.
        notes: which container was taken, what was stripped, what was left out.
        metadata: harmless plain values that the file or its config.json carries.
        digest: returns the weight file's hash; left out, `path` is hashed.
    """

    source: str
    path: Path | None
    format: str
    tensors: Mapping[str, StoredTensor]
    hints: Hints = field(default_factory=Hints)
    notes: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    digest: Callable[[], str] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "tensors", MappingProxyType(dict(self.tensors)))

    @classmethod
    def from_state_dict(
        cls,
        state_dict: Mapping[str, Any],
        *,
        source: str = "state_dict",
        hints: Hints | None = None,
    ) -> Checkpoint:
        """Wrap a state dict in memory: numpy arrays or torch tensors by name."""
        tensors = {key: tensor_in_memory(key, value) for key, value in state_dict.items()}
        return cls(source, None, "state_dict", tensors, hints or Hints())

    def __repr__(self) -> str:
        name = self.path.name if self.path is not None else self.source
        count = len(self.tensors)
        return f"Checkpoint({name}, {self.format}, {count} tensor{'s' * (count != 1)})"

    @property
    def keys(self) -> tuple[str, ...]:
        """The tensor names, in the file's order."""
        return tuple(self.tensors)

    def __contains__(self, key: object) -> bool:
        return key in self.tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def shape(self, key: str) -> tuple[int, ...]:
        """The shape, without reading the tensor."""
        return self.tensors[key].shape

    def dtype(self, key: str) -> str:
        """The stored type, without reading the tensor."""
        return self.tensors[key].dtype

    def tensor(self, key: str) -> Shaped[np.ndarray, "..."]:
        """Read one tensor; bfloat16, float16 and the float8 kinds come as float32, exactly."""
        return self.tensors[key].read()

    def stored_key(self, key: str) -> str:
        """The name under which the file stores `key`."""
        return self.tensors[key].key

    @property
    def num_parameters(self) -> int:
        """Learned scalars: floating-point tensors, known buffers left out, tied weights once."""
        learned = [t for k, t in self.tensors.items() if t.is_floating and not _is_buffer(k)]
        shared = {t.storage: t.size for t in learned if t.storage is not None}
        return sum(t.size for t in learned if t.storage is None) + sum(shared.values())

    @cached_property
    def sha256(self) -> str:
        """The hash of the weight file, hexadecimal.

        Empty for a state dict in memory, and for a file elsewhere that would have to be downloaded.
        """
        if self.digest is not None:
            return self.digest()
        return hash_of(self.path) if self.path is not None and self.path.is_file() else ""


def _is_buffer(key: str) -> bool:
    return key.endswith(_FIXED) or key in BUFFERS


def is_scalar(value: Any) -> bool:
    """Whether a value is one that metadata keep as it is."""
    return type(value) in _SCALARS


def tensor_in_memory(key: str, value: Any) -> StoredTensor:
    """Wrap a numpy array or a torch tensor; its values are converted when they are read."""
    if isinstance(value, np.ndarray):
        shared = ("numpy", value.__array_interface__["data"][0], value.size)
        return StoredTensor(key, value.shape, str(value.dtype), lambda: value, shared)
    dtype = str(value.dtype).removeprefix("torch.")
    return StoredTensor(
        key, tuple(value.shape), dtype, lambda: _numpy_of(value), _torch_storage(value)
    )


def _torch_storage(tensor: Any) -> Hashable:
    is_plain = str(tensor.layout) == "torch.strided" and tensor.device.type != "meta"
    return ("torch", tensor.data_ptr(), tensor.numel()) if is_plain else None


def _numpy_of(tensor: Any) -> np.ndarray:
    """Return a torch tensor's values; numpy has no bfloat16, so narrow floats are widened."""
    plain = tensor.detach().cpu()
    is_narrow = plain.is_floating_point() and plain.element_size() < np.float32().nbytes
    array: np.ndarray = (plain.float() if is_narrow else plain).numpy()
    return array
