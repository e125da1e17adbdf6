"""The tensors of a checkpoint under the trunk's own names: every name is walked once.

Readers look names up here. Where they know a pattern only, it is tried on one name of each form
(`blocks.#.attn.qkv.weight`), of which a file has a few dozen, whatever the number of its tensors.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, wraps
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np

from pe_inspect.arrays import Float32, Shaped
from pe_inspect.errors import UnreadableCheckpoint
from pe_inspect.families.reading.names import (
    bare_names,
    block_of,
    block_splitter,
    by_form,
    embeds_words_alone,
    flat_blocks,
    in_order,
    timm_place,
)
from pe_inspect.families.reading.tower_config import tower_config
from pe_inspect.kinds.held_values import Unread
from pe_inspect.loading.checkpoint import Checkpoint, Hints

__all__ = ["Match", "NamedTensors", "Place", "answered_once", "is_depthwise"]

QUANTISED: Final = ("int8", "uint8")
_MOST_BYTES: Final = 1 << 28
_WORDS: Final = re.compile(r"[./]")
_DIGITS: Final = re.compile(r"\[\d[\d-]*\]|\d+")

_Asked = TypeVar("_Asked", bound="NamedTensors")
_Answer = TypeVar("_Answer")


class Match(NamedTuple):
    """A name that a pattern matches.

    Attributes:
        bare: the name without wrappers.
        key: the checkpoint's name.
        groups: what the pattern found.
        layer: timm's name of the block; empty outside the blocks.
    """

    bare: str
    key: str
    groups: re.Match[str]
    layer: str = ""


@dataclass(frozen=True)
class Place:
    """Where one module of a scheme lies.

    Attributes:
        layer: timm's name of the block or stage, e.g. `"blocks.3"`.
        module: the rest of the module's path, e.g. `"attn_grid"`; empty where there is none.
        path: the module's path in the checkpoint, without wrappers.
        stem: the checkpoint's key up to the parameter that was matched.
        match: what the pattern found.
    """

    layer: str
    module: str
    path: str
    stem: str
    match: re.Match[str]


class _Kept:
    """Tensors that were read; where room is short, those that were read first are let go."""

    def __init__(self) -> None:
        self._values = OrderedDict[str, np.ndarray]()
        self._nbytes = 0

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def get(self, key: str) -> np.ndarray | None:
        """Return a tensor that is still held."""
        return self._values.get(key)

    def put(self, key: str, values: np.ndarray) -> np.ndarray:
        """Hold a tensor, and return it read-only."""
        view = values.view()
        view.flags.writeable = False
        self._nbytes += view.nbytes
        self._values[key] = view
        while self._nbytes > _MOST_BYTES:
            self._nbytes -= self._values.popitem(last=False)[1].nbytes
        return view


@dataclass(frozen=True, eq=False)
class NamedTensors:
    """The tensors of one checkpoint by bare name, and each of them read at most once.

    Attributes:
        checkpoint: what was opened.
    """

    checkpoint: Checkpoint
    _answers: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)
    _kept: _Kept = field(default_factory=lambda: _Kept(), init=False, repr=False)
    _unread: dict[str, Unread] = field(default_factory=dict, init=False, repr=False)

    @property
    def hints(self) -> Hints:
        """What flags, a config.json or the file say, and who says it."""
        return self.checkpoint.hints

    @property
    def source(self) -> str:
        """The checkpoint as the user named it."""
        return self.checkpoint.source

    @property
    def config(self) -> Mapping[str, Any]:
        """The config.json that came with the weights; empty where none did."""
        config = self.checkpoint.metadata.get("config")
        return config if isinstance(config, dict) else {}

    @property
    def vision_config(self) -> Mapping[str, Any]:
        """The config.json of the image tower; a model of several towers nests it."""
        return tower_config(self.config)

    def __contains__(self, key: object) -> bool:
        return key in self.checkpoint

    def __iter__(self) -> Iterator[str]:
        return iter(self.checkpoint)

    def __len__(self) -> int:
        return len(self.checkpoint)

    def shape(self, key: str) -> tuple[int, ...]:
        """The shape of a tensor by the checkpoint's name of it."""
        return self.checkpoint.shape(key)

    def dtype(self, key: str) -> str:
        """The stored type."""
        return self.checkpoint.dtype(key)

    def size(self, key: str) -> int:
        """How many numbers a tensor holds."""
        return self.checkpoint.tensors[key].size

    def stored_key(self, key: str) -> str:
        """The name under which the file stores `key`."""
        return self.checkpoint.stored_key(key)

    def tensor(self, key: str) -> Shaped[np.ndarray, "..."]:
        """Read a tensor, once: it is kept, read-only, as long as there is room for it."""
        if (kept := self._kept.get(key)) is None:
            later = self._unread.get(key)
            values = self.checkpoint.tensors[key].read() if later is None else later.values()
            kept = self._kept.put(key, values)
        return kept

    def float32(self, key: str) -> Float32[np.ndarray, "..."]:
        """Read a tensor as float32, whatever type the file stores.

        Raises:
            UnreadableCheckpoint: it holds complex numbers, or small integers in place of its
                numbers.
        """
        self._refuse_other_numbers(key)
        return np.asarray(self.tensor(key), dtype=np.float32)

    def unread(self, key: str) -> Float32[np.ndarray, "..."] | Unread:
        """Return a tensor that is read as float32 when somebody looks; of a file elsewhere, now.

        Raises:
            UnreadableCheckpoint: as `float32` does.
        """
        if self.checkpoint.path is None or key in self._kept:
            return self.float32(key)
        self._refuse_other_numbers(key)
        if (found := self._unread.get(key)) is None:
            stored = self.checkpoint.tensors[key]
            found = self._unread[key] = Unread(stored.shape, stored.read)
        return found

    def _refuse_other_numbers(self, key: str) -> None:
        dtype = self.dtype(key)
        if dtype in QUANTISED:
            raise UnreadableCheckpoint(
                f"{self.stored_key(key)} of {self.source} holds {dtype} "
                "integers: the file is quantised, and this table with it. Give the file that it "
                "was made from."
            )
        if dtype.startswith("complex"):
            raise UnreadableCheckpoint(
                f"{self.stored_key(key)} of {self.source} holds {dtype}: "
                "complex numbers, and a position embedding is read as real ones. Save its real "
                "part, its angles, or both as real numbers."
            )

    @cached_property
    def names(self) -> Mapping[str, str]:
        """Bare name → the checkpoint's name, for the tensors of the vision trunk."""
        return MappingProxyType(bare_names(self.checkpoint.keys, self._stored_forms))

    @cached_property
    def is_text_tower(self) -> bool:
        """Whether the file is a text tower alone."""
        keys = self.checkpoint.keys
        return embeds_words_alone(self._stored_forms) and embeds_words_alone(keys)

    @cached_property
    def _stored_forms(self) -> Mapping[str, list[str]]:
        keys = self.checkpoint.keys
        return by_form(dict(zip(keys, keys)))

    @cached_property
    def _forms(self) -> Mapping[str, list[str]]:
        """Bare names by form: the name with every number replaced by 0."""
        is_as_stored = self.names.keys() == self.checkpoint.tensors.keys()
        return self._stored_forms if is_as_stored else by_form({bare: bare for bare in self.names})

    @cached_property
    def _in_blocks(self) -> Mapping[str, tuple[str, str]]:
        """Bare name → (timm's layer, the rest), for what lies in a block."""
        found = dict[str, tuple[str, str]]()
        for form, bares in self._forms.items():
            split = block_splitter(form)
            found.update((bare, block) for bare in bares if (block := split(bare)) is not None)
        return found

    @cached_property
    def _inner_forms(self) -> Mapping[str, list[str]]:
        """Bare names of what lies in a block, by the form of the rest."""
        return by_form({bare: rest for bare, (_, rest) in self._in_blocks.items()})

    @cached_property
    def _order(self) -> Mapping[str, int]:
        return {bare: number for number, bare in enumerate(self.names)}

    def block_of(self, bare: str) -> tuple[str, str] | None:
        """Split a bare name of the trunk into timm's layer and the rest; `None` outside blocks."""
        return self._in_blocks.get(bare)

    def place(self, bare: str) -> tuple[str, str]:
        """Return timm's (layer, name) of the module of a tensor; outside blocks, its own name."""
        return timm_place(bare, self.block_of(bare))

    def matching(self, pattern: re.Pattern[str]) -> list[Match]:
        """Return every bare name that a pattern matches as a whole, in the file's order."""
        found = [
            Match(bare, self.names[bare], match, self._in_blocks.get(bare, ("",))[0])
            for form, bares in self._forms.items()
            if _relaxed(pattern).fullmatch(form)
            for bare in bares
            if (match := pattern.fullmatch(bare))
        ]
        return sorted(found, key=lambda each: self._order[each.bare])

    def matching_in_blocks(self, pattern: re.Pattern[str]) -> list[Match]:
        """Return every tensor of a block whose name within it a pattern matches, as in the file."""
        found = [
            Match(bare, self.names[bare], match, self._in_blocks[bare][0])
            for form, bares in self._inner_forms.items()
            if _relaxed(pattern).fullmatch(form)
            for bare in bares
            if (match := pattern.fullmatch(self._in_blocks[bare][1]))
        ]
        return sorted(found, key=lambda each: self._order[each.bare])

    def places(self, pattern: re.Pattern[str]) -> list[Place]:
        """Return where `(?P<at>…)` of a pattern lies, in order, one a bare name that matches.

        Args:
            pattern: of whole bare names; its group `at` is the path of the block or stage.
        """
        return sorted(map(_place, self.matching(pattern)), key=lambda p: (_rank(p.layer), p.module))

    def ending(self, words: Container[str]) -> list[tuple[str, str]]:
        """Return every bare name whose last word is one of these, with it, in the file's order."""
        found = [
            (bare, word)
            for form, bares in self._forms.items()
            if (word := _WORDS.split(form)[-1]) in words and word != form
            for bare in bares
        ]
        return sorted(found, key=lambda each: self._order[each[0]])

    def begins(self, pattern: re.Pattern[str]) -> bool:
        """Whether any bare name begins as a pattern says."""
        return any(
            any(map(pattern.match, bares))
            for form, bares in self._forms.items()
            if _relaxed(pattern).match(form)
        )

    def names_in(self, layer: str) -> set[str]:
        """Return the names of a block's tensors within it."""
        return {self._in_blocks[bare][1] for bare in self._by_layer.get(layer, ())}

    @cached_property
    def _by_layer(self) -> Mapping[str, list[str]]:
        """Bare names of what lies in a block, by timm's layer."""
        layers = dict[str, list[str]]()
        for bare, (layer, _) in self._in_blocks.items():
            layers.setdefault(layer, []).append(bare)
        return layers

    @cached_property
    def blocks(self) -> tuple[str, ...]:
        """Timm's names of the blocks that the file holds, by parsed index."""
        return tuple(sorted(self._by_layer, key=in_order))

    @cached_property
    def depth(self) -> int:
        """The number of blocks by parsed index; a gap in the file does not shorten it."""
        flat = flat_blocks(self.blocks)
        return max(flat) + 1 if flat else len(self.blocks)

    @cached_property
    def missing_blocks(self) -> tuple[str, ...]:
        """A note where the file holds no tensor of some block, else nothing."""
        have = flat_blocks(self.blocks)
        gaps = [i for i in range(max(have, default=0)) if i not in have]
        return (f"the file holds nothing of blocks {_listed(gaps)}",) if gaps else ()


