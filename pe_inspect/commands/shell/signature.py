"""Turn a function of option groups into one of plain parameters, which typer understands."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

__all__ = ["expand"]


def expand(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` with each dataclass parameter replaced by that dataclass's fields.

    A group of options is thereby defined once, as a dataclass of `Annotated[type, typer.Option()]`
    fields, and a command asks for it by naming it in its signature.
    """
    hints = get_type_hints(function, include_extras=True)
    groups = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    defaults = {name: p.default for name, p in inspect.signature(function).parameters.items()}
    parameters = [plain for name in defaults for plain in _flat(name, hints[name], defaults[name])]

    @functools.wraps(function)
    def call(**given: Any) -> Any:
        built = {name: _take(group, given) for name, group in groups.items()}
        return function(**built, **given)

    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {p.name: p.annotation for p in parameters}
    return call


def _flat(name: str, hint: Any, default: Any) -> Iterator[inspect.Parameter]:
    """Yield the plain parameters of one parameter: itself, or a group's, groups within included."""
    if not is_dataclass(hint):
        kind = inspect.Parameter.KEYWORD_ONLY
        yield inspect.Parameter(name, kind, default=default, annotation=hint)
        return
    inner = get_type_hints(hint, include_extras=True)
    for field in fields(hint):
        yield from _flat(field.name, inner[field.name], field.default)


def _take(group: Any, given: dict[str, Any]) -> Any:
    """Build a group from the plain values that are its own."""
    inner = get_type_hints(group)
    values = {
        field.name: _take(inner[field.name], given)
        if is_dataclass(inner[field.name])
        else given.pop(field.name)
        for field in fields(group)
    }
    return group(**values)
