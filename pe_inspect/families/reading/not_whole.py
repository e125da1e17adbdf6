"""Files that hold only a part of a model, or a table under a name that nobody gives it."""

from __future__ import annotations

import re
from math import isqrt
from typing import Final

from pe_inspect.families.trunk import Trunk

__all__ = ["part_of_a_model", "renamed"]

_ADAPTER: Final = re.compile(
    r".*(?:lora_[AB]|lora_(?:down|up)|lora_magnitude_vector|hada_w\d|lokr_w\d|lora_embedding_[AB])"
    r"(?:$|[._]).*|.*\.(?:ia3_l|oft_[rR]|vera_lambda_[bd])(?:$|\.).*"
)
_FEWEST_ROWS: Final = 4
_MOST_NAMED: Final = 3


def part_of_a_model(trunk: Trunk) -> str | None:
    """Return what the file is, where it is an adapter or a text tower; `None` where it is neither.

    An adapter changes weights of linear layers: the model that it adapts has the position table.
    """
    adapters = sum(_ADAPTER.fullmatch(key) is not None for key in trunk)
    if adapters and 2 * adapters >= len(trunk):
        return (
            f"Adapter weights only ({adapters} LoRA-like tensors): the position embedding is that "
            f"of the model that they adapt{_base(trunk)}. Give that model, or merge them "
            "first (peft: merge_and_unload, then save_pretrained)."
        )
    if trunk.is_text_tower and trunk.hints.tower != "text":
        return (
            "It is a text tower: its positions are those of words, not of patches. "
            "--tower text reads them."
        )
    return None


def _base(trunk: Trunk) -> str:
    """Name the adapted model, where an adapter_config.json does."""
    name = trunk.config.get("base_model_name_or_path")
    return f" ({name})" if isinstance(name, str) and name.isprintable() and name else ""


def renamed(trunk: Trunk) -> str:
    """Return a sentence on tensors that have the shape of a table, whatever they are called."""
    names, widths = trunk.names, _widths(trunk)
    found = [key for bare, key in names.items() if _could_be(bare, trunk.shape(key), widths)]
    if not found or len(found) > _MOST_NAMED:
        return ""
    stored = [trunk.stored_key(key) for key in found]
    listed = ", ".join(f"{s} {trunk.shape(k)}" for s, k in zip(stored, found))
    return (
        f" Of the shape of a table: {listed}. If it is one under another name, "
        f"--state-dict-key {stored[0]} takes it for pos_embed."
    )


def _widths(trunk: Trunk) -> set[int]:
    """The widths of the norms, which a table shares."""
    shapes = (trunk.shape(key) for key in trunk if "norm" in key.lower())
    return {shape[0] for shape in shapes if len(shape) == 1}


def _could_be(bare: str, shape: tuple[int, ...], widths: set[int]) -> bool:
    """Whether (1, rows, D) or (rows, D) can be a table: D is a norm's, the rows nearly a square."""
    if "token" in bare or not shape or shape[-1] not in widths:
        return False
    if len(shape) == 3 and shape[0] == 1:
        return shape[1] >= _FEWEST_ROWS
    is_weight = bare.endswith((".weight", "/kernel"))
    return len(shape) == 2 and not is_weight and _is_grid(shape[0])


def _is_grid(rows: int) -> bool:
    return rows >= _FEWEST_ROWS and any(isqrt(rows - p) ** 2 == rows - p for p in range(3))
