"""One file a scheme. A new one is one new module here, and its joins in `config`."""

from __future__ import annotations

from typing import Final

from pe_inspect.models.scheme import Scheme
from pe_inspect.registry import Registry

__all__ = ["schemes"]

schemes: Final[Registry[type[Scheme]]] = Registry("scheme", "pe_inspect.models.schemes")
