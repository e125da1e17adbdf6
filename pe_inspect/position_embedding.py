"""The old path of `pe_inspect.kinds.position_embedding`."""

from __future__ import annotations

from pe_inspect.moved import names_of

__getattr__ = names_of("pe_inspect.kinds.position_embedding", old="pe_inspect.position_embedding")
