"""The old path of `pe_inspect.live.rebuild`."""

from __future__ import annotations

from pe_inspect.moved import names_of

__getattr__ = names_of("pe_inspect.live.rebuild", old="pe_inspect.models.rebuild")
