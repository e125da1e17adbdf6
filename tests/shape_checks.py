"""What the test run checks of the package's annotations: shapes and dtypes of arrays, and types.

`pyproject.toml` names `typechecker` in pytest's `--jaxtyping-packages`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, Any, TextIO, TypeVar

from beartype import BeartypeConf, BeartypeHintOverrides, beartype

AnyCallable = TypeVar("AnyCallable", bound=Callable[..., Any])

# beartype takes neither BytesIO for an IO[bytes] nor what pytest captures with for a TextIO.
_OVERRIDES = BeartypeHintOverrides({IO[bytes]: object, TextIO: object})
_CONF = BeartypeConf(is_pep484_tower=True, hint_overrides=_OVERRIDES)


def typechecker(function: AnyCallable) -> AnyCallable:
    """Check a function's arguments and answer against its annotations, at each call."""
    return beartype(conf=_CONF)(function)
