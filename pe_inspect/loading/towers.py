"""Of a model of images and texts, the tower that was asked for: the vision tower, if none was."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pe_inspect.errors import UsageError
from pe_inspect.loading.checkpoint import StoredTensor

__all__ = ["Tower", "choose_tower"]

Tensors = dict[str, StoredTensor]

TEXT: Final = r"(text|text_model|text_encoder|textual|text_tower|language_model|bert)\.|txt/"
VISION: Final = (
    r"(visual|vision_model|vision_tower|visual_encoder|vision_encoder|image_encoder|trunk)\.|img/"
)
TOKENS: Final = r"(^|[./])(token_embedding|word_embeddings|Embed_0)[./]"
"""What only a text tower has."""
OPENAI_TEXT: Final = (
    r"(token_embedding\.|positional_embedding$|transformer\.|ln_final\.|text_projection)"
)
OPENAI_MARK: Final = "token_embedding.weight"
SHARED_BY_TOWERS: Final = r"(logit_scale|logit_bias|visual_projection|text_projection)"


@dataclass
class Tower:
    """Which tower is wanted, and whether it was found.

    Attributes:
        wanted: `"vision"`, `"text"`, or `None` for the ordinary one.
        is_chosen: whether the tensors are those of one tower by now.
    """

    wanted: str | None
    is_chosen: bool = False

    def __post_init__(self) -> None:
        if self.wanted not in (None, "vision", "text"):
            raise UsageError(f"Unknown tower {self.wanted!r}. Known: text, vision.")

    def refuse_missing(self) -> None:
        """Raise a UsageError where a text tower was asked for and there is none."""
        if self.wanted == "text" and not self.is_chosen:
            raise UsageError("--tower text: the state dict has one tower only. Leave --tower out.")


def choose_tower(tensors: Tensors, tower: Tower, notes: list[str]) -> Tensors:
    """Return the tensors of the chosen tower, once two can be told apart; else all of them."""
    if tower.is_chosen:
        return tensors
    text = _text_keys(tensors)
    has_vision = any(map(re.compile(VISION).match, tensors))
    if text and not has_vision and tower.wanted == "text":
        tower.is_chosen = True
    if not text or not has_vision:
        return tensors
    tower.is_chosen = True
    return _one_tower(tensors, text, tower.wanted, notes)


def _text_keys(tensors: Iterable[str]) -> set[str]:
    """The names of a text tower."""
    names = set(tensors)
    text = set(filter(re.compile(TEXT).match, names))
    if OPENAI_MARK in names:
        text |= {key for key in names if re.match(OPENAI_TEXT, key)}
    return text or set(filter(re.compile(TOKENS).search, names))


def _one_tower(tensors: Tensors, text: set[str], wanted: str | None, notes: list[str]) -> Tensors:
    keep_text = wanted == "text"
    kept = {
        key: tensor
        for key, tensor in tensors.items()
        if (key in text) == keep_text or re.match(SHARED_BY_TOWERS, key)
    }
    taken, other = ("text", "vision") if keep_text else ("vision", "text")
    left = len(tensors) - len(kept)
    hint = " (--tower text takes them)" if wanted is None else ""
    many, were = ("tensors", "were") if left != 1 else ("tensor", "was")
    notes.append(
        f"took the {taken} tower; {left} {many} of the {other} tower {were} left out{hint}"
    )
    return kept
