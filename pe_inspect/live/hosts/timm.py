"""timm's models as hosts: sizes by `set_input_size`, positions where timm keeps them."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from pe_inspect.kinds.all_kinds import (
    BIAS,
    COMPUTED_BIAS,
    PHASES,
    RELATIVE,
    RESPONSE,
    VECTORS,
    SchemeKind,
)
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.live.change import Change, NotApplicable, replaced, rotation_of
from pe_inspect.live.hosts.common import Preprocessing, pair_of_sides
from pe_inspect.live.hosts.hooked import HookedHost
from pe_inspect.live.hosts.plain import first_convolution

__all__ = ["TimmHost"]

Exchange = AbstractContextManager[Any]

CLOSE: Final = 1e-3  # between angles read from a file in half precision and the model's
_TABLE: Final = "relative_position_bias_table"


class TimmHost(HookedHost):
    """A host around a model of timm.

    Args:
        model: the live model.
        tables: the position embeddings of its checkpoint.
        own: the model at the size of its weights, which `tables` are compared with.
        res: what the model is at.
        patch_size: pixels of a patch.
    """

    library = "timm"

    def __init__(
        self,
        model: Any,
        tables: Sequence[PositionEmbedding],
        own: Any,
        res: tuple[int, int],
        patch_size: tuple[int, int],
    ) -> None:
        self.model = model
        self.tables = tables
        self.own = own
        self.res = res
        self.patch_size = patch_size
        kernel = first_convolution(model)
        said = int(model.pretrained_cfg["input_size"][0])
        self.in_chans = said if kernel is None else kernel.in_channels
        self.num_classes = int(model.num_classes)
        self.own_res = _own_res(own)
        self.rule = "timm's set_input_size"

    @classmethod
    def around(cls, model: Any, tables: Sequence[PositionEmbedding]) -> TimmHost | None:
        """Return a host of a model at the size that it was built for; `None` if it is not timm's.

        Raises:
            NotApplicable: neither the model nor its checkpoint says how large a patch is.
        """
        if not hasattr(model, "pretrained_cfg"):
            return None
        embed = next((m for m in model.modules() if hasattr(m, "patch_size")), None)
        said = next((pe.patch_size for pe in tables if pe.patch_size is not None), None)
        stride = getattr(getattr(embed, "proj", None), "stride", None)  # patches may overlap
        patch = stride or getattr(embed, "patch_size", None) or said
        if patch is None:
            raise NotApplicable(
                f"{type(model).__name__} does not say how large its patches are. Pass "
                "--patch-size P."
            )
        return cls(model, tables, model, _own_res(model), pair_of_sides(patch))

    @property
    def num_prefix_tokens(self) -> int:
        """What the first block has beyond the grid; CaiT's CLS joins behind it."""
        return self.counted_prefix_tokens()

    @property
    def preprocessing(self) -> Preprocessing:
        """As timm's settings of the architecture have it; resized directly."""
        said = self.model.pretrained_cfg
        if not said.get("mean") or not said.get("std"):
            return super().preprocessing
        return Preprocessing(
            tuple(said["mean"]), tuple(said["std"]), "timm's settings of the architecture"
        )

    def at(self, res: tuple[int, int]) -> TimmHost:
        """Return a copy at another size, by timm's own `set_input_size`; any other rule runs."""
        if res == self.res:
            return self
        resized = copy.deepcopy(self.own)
        if hasattr(resized, "set_input_size"):
            try:
                with warnings.catch_warnings():  # of torch, about timm's own code
                    warnings.simplefilter("ignore", UserWarning)
                    resized.set_input_size(img_size=res)
            except (AssertionError, ValueError, RuntimeError) as error:
                raise NotApplicable(f"timm does not resize this model ({error})") from error
        return TimmHost(resized, self.tables, self.own, res, self.patch_size)

    def grid_of(self, pe: PositionEmbedding) -> tuple[int, int]:
        """Return the patches of the images, or the windows that timm's rule has given a bias."""
        if pe.scheme_kind.is_pairwise:
            asked = (m for m in self.model.modules() if hasattr(m, "relative_position_index"))
            windows = [getattr(module, "window_size", None) for module in asked]
            found = [pair_of_sides(window) for window in windows if window is not None]
            if found:
                return max(found)
        return self.grid_size

    @contextmanager
    def put(self, pe: PositionEmbedding, resampled: PositionEmbedding) -> Iterator[None]:
        """Let the model use a resampled table, biases or rotations."""
        with ExitStack() as stack:
            for exchange in self._exchanges(pe, resampled):
                stack.enter_context(exchange)
            yield

    def _exchanges(self, pe: PositionEmbedding, resampled: PositionEmbedding) -> Iterator[Exchange]:
        return _PUT[pe.scheme_kind](self, pe, resampled)

    def _put_table(self, pe: PositionEmbedding, resampled: PositionEmbedding) -> Iterator[Exchange]:
        self._check_table(pe)
        values = resampled.tables[0].values
        yield _with_table(self.model, _like(values, self.model.pos_embed))

    def _put_biases(
        self, pe: PositionEmbedding, resampled: PositionEmbedding
    ) -> Iterator[Exchange]:
        modules = self._checked_biases(pe)
        for module, table in zip(modules, resampled.tables):
            offsets = resampled.scheme_kind.laid_out(table)
            yield _with_offsets(module, offsets.reshape(-1, offsets.shape[-1]))

    def _put_angles(
        self, pe: PositionEmbedding, resampled: PositionEmbedding
    ) -> Iterator[Exchange]:
        yield self._turned_as_timm(pe, _angles(resampled))

    def _put_nothing(self, pe: PositionEmbedding, _: PositionEmbedding) -> Iterator[Exchange]:
        raise NotApplicable(f"kind {pe.kind} has no table that this model could be handed")

    @contextmanager
    def change(self, change: Change) -> Iterator[None]:
        """Let the model receive changed positions, at its own size.

        Where timm keeps a scheme otherwise than its tables say, they are changed on their way.
        """
        with ExitStack() as stack:
            for exchange in self._known_changes(change):
                stack.enter_context(exchange)
            yield

    def _known_changes(self, change: Change) -> list[Exchange]:
        """Return the changes of every table at its own place, else of what is found on its way."""
        try:
            known = [each for pe in self.tables for each in self._changes(pe, change)]
        except NotApplicable:
            if not self.finds_positions:
                raise
            known = []
        return known or [super().change(change)]

    def _changes(self, pe: PositionEmbedding, change: Change) -> Iterator[Exchange]:
        return _CHANGE[pe.scheme_kind](self, pe, change)

    def _change_table(self, pe: PositionEmbedding, change: Change) -> Iterator[Exchange]:
        self._check_table(pe)
        table = self.model.pos_embed
        rows = change.rows(table.detach().reshape(1, -1, table.shape[-1]), pe.num_prefix_rows)
        yield _with_table(self.model, rows.reshape(table.shape))

    def _change_biases(self, pe: PositionEmbedding, change: Change) -> Iterator[Exchange]:
        for module, table in zip(self._checked_biases(pe), pe.tables):
            yield from _of_bias(module, table.num_prefix_rows, change)

    def _change_angles(self, pe: PositionEmbedding, change: Change) -> Iterator[Exchange]:
        yield self._turned_as_timm(pe, change.angles(_angles(pe)))

    def _change_nothing(self, pe: PositionEmbedding, _: Change) -> Iterator[Exchange]:
        raise NotApplicable(f"it is not known how to change {pe.family} inside this model")

    def _check_table(self, pe: PositionEmbedding) -> None:
        """Stop where the table in the file is not `pos_embed`, row by row."""
        own: Any = getattr(self.own, "pos_embed", None)
        values = pe.tables[0].values
        fits = isinstance(own, nn.Parameter) and own.numel() == values.size and len(pe.tables) == 1
        if not fits or not np.array_equal(_flat(own), values):
            raise NotApplicable(f"{type(self.own).__name__} does not keep this table as pos_embed")

    def _checked_biases(self, pe: PositionEmbedding) -> list[Any]:
        modules = _biased(self.model)
        if len(modules) != len(pe.tables):
            raise NotApplicable(
                f"{type(self.own).__name__} keeps its biases otherwise than {_TABLE} in each block"
            )
        return modules

    def _turned_as_timm(self, pe: PositionEmbedding, angles: torch.Tensor) -> Exchange:
        """Hand the model other angles, laid out as its own are."""
        rope = getattr(self.own, "rope", None)
        if rope is None or not hasattr(rope, "get_embed"):
            raise NotApplicable(f"{type(self.own).__name__} has no rope that could be replaced")
        with torch.no_grad():
            own = _own_rotation(rope, pe)
        half = _is_half(own, _angles(pe))
        made = rotation_of(angles, half=half).to(own)
        return replaced(self.model.rope, "get_embed", lambda *_, **__: made)


