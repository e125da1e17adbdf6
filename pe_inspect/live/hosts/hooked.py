"""A host that changes positions on their way into the model, whatever the library calls its parts.

Vectors are changed where tokens receive them, biases where they are made for the logits, rotations
where cosines and sines are made for q and k.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cached_property
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from pe_inspect.arrays import Float
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.live.change import Change, NotApplicable, replaced, rotation_of
from pe_inspect.live.hosts.biases import BIAS_TABLE, answering, bias_changes
from pe_inspect.live.hosts.common import CommonHost
from pe_inspect.live.hosts.rotations import rotation_changes, turning_modules

__all__ = ["HookedHost"]

_TABLE_NAMES: Final = ("position_embedding", "positional_embedding", "pos_embed")
CLOSE: Final = 1e-3  # between angles read from a file in half precision and the model's


class HookedHost(CommonHost):
    """A host around a model whose positions are changed as they pass.

    Args:
        model: the live model.
        tables: the position embeddings of its checkpoint.
        res: what it is at.
        own_res: of its weights.
        patch_size: pixels of a patch.
        in_chans: colour channels.
        num_classes: of its logits; 0 of features.
    """

    rule: str = ""

    def __init__(
        self,
        model: Any,
        tables: Sequence[PositionEmbedding],
        res: tuple[int, int],
        own_res: tuple[int, int],
        patch_size: tuple[int, int],
        in_chans: int,
        num_classes: int,
    ) -> None:
        self.model, self.tables = model, tables
        self.res, self.own_res, self.patch_size = res, own_res, patch_size
        self.in_chans, self.num_classes = in_chans, num_classes

    def grid_of(self, pe: PositionEmbedding) -> tuple[int, int]:
        """Return the patches of the images; a windowed bias keeps its window."""
        return pe.grid_size if pe.is_pairwise and self._windowed else self.grid_size

    @contextmanager
    def put(self, pe: PositionEmbedding, resampled: PositionEmbedding) -> Iterator[None]:
        """Let the model use resampled vectors, biases or rotations."""
        with ExitStack() as stack:
            if pe.scheme_kind.has_token_rows:
                stack.enter_context(self._added(self._omega_of(resampled) - self.omega))
            elif pe.is_pairwise:
                self._check_biases(resampled)
                for module, table in zip(self._bias_modules, resampled.tables):
                    stack.enter_context(answering(module, _constant(self._tensor(table.values))))
            elif pe.scheme_kind.holds_angles and self._turning:
                angles = self._tensor(resampled.tables[0].values[0])
                stack.enter_context(self._turning_by(pe, angles))
            else:
                raise NotApplicable(f"kind {pe.kind} has no table that this model could be handed")
            yield

    @contextmanager
    def change(self, change: Change) -> Iterator[None]:
        """Let the model receive changed positions, at the size that it is at."""
        found = False
        with ExitStack() as stack:
            if self._table_owners:
                rows = change.rows(self.omega, self.num_prefix_tokens)
                stack.enter_context(self._added(rows - self.omega))
                found = True
            for exchange in self._other_changes(change):
                stack.enter_context(exchange)
                found = True
            if not found:
                raise NotApplicable("this model has no position embedding that is known here")
            yield

    @property
    def finds_positions(self) -> bool:
        """Whether some place is known where positions pass."""
        return bool(self._table_owners or self._other_changes(Change()))

    @cached_property
    def omega(self) -> Float[torch.Tensor, "tokens channels"]:
        """The vectors that enter with the tokens: with the table, less without it."""
        given = self._entering()
        with ExitStack() as stack:
            for owner, name in self._table_owners:
                nothing = torch.zeros_like(getattr(owner, name))
                stack.enter_context(
                    replaced(owner, name, nn.Parameter(nothing, requires_grad=False))
                )
            return given - self._entering()

    def _entering(self) -> torch.Tensor:
        """Return the tokens of a blank image where they first are all there."""
        held: list[torch.Tensor] = []
        entry = self.anatomy.entry
        hook = entry.register_forward_pre_hook(lambda _, given: held.append(given[0]))
        try:
            with torch.no_grad():
                self.run(self.blank())
        finally:
            hook.remove()
        return held[0][0]

    @contextmanager
    def _added(self, vectors: torch.Tensor) -> Iterator[None]:
        entry = self.anatomy.entry

        def add(_: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
            return (given[0] + vectors.to(given[0]), *given[1:])

        hook = entry.register_forward_pre_hook(add)
        try:
            yield
        finally:
            hook.remove()

    def _omega_of(self, pe: PositionEmbedding) -> torch.Tensor:
        """Return a table's rows for every token; prefix tokens that it has none for keep theirs."""
        values = self._tensor(pe.tables[0].values)
        missing = len(self.omega) - len(values)
        if missing < 0:
            raise NotApplicable("the model has fewer tokens at this size than the table has rows")
        return torch.cat((self.omega[:missing], values)) if missing else values

    @cached_property
    def _table_owners(self) -> list[tuple[nn.Module, str]]:
        """Where the tables are that are added to tokens: modules and names of parameters."""
        found: list[tuple[nn.Module, str]] = []
        modules = dict(self.model.named_modules())
        for path, parameter in self.model.named_parameters():
            owner, _, name = path.rpartition(".")
            called = owner.rpartition(".")[2] if name == "weight" else name
            is_table = any(each in called for each in _TABLE_NAMES) and parameter.ndim > 1
            if is_table and self._is_ahead_of_blocks(path):
                found.append((modules[owner], name))
        return found

    def _is_ahead_of_blocks(self, path: str) -> bool:
        inside = (part.path for part in self.anatomy.blocks)
        return not any(path.startswith(f"{block}.") for block in inside)

    @cached_property
    def _bias_modules(self) -> list[nn.Module]:
        return [m for m in self.model.modules() if hasattr(m, BIAS_TABLE)]

    @cached_property
    def _turning(self) -> list[nn.Module]:
        """The modules that give cosines and sines."""
        return turning_modules(self.model)

    @property
    def _windowed(self) -> bool:
        return any(hasattr(m, "window_size") for m in self._bias_modules)

    def _check_biases(self, pe: PositionEmbedding) -> None:
        if len(self._bias_modules) != len(pe.tables):
            raise NotApplicable(
                f"{type(self.model).__name__} keeps its biases otherwise than one table a block"
            )

    def _other_changes(self, change: Change) -> list[AbstractContextManager[Any]]:
        """Return the changes of biases and rotations."""
        patches = self.grid_size[0] * self.grid_size[1]
        biases = bias_changes(self.model, patches, change)
        return [*biases, *self._turned_exactly(change)]

    def _turned_exactly(self, change: Change) -> list[AbstractContextManager[Any]]:
        """Return the changes of rotations: by the checkpoint's angles where a factor asks them."""
        pe = next((pe for pe in self.tables if pe.scheme_kind.holds_angles), None)
        is_told = change.alpha in (0, 1, 2) or not self._turning
        if pe is None or is_told or hasattr(self._turning[0], "get_embed"):
            return list(rotation_changes(self.model, change))
        return [self._turning_by(pe, change.angles(self._tensor(pe.tables[0].values[0])))]

    def _turning_by(
        self, pe: PositionEmbedding, angles: torch.Tensor
    ) -> AbstractContextManager[None]:
        sines, cosines = rotation_of(angles, half=self._is_half(pe)).chunk(2, dim=-1)
        return answering(self._turning[0], lambda own: _like(own, cosines, sines))

    def _is_half(self, pe: PositionEmbedding) -> bool:
        """Return how rotations are laid out: pairs (i, i + n), or neighbours."""
        held: list[Any] = []
        hook = self._turning[0].register_forward_hook(lambda _, __, own: held.append(own))
        with torch.no_grad():
            self.run(self.blank())
        hook.remove()
        angles = self._tensor(pe.tables[0].values[0])
        for half in (True, False):
            same = rotation_of(angles, half=half).chunk(2, dim=-1)[1]
            own = held[0][0].reshape(-1, held[0][0].shape[-1])
            if own.shape == same.shape and torch.allclose(own, same.to(own), atol=CLOSE):
                return half
        raise NotApplicable("the angles of the checkpoint are not those that this model turns by")

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        device = next(self.model.parameters()).device
        return torch.from_numpy(np.array(values, np.float32)).to(device)


def _constant(value: torch.Tensor) -> Callable[[Any], Any]:
    return lambda own: value.reshape(own.shape).to(own)


def _like(own: Any, cosines: torch.Tensor, sines: torch.Tensor) -> Any:
    return tuple(made.reshape(given.shape).to(given) for made, given in zip((cosines, sines), own))
