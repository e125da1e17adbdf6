"""What every page shares: the template engine, the files that are inlined, and the policy.

The report (`html.py`) and the index of many reports (`gallery.py`) are both made with it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from pe_inspect.page.text import anchor, grouped, number, visible

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["environment", "policy", "text_of"]

_PACKAGE: Final = "pe_inspect.page"


def policy(style: str, *scripts: str) -> str:
    """Return the Content-Security-Policy: these texts alone, images in the file, no network."""
    allowed = " ".join(map(_digest, scripts))
    script = f"script-src {allowed}; " if scripts else ""
    return (
        f"default-src 'none'; img-src data:; {script}style-src {_digest(style)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


@cache
def environment() -> Environment:
    """Return the template engine: everything is escaped, and an undefined name is an error."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    engine = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        loader=FunctionLoader(text_of),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters: dict[str, Callable[..., str]] = {
        "anchor": lambda parts: anchor(*parts),
        "exact": lambda cell: f"{cell:.9g}",
        "grouped": grouped,
        "number": number,
    }
    engine.filters.update(filters)
    return engine


def text_of(name: str) -> str:
    """Return a file of this folder."""
    return (files(_PACKAGE) / name).read_text(encoding="utf-8")
