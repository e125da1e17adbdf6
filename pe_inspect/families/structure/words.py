"""What parts of a name say: a few stems, used where structure leaves a choice, and for words."""

from __future__ import annotations

import re
from typing import Final

__all__ = [
    "is_decoders",
    "is_no_position",
    "is_of_time",
    "is_textual",
    "pair_axis",
    "says_axis",
    "says_patch",
    "says_position",
    "says_relative",
    "says_rotation",
    "says_vocabulary",
    "token_sort",
]

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
    r"rope|rotary|freqs?_cis|(?:^|[._])freqs?(?:$|[._])|inv_freq|freqs_(?:cos|sin)|"
    r"(?:^|[._])(?:cos|sin)(?:_cached|_table|$|[._])|theta",
    re.I,
)
_NOT_POSITION: Final = re.compile(
    r"quer(?:y|ies)|prompt|(?:^|[._])mask|masks?(?:$|[._])|memor|(?:^|[._])mem|maskmem|object|reference|gaussian|proto|"
    r"num_pos|logit|codebook|(?:^|[._])head[s]?(?:$|[._])|keypoint|anchor",
    re.I,
)
_TIME: Final = re.compile(r"temporal|(?:^|[._])(?:time|frame|frames|tpe|t_?pos\w*)(?:$|[._])", re.I)
_TEXT: Final = re.compile(
    r"(?:^|[._])(?:text|txt|textual|language|llm|lm|bert|gpt|roberta|qformer|t5|word|words|caption)"
    r"(?:$|[._])|language_model|text_model|text_encoder|text_decoder",
    re.I,
)
_VOCABULARY: Final = re.compile(
    r"(?:word|token|tok|vocab\w*|wte|shared|text)_?(?:embed\w*|emb|$)|embed_tokens|(?:^|[._])wte(?:$|[._])"
    r"|char_embed|text_embed\.embedding",
    re.I,
)
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
_ROW: Final = re.compile(
    r"(?<![a-z])(row|rows|y|h|height|vertical|ver|freq\w*|lat\w*)(?![a-z])", re.I
)
_COLUMN: Final = re.compile(
    r"(?<![a-z])(column|columns|col|cols|x|w|width|horizontal|hor|time|lon\w*)(?![a-z])", re.I
)


def says_position(path: str) -> bool:
    """Whether a path says position, as `pos_embed`, `position_enc` or `pe` do."""
    return bool(_POSITION.search(path))


def says_relative(path: str) -> bool:
    """Whether a path says that it is relative, or a bias."""
    return bool(_RELATIVE.search(path))


def says_rotation(path: str) -> bool:
    """Whether a path says rotary."""
    return bool(_ROTATION.search(path))


def is_no_position(path: str) -> bool:
    """Whether a path speaks of queries, masks, memories and the like."""
    return bool(_NOT_POSITION.search(path))


def is_of_time(path: str) -> bool:
    """Whether a path speaks of time."""
    return bool(_TIME.search(path))


def is_textual(path: str) -> bool:
    """Whether a path speaks of text."""
    return bool(_TEXT.search(path))


def says_vocabulary(path: str) -> bool:
    """Whether a path is that of a vocabulary."""
    return bool(_VOCABULARY.search(path)) and not says_position(path)


def is_decoders(path: str) -> bool:
    """Whether a path is that of a decoder or a predictor."""
    return bool(_DECODER.search(path))


def says_patch(path: str) -> bool:
    """Whether a path may be that of a patch kernel."""
    return bool(_PATCH.search(path))


def token_sort(path: str) -> str | None:
    """Return which sort of extra token a path names: cls, dist, reg or det."""
    end = ".".join(path.split(".")[-2:])
    return next((sort for sort, pattern in _TOKEN_SORTS if pattern.search(end)), None)


def says_axis(path: str) -> str | None:
    """Return `"y"` or `"x"` where the last parts of a path name an axis."""
    found = [(m.start(), axis) for m, axis in _axes(path)]
    return max(found)[1] if found else None


def pair_axis(path: str) -> tuple[str, str] | None:
    """Return (path with the axis word left out, axis) where a path names an axis."""
    found = [(m.start(), m.end(), axis) for m, axis in _axes(path)]
    if not found:
        return None
    start, end, axis = max(found)
    return f"{path[:start]}*{path[end:]}", axis


def _axes(path: str) -> list[tuple[re.Match[str], str]]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", path) if len(path) < 500 else path
    return [
        (match, axis)
        for pattern, axis in ((_ROW, "y"), (_COLUMN, "x"))
        for match in pattern.finditer(spaced)
    ]