_PUT: Final[
    Mapping[
        SchemeKind,
        Callable[[TimmHost, PositionEmbedding, PositionEmbedding], Iterator[Exchange]],
    ]
] = {
    VECTORS: TimmHost._put_table,
    BIAS: TimmHost._put_biases,
    PHASES: TimmHost._put_angles,
    RELATIVE: TimmHost._put_nothing,
    RESPONSE: TimmHost._put_nothing,
    COMPUTED_BIAS: TimmHost._put_nothing,
}
_CHANGE: Final[
    Mapping[SchemeKind, Callable[[TimmHost, PositionEmbedding, Change], Iterator[Exchange]]]
] = {
    VECTORS: TimmHost._change_table,
    BIAS: TimmHost._change_biases,
    PHASES: TimmHost._change_angles,
    RELATIVE: TimmHost._change_nothing,
    RESPONSE: TimmHost._change_nothing,
    COMPUTED_BIAS: TimmHost._change_nothing,
}


def _is_half(own: torch.Tensor, angles: torch.Tensor) -> bool:
    """Return how a model lays its angles out: pairs (i, i + n), or neighbours."""
    for half in (False, True):
        same = rotation_of(angles, half=half)
        if own.shape == same.shape and torch.allclose(own.cpu(), same, atol=CLOSE):
            return half
    raise NotApplicable("the angles of the checkpoint are not those that this model turns by")


