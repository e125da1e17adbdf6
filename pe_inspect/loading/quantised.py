"""Files in which a tool has replaced weights by small integers: which tool, in a note."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

__all__ = ["quantised_note"]

# What the tools call the numbers that they keep beside the integers.
_MARKS: Final = (
    ("bitsandbytes", re.compile(r".*\.(?:SCB|weight_format|absmax|quant_map|quant_state\..*)")),
    ("GPTQ", re.compile(r".*\.g_idx")),
    ("AWQ or GPTQ", re.compile(r".*\.(?:qweight|qzeros)")),
    ("MLX", re.compile(r".*\.scales")),
    ("HQQ", re.compile(r".*\.W_q")),
    ("quanto", re.compile(r".*\._(?:data|scale)")),
    ("compressed-tensors", re.compile(r".*\.weight_packed")),
    ("float8 or int8 with scales", re.compile(r".*\.weight_scale(?:_inv)?")),
)


def quantised_note(names: Iterable[str], config: Any = None) -> tuple[str, ...]:
    """Return a note where the file's names, or its config.json, say that it is quantised."""
    known = list(names)
    found = ((tool, [name for name in known if mark.fullmatch(name)]) for tool, mark in _MARKS)
    tool, marks = next(((tool, names) for tool, names in found if names), ("", []))
    said = _named_tool(config)
    if not marks and not said:
        return ()
    count = f"{len(marks)} tensor{'s' if len(marks) > 1 else ''}"
    seen = f"{count} such as {marks[0]}" if marks else "its config.json says so"
    return (
        f"quantised by {said or tool} ({seen}): the linear layers hold integers; position tables "
        "and norms are read as they are stored",
    )


def _named_tool(config: Any) -> str:
    """The tool that a config.json names; empty where it names none."""
    settings = config.get("quantization_config") if isinstance(config, Mapping) else None
    method = settings.get("quant_method") if isinstance(settings, Mapping) else None
    return method if isinstance(method, str) and method.isprintable() else ""
