"""The tensors of a file under names without wrappers, and what the parts of a name say.

Words are a few stems, used where structure leaves a choice, and for words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, wraps
from math import prod
from typing import Final, TypeVar

from pe_inspect.loading.checkpoint import Checkpoint

__all__ = [
    "NamedTensor",
    "common_depth",
    "form",
    "is_codebook",
    "is_decoders",
    "is_no_position",
    "is_of_steps",
    "is_of_time",
    "is_textual",
    "is_visual",
    "named_tensors",
    "pair_axis",
    "says_axis",
    "says_patch",
    "says_position",
    "says_relative",
    "says_rotation",
    "says_vocabulary",
    "token_sort",
    "wildcard",
]

_WRAPPERS: Final = frozenset({
    "module", "_orig_mod", "_forward_module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module",
    "_fpw_module", "base_layer", "original_module",
})  # fmt: skip
_LORA_BASE: Final = re.compile(r"(?:^|(?<=\.))base_model\.model\.")
_MAY_WRAP: Final = re.compile(r"/|module|_orig_mod|base_")  # what each of these has
_SIDE: Final = re.compile(r"\.(?:lora_\w+|modules_to_save)(?:\.|$)")
_LONGEST: Final = 500  # characters of a name that is looked at
_NUMBER: Final = re.compile(r"\d+")
_WHOLE_NUMBER: Final = re.compile(r"(?<![^.])\d+(?![^.])")
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


@dataclass(frozen=True)
class NamedTensor:
    """One tensor under its name without wrappers.

    Attributes:
        path: the name, dots between its parts, no wrapper among them.
        key: the checkpoint's name of it.
        shape: as stored.
        dtype: as stored, by numpy's name.
    """

    path: str
    key: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return prod(self.shape)

    @property
    def is_floating(self) -> bool:
        """Whether its numbers are real and fractional."""
        return self.dtype.startswith(("float", "bfloat"))

    @property
    def is_index(self) -> bool:
        """Whether its numbers are integers."""
        return self.dtype.startswith(("int", "uint"))

    @property
    def module(self) -> str:
        """The path of the module that it belongs to."""
        return self.path.rpartition(".")[0]

    @property
    def leaf(self) -> str:
        """The last part of its path."""
        return self.path.rpartition(".")[2]

    @property
    def squeezed(self) -> tuple[int, ...]:
        """The shape without axes of length 1."""
        return _squeezed(self.shape)


@lru_cache(maxsize=1024)
def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(side for side in shape if side != 1)


def named_tensors(checkpoint: Checkpoint) -> Mapping[str, NamedTensor]:
    """Return path → tensor in the file's order; the side tensors of LoRA are left out.

    Of two names that become one, the first keeps the path.
    """
    found: dict[str, NamedTensor] = {}
    for key in checkpoint.keys:
        path = without_wrappers(key)
        if path and not _SIDE.search(path):
            found.setdefault(
                path, NamedTensor(path, key, checkpoint.shape(key), checkpoint.dtype(key))
            )
    return found


def without_wrappers(key: str) -> str:
    """Return a key without the wrappers that stand anywhere in it."""
    if len(key) > _LONGEST or not _MAY_WRAP.search(key):
        return key
    path = _LORA_BASE.sub("", key.replace("/", "."))
    return ".".join(part for part in path.split(".") if part not in _WRAPPERS)


def form(path: str) -> str:
    """Return a path with all its whole numbers alike: they say nothing of what a name says."""
    return _WHOLE_NUMBER.sub("0", path)


def wildcard(path: str) -> str:
    """Return a path with its numbers as wildcards."""
    return _NUMBER.sub("#", path)


def common_depth(one: str, other: str) -> int:
    """How many leading parts two paths have in common."""
    count = 0
    for a, b in zip(one.split("."), other.split(".")):
        if a != b:
            break
        count += 1
    return count


_POSITION: Final = re.compile(
    r"(?:^|[._]|abs|(?<=[a-z])(?=P))"
    r"(?:[Pp]os(?:$|\d|[._]|[ei]?mb|enc|ition|E|I)|(?:a|w|s|t)?pe(?:$|\d|[._])|PE(?:$|[._]))"
)
_RELATIVE: Final = re.compile(
    r"(?:^|[._])(?:rel|relative|rpb|rpe|relpos|rel_?pos\w*|irpe|crpe|bias|biases|alibi)(?:$|[._\d])"
    r"|relative|attention_bias|position_bias|pos_bias|bias_table",
    re.I,
)
_ROTATION: Final = re.compile(
    r"rope|rotary|freqs?_cis|(?:^|[._])freqs(?:$|[._])|inv_freq|freqs_(?:cos|sin)|"
    r"(?:^|[._])(?:cos|sin)(?:_cached|_table|$|[._])|theta",
    re.I,
)
_NOT_POSITION: Final = re.compile(
    r"quer(?:y|ies)|prompt|(?:^|[._])mask|masks?(?:$|[._])|memor|(?:^|[._])mem|maskmem|object|reference|gaussian|proto|"
    r"num_pos|logit|codebook|(?:^|[._])actions?(?:$|[._])|(?:^|[._])head[s]?(?:$|[._])|keypoint|anchor",
    re.I,
)
_TIME: Final = re.compile(
    r"temporal|(?:^|[._])(?:temp|time|frame|frames|tpe|t_?pos\w*)(?:$|[._])", re.I
)
_STEP: Final = re.compile(
    r"time_?(?:step|emb|mlp|proj)|noise|sigma|fourier|(?:^|[._])t_(?:emb|proj|mlp)", re.I
)
_TEXT: Final = re.compile(
    r"(?:^|[._])(?:text|txt|textual|language|llm|lm|bert|gpt|roberta|qformer|t5|word|words|caption)"
    r"(?:$|[._])|language_model|text_model|text_encoder|text_decoder",
    re.I,
)
_VISUAL: Final = re.compile(r"image|visual|vision|pixel|patch|(?:^|[._])img", re.I)
_VOCABULARY: Final = re.compile(
    r"(?:word|token|tok|vocab\w*|wte|shared|text)_?(?:embed\w*|emb|$)|embed_tokens|(?:^|[._])wte(?:$|[._])"
    r"|char_embed|text_embed\.embedding",
    re.I,
)
_CODEBOOK: Final = re.compile(r"quanti[sz]|codebook|(?:^|[._])vq", re.I)
_DECODER: Final = re.compile(r"decoder|predictor|(?:^|[._])dec(?:$|[._\d])|pixel_", re.I)
_PATCH: Final = re.compile(
    r"patch|stem|tokeni[sz]er|conv_?1|proj|embed|emb(?:$|[._])|input|mapper", re.I
)
_TOKEN_SORTS: Final = (
    ("cls", re.compile(r"(?:^|[._])(?:cls|class)(?:$|[._\d]|tok|emb|_?token)", re.I)),
    ("dist", re.compile(r"(?:^|[._])(?:dist|distill\w*)(?:$|[._]|tok)", re.I)),
    ("reg", re.compile(r"(?:^|[._])(?:reg|register|registers|storage)(?:$|[._]|tok)", re.I)),
    ("det", re.compile(r"(?:^|[._])(?:det|detection)_?(?:tok\w*|emb\w*|quer\w*)", re.I)),
)
_AXES: Final = {
    "t": frozenset(
        {"t", "d", "z", "dep", "depth", "temporal", "frame", "frames", "slice", "slices"}
    ),
    "y": frozenset(
        {
            "row",
            "rows",
            "y",
            "h",
            "height",
            "hight",
            "vertical",
            "vert",
            "ver",
            "freq",
            "frequency",
            "lat",
        }
        | {"latitude"}
    ),
    "x": frozenset(
        {"column", "columns", "col", "cols", "x", "w", "width", "horizontal", "horiz", "hor"}
        | {"time", "lon", "longitude"}
    ),
}
_PART: Final = re.compile(r"[A-Z]+(?![a-z])\d*|[A-Z]?[a-z]+\d*|\d+[A-Za-z]*")


_Said = TypeVar("_Said")


def _of_form(say: Callable[[str], _Said]) -> Callable[[str], _Said]:
    """Ask a question once for all paths of one form."""
    known = lru_cache(maxsize=4096)(say)

    @wraps(say)
    def said(path: str) -> _Said:
        return known(form(path))

    return said


@_of_form
def says_position(path: str) -> bool:
    """Whether a path says position, as `pos_embed`, `position_enc` or `pe` do."""
    return bool(_POSITION.search(path))


@_of_form
def says_relative(path: str) -> bool:
    """Whether a path says that it is relative, or a bias."""
    return bool(_RELATIVE.search(path))


@_of_form
def says_rotation(path: str) -> bool:
    """Whether a path says rotary."""
    return bool(_ROTATION.search(path))


@_of_form
def is_no_position(path: str) -> bool:
    """Whether a path speaks of queries, masks, memories and the like."""
    return bool(_NOT_POSITION.search(path))


@_of_form
def is_of_time(path: str) -> bool:
    """Whether a path speaks of time."""
    return bool(_TIME.search(path))


@_of_form
def is_of_steps(path: str) -> bool:
    """Whether a path speaks of the steps, or the noise, of a diffusion."""
    return bool(_STEP.search(path))


@_of_form
def is_textual(path: str) -> bool:
    """Whether a path speaks of text."""
    return bool(_TEXT.search(path))


@_of_form
def is_visual(path: str) -> bool:
    """Whether a path speaks of images."""
    return bool(_VISUAL.search(path))


@_of_form
def says_vocabulary(path: str) -> bool:
    """Whether a path is that of a vocabulary."""
    return bool(_VOCABULARY.search(path)) and not says_position(path)


@_of_form
def is_codebook(path: str) -> bool:
    """Whether a path is that of a codebook: a vocabulary of parts of images."""
    return bool(_CODEBOOK.search(path))


@_of_form
def is_decoders(path: str) -> bool:
    """Whether a path is that of a decoder or a predictor."""
    return bool(_DECODER.search(path))


@_of_form
def says_patch(path: str) -> bool:
    """Whether a path may be that of a patch kernel."""
    return bool(_PATCH.search(path))


@_of_form
def token_sort(path: str) -> str | None:
    """Return which sort of extra token a path names: cls, dist, reg or det."""
    end = ".".join(path.split(".")[-2:])
    return next((sort for sort, pattern in _TOKEN_SORTS if pattern.search(end)), None)


@_of_form
def says_axis(path: str) -> str | None:
    """Return `"t"`, `"y"` or `"x"` where the last parts of a path name an axis."""
    found = _pair_axis(path)
    return found[1] if found else None


def pair_axis(path: str) -> tuple[str, str] | None:
    """Return (path with the axis word left out, axis) where a path names an axis."""
    return _pair_axis(path) if says_axis(path) is not None else None


def _pair_axis(path: str) -> tuple[str, str] | None:
    for match in reversed(list(_PART.finditer(path[-_LONGEST:]))):
        axis = next((axis for axis, own in _AXES.items() if match[0].lower() in own), None)
        if axis is not None:
            start = len(path[:-_LONGEST]) + match.start()
            return f"{path[:start]}*{path[start + len(match[0]) :]}", axis
    return None
