"""The architecture that a file's name may be that of: offered with its flag, never assumed."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["offered_arch"]


def offered_arch(checkpoint: Checkpoint) -> str:
    """Return a sentence that offers `--arch timm:NAME`; empty where no name is one of timm's.

    timm's sources are looked through for the function of that name; timm is not imported.
    """
    if checkpoint.path is None or checkpoint.hints.arch is not None:
        return ""
    parts = [checkpoint.path.name, checkpoint.path.parent.name]
    stems = (re.split(r"[.@]", part)[0].replace("-", "_") for part in parts)
    name = next((stem for stem in stems if _is_timm_s(stem)), None)
    if name is None:
        return ""
    return f"the file is called as timm's {name}: --arch timm:{name} takes it for that"


def _is_timm_s(name: str) -> bool:
    if not re.fullmatch(r"[a-z]\w{3,80}", name) or "_" not in name:
        return False
    spec = find_spec("timm")
    folders = spec.submodule_search_locations if spec is not None else None
    wanted = f"\ndef {name}(".encode()
    files = (file for folder in folders or () for file in Path(folder, "models").glob("*.py"))
    return any(wanted in file.read_bytes() for file in files)
