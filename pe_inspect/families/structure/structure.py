"""What structure alone tells of a checkpoint: towers, tables, biases, and what is left over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from pe_inspect.families.reading.norms import epsilon
from pe_inspect.families.reading.tensors import NamedTensors
from pe_inspect.families.structure.biases import BiasGroup, find_biases
from pe_inspect.families.structure.names import named_tensors
from pe_inspect.families.structure.norms import FoundNorm, layer_names, norms_of
from pe_inspect.families.structure.rotations import StoredRotation, find_rotations
from pe_inspect.families.structure.tables import TableCandidate, find_tables
from pe_inspect.families.structure.towers import Survey, Tower, survey
from pe_inspect.kinds.position_embedding import LayerNormParams
from pe_inspect.loading.checkpoint import Hints

__all__ = ["Structure"]


@dataclass(frozen=True, eq=False)
class Structure:
    """What structure tells of a checkpoint; each part is found out when it is first asked for.

    Attributes:
        trunk: reads the tensors, each at most once.
    """

    trunk: NamedTensors
    _norms: dict[str, tuple[LayerNormParams, ...]] = field(
        default_factory=dict, init=False, repr=False
    )

    @property
    def hints(self) -> Hints:
        """What flags, a config.json or the file say."""
        return self.trunk.hints

    @cached_property
    def seen(self) -> Survey:
        """The tensors, lists of blocks, towers and kernels."""
        return survey(named_tensors(self.trunk.checkpoint))

    @cached_property
    def tables(self) -> tuple[TableCandidate, ...]:
        """Tables that may be added to tokens."""
        return find_tables(self.seen)

    @cached_property
    def biases(self) -> tuple[BiasGroup, ...]:
        """Tables that act inside attention."""
        return find_biases(self.seen)

    @cached_property
    def rotations(self) -> tuple[StoredRotation, ...]:
        """Stored rotations of queries and keys."""
        return find_rotations(self.seen)

    @cached_property
    def main_tower(self) -> Tower | None:
        """The tower that the first table feeds; else the longest of the vision side."""
        fed = next((table.tower for table in self.tables if table.tower), None)
        own = [t for t in self.seen.towers if not self.seen.is_text(t.prefix) and t.attends]
        return fed or max(own, key=lambda tower: tower.depth, default=None)

    def stored(self, paths: Iterable[str]) -> tuple[str, ...]:
        """The file's names of paths."""
        return tuple(self.trunk.stored_key(self.seen.tensors[p].key) for p in paths)

    def layers(self, tower: Tower | None) -> Mapping[str, str]:
        """Path of a block → timm's name of it."""
        return layer_names(tower) if tower else {}

    def norms(self, tower: Tower | None) -> tuple[LayerNormParams, ...]:
        """The norms of a tower, read once."""
        if tower is None:
            return ()
        if tower.prefix not in self._norms:
            eps = epsilon(self.trunk)[0]
            read = tuple(self._read(norm, eps) for norm in norms_of(self.seen, tower))
            self._norms[tower.prefix] = read
        return self._norms[tower.prefix]

    def _read(self, norm: FoundNorm, eps: float) -> LayerNormParams:
        weight, bias = norm.weight, norm.bias
        values = [self.trunk.float32(t.key).reshape(-1) for t in (weight, bias) if t is not None]
        return LayerNormParams(norm.layer, norm.name, values[0], (*values, None)[1], eps)

    @property
    def norm_notes(self) -> tuple[str, ...]:
        """Where the eps of the norms comes from."""
        return (epsilon(self.trunk)[1],)