def answered_once(ask: Callable[[_Asked], _Answer]) -> Callable[[_Asked], _Answer]:
    """Answer a question about the tensors once: what was found is kept with them."""

    @wraps(ask)
    def asked(tensors: _Asked) -> _Answer:
        if ask not in tensors._answers:
            tensors._answers[ask] = ask(tensors)
        answer: _Answer = tensors._answers[ask]
        return answer

    return asked


def _place(each: Match) -> Place:
    """Return where the group `at` of what was matched lies."""
    path, end = each.groups["at"], each.groups.end("at")
    layer, module = _split(path)
    return Place(layer, module, path, each.key[: len(each.key) - len(each.bare) + end], each.groups)


def _split(path: str) -> tuple[str, str]:
    """Return timm's name of the block and the rest; a path outside the blocks is its own name."""
    if block := block_of(f"{path}."):
        return block[0], block[1].rstrip(".")
    if block := block_of(f"{path}.attn."):  # torchvision numbers whatever it has no name for
        return block[0], ""
    return path, ""


def _rank(layer: str) -> tuple[str, tuple[int, ...]]:
    return re.sub(r"\d+.*", "", layer), in_order(layer)


def is_depthwise(shape: tuple[int, ...], axes: int = 4) -> bool:
    """Whether a weight is a kernel a channel with a middle: (channels, 1, k, k), k odd.

    Args:
        shape: of the weight.
        axes: how many it has; a 3-D convolution has one more.
    """
    is_depthwise = len(shape) == axes and shape[0] > 0 and shape[1] == 1
    return is_depthwise and all(side % 2 for side in shape[2:4])


@lru_cache(maxsize=256)
def _relaxed(pattern: re.Pattern[str]) -> re.Pattern[str]:
    """Return a pattern in which any number stands for each that is named: it matches forms."""
    return re.compile(_DIGITS.sub(r"\\d+", pattern.pattern), pattern.flags)


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:8])) + (", …" if len(numbers) > 8 else "")
