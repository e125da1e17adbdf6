"""Kind `vectors`: one vector a token, (prefix rows + patches, embed_dim), added to the tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from pe_inspect.kinds.parts import LayerNormParams, LayerPE, Step, fitting, without_norms
from pe_inspect.kinds.scheme_kind import AffinityDefinition, HeldScheme, Kind, SchemeKind

__all__ = ["VECTORS", "Vectors"]


@dataclass(frozen=True, repr=False)
class Vectors(SchemeKind):
    """A table whose rows are added to the tokens: learned, sinusoidal, LaPE's."""

    name: ClassVar[str] = "vectors"
    word: ClassVar[Kind] = "vectors"
    has_token_rows: ClassVar[bool] = True
    _affinity: ClassVar[AffinityDefinition] = AffinityDefinition(
        "cosine similarity",
        "cos(ω_i, ω_j) = ω_i·ω_j / (‖ω_i‖ ‖ω_j‖), between the position vectors of two patches.",
    )

    def expected_shape(self, table: LayerPE) -> tuple[int | None, ...]:
        """(prefix rows + patches, channels)."""
        return (table.num_prefix_rows + table.num_patches, None)

    def steps(self, scheme: HeldScheme) -> tuple[Step, ...]:
        """Return LaPE's recurrence where the model has one, else LN1 of each layer, a proxy."""
        join = scheme.scheme_join
        if not (join.at_input or join.in_blocks):
            return without_norms(scheme.tables, "stored")
        return _recurrence(scheme) if join.is_recurrent else _proxies(scheme)


VECTORS: Final = Vectors()


def _proxies(scheme: HeldScheme) -> tuple[Step, ...]:
    norms, tables = scheme.norms_named("norm1"), scheme.tables
    if len(tables) > 1:
        return tuple(_proxy(table.layer, table, norms.get(table.layer)) for table in tables)
    layers = [layer for layer, norm in norms.items() if fitting(norm, tables[0])]
    proxies = tuple(_proxy(layer, tables[0], norms[layer]) for layer in layers)
    return proxies or without_norms(tables, "stored")


def _proxy(layer: str, table: LayerPE, norm: LayerNormParams | None) -> Step:
    fits = fitting(norm, table)
    return Step(layer, table, "proxy" if fits else "stored", fits)


def _recurrence(scheme: HeldScheme) -> tuple[Step, ...]:
    table, join = scheme.tables[0], scheme.scheme_join
    norms, token_norms = scheme.norms_named("pe_norm"), scheme.norms_named("norm1")
    found: list[Step] = []
    for layer in scheme.layer_names:
        norm, is_first = fitting(norms.get(layer), table), not found
        if norm is None and is_first and join.at_input:
            found.append(_proxy(layer, table, token_norms.get(layer)))
        else:
            continues = bool(found) and found[-1].notion == "joined"
            found.append(Step(layer, table, "joined", norm, continues))
    last = norms.get("") or scheme.norms_named("norm").get("")
    if join.before_last_norm and last is not None:
        found.append(Step("norm", table, "joined", fitting(last, table)))
    return tuple(found)