def _own_res(model: Any) -> tuple[int, int]:
    embed = getattr(model, "patch_embed", None)
    return pair_of_sides(getattr(embed, "img_size", None) or model.pretrained_cfg["input_size"][1:])


def _own_rotation(rope: Any, pe: PositionEmbedding) -> torch.Tensor:
    try:
        embed: torch.Tensor = rope.get_embed()
    except (AssertionError, TypeError):
        embed = rope.get_embed(shape=list(pe.grid_size))
    return embed


def _angles(pe: PositionEmbedding) -> torch.Tensor:
    """Return the angles of all blocks, or (blocks, heads, patches, angles)."""
    tables = [table.values for table in pe.tables]
    is_one = tables[0].shape[0] == 1 and all(np.array_equal(t, tables[0]) for t in tables)
    return torch.from_numpy(np.array(tables[0][0] if is_one else np.stack(tables)))


def _of_bias(module: Any, prefix: int, change: Change) -> Iterator[Exchange]:
    """Scale the offsets between patches; a pair of patches reads the entry of its new places."""
    table, index = getattr(module, _TABLE), module.relative_position_index
    rows, columns = pair_of_sides(module.window_size)
    offsets = (2 * rows - 1) * (2 * columns - 1)
    size = prefix + rows * columns
    own = table.detach()[:offsets]
    if change.mean:
        pairs = index.reshape(size, size)[prefix:, prefix:].flatten()
        own = table.detach()[pairs].mean(dim=0).expand_as(own)
    yield _with_offsets(module, change.alpha * own.cpu().numpy())
    moved = change.moved(index.reshape(size, size).cpu(), prefix)
    yield replaced(module, "relative_position_index", moved.reshape(index.shape).to(index))


def _with_offsets(module: Any, offsets: np.ndarray) -> Exchange:
    """Replace the rows of offsets; BEiT's last three are for CLS, and stay."""
    table = getattr(module, _TABLE).detach()
    if len(table) < len(offsets) or table.shape[1] != offsets.shape[1]:
        raise NotApplicable("timm gives this bias windows of another size than the method")
    whole = table.clone()
    whole[: len(offsets)] = torch.from_numpy(np.array(offsets, np.float32)).to(table)
    return replaced(module, _TABLE, nn.Parameter(whole, requires_grad=False))


def _with_table(model: Any, table: torch.Tensor) -> Exchange:
    return replaced(model, "pos_embed", nn.Parameter(table, requires_grad=False))


def _like(values: np.ndarray, table: torch.Tensor) -> torch.Tensor:
    if table.numel() != values.size:
        raise NotApplicable("timm gives this table another size than the method")
    return torch.from_numpy(np.array(values)).reshape(table.shape).to(table)


def _flat(table: torch.Tensor) -> np.ndarray:
    rows: np.ndarray = table.detach().cpu().reshape(-1, table.shape[-1]).numpy()
    return rows


def _biased(model: nn.Module) -> list[Any]:
    """Return the modules that hold a bias table, in the model's order."""
    held = (module for module in model.modules() if getattr(module, _TABLE, None) is not None)
    return [module for module in held if hasattr(module, "relative_position_index")]
