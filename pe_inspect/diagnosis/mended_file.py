"""Lines of Python that mend a file, whole: they load it, mend its state dict, and save another."""

from __future__ import annotations

from collections.abc import Sequence

from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["mended_file"]


def mended_file(checkpoint: Checkpoint, key: str, lines: Sequence[str]) -> str:
    """Return lines that mend `state`, with those around them that load and save the file.

    Args:
        checkpoint: what was opened; of one in memory, `state` is that.
        key: a name that the state dict holds.
        lines: what mends it.
    """
    path = checkpoint.path
    if path is None or not path.is_file() or checkpoint.format not in ("safetensors", "pytorch"):
        return "\n".join(lines)
    saved = f"{path.stem}-mended{path.suffix}"
    if checkpoint.format == "safetensors":
        opened = [
            "from safetensors.torch import load_file, save_file",
            f"state = load_file({str(path)!r})",
        ]
        contiguous = "{key: value.contiguous() for key, value in state.items()}"
        return "\n".join([*opened, *lines, f"save_file({contiguous}, {saved!r})"])
    opened = [
        "import torch",
        f"file = torch.load({str(path)!r}, map_location='cpu', weights_only=True)",
        "parts = [part for part in (file, *file.values()) if isinstance(part, dict)]",
        f"state = next(part for part in parts if {key!r} in part)",
    ]
    return "\n".join([*opened, *lines, f"torch.save(file, {saved!r})"])
