"""The old path of `pe_inspect.diagnosis.diagnosis`."""

from __future__ import annotations

from pe_inspect.moved import names_of

__getattr__ = names_of("pe_inspect.diagnosis.diagnosis", old="pe_inspect.analysis.doctor")
