"""Our own ViT as a host: it runs at any size, and each scheme has its own places to change."""

from __future__ import annotations

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
from pe_inspect.live.hosts.common import CommonHost
from pe_inspect.models.attention import BiasedAttention
from pe_inspect.models.schemes.peg import PositionGenerator
from pe_inspect.models.schemes.relative import RelativeAttention
from pe_inspect.models.vit import VisionTransformer

__all__ = ["NativeHost"]

Exchange = AbstractContextManager[Any]

_RULES: Final[Mapping[str, str]] = {
    "none": "nothing in it depends on the grid",
    "learned": "the table is resampled as timm does, bicubic-aa",
    "sincos1d": "sines and cosines are computed anew for the new grid",
    "sincos2d": "sines and cosines are computed anew for the new grid",
    "fourier": "places on the unit square are computed and projected anew",
    "relative": "offsets are clipped, so that the same tables serve any grid",
    "rel_bias_1d": "the table is interpolated linearly along its offsets",
    "rel_bias_2d": "the table of offsets is interpolated as Swin's, bicubic",
    "rel_bias_mlp": "the network is evaluated at the new offsets, scaled as in training",
    "rope_axial": "positions go on beyond those of training (extrapolate)",
    "rope_mixed": "positions go on beyond those of training (extrapolate)",
    "peg": "the convolution runs over any grid",
}


class NativeHost(CommonHost):
    """A host around our `VisionTransformer`: ours, LaPE's, s-chh's, and plain ViTs.

    Args:
        model: the live model.
        tables: its position embedding, if it has one.
        res: what it is at; its own size unless given.
    """

    library = "native"

    def __init__(
        self,
        model: VisionTransformer,
        tables: Sequence[PositionEmbedding],
        res: tuple[int, int] | None = None,
    ) -> None:
        self.model: VisionTransformer = model
        self.tables = tables
        self.res = res or model.config.img_size
        self.patch_size = model.config.patch_size
        self.in_chans = model.config.in_chans
        self.num_classes = model.config.num_classes
        self.own_res = model.config.img_size
        self.rule = _RULES[model.config.scheme]

    @classmethod
    def around(cls, model: nn.Module, tables: Sequence[PositionEmbedding]) -> NativeHost | None:
        """Return a host of one of our models; `None` of any other."""
        return cls(model, tables) if isinstance(model, VisionTransformer) else None

    @property
    def num_prefix_tokens(self) -> int:
        """CLS, DIST and registers."""
        return self.model.config.num_prefix_tokens

    @property
    def has_cls(self) -> bool:
        """Whether a CLS token leads."""
        return self.model.config.class_token

    def at(self, res: tuple[int, int]) -> NativeHost:
        """Return the same model, which takes any size that is a whole number of patches."""
        if res != self.model.config.img_size:
            for attention in self._biased():
                if attention.pe_norm is not None:
                    raise NotApplicable(
                        "the norm over this bias has one feature a patch of the model's own grid, "
                        "and no rule resamples it"
                    )
        return NativeHost(self.model, self.tables, res)

    def grid_of(self, pe: PositionEmbedding) -> tuple[int, int]:  # noqa: ARG002
        """Return the patches of the images that the model is at."""
        return self.grid_size

    @contextmanager
    def put(self, pe: PositionEmbedding, resampled: PositionEmbedding) -> Iterator[None]:  # noqa: ARG002
        """Let the model use resampled tables, biases or rotations."""
        with ExitStack() as stack:
            for exchange in self._exchanges(resampled):
                stack.enter_context(exchange)
            yield

    def _exchanges(self, pe: PositionEmbedding) -> Iterator[Exchange]:
        return _PUT[pe.scheme_kind](self, pe)

    def _with_tables(self, pe: PositionEmbedding) -> Iterator[Exchange]:
        made = [self._tensor(table.values)[None] for table in pe.tables]
        yield replaced(self.model, "tables", lambda _: made)

    def _with_biases(self, pe: PositionEmbedding) -> Iterator[Exchange]:
        for attention, table in zip(self._biased(), pe.tables, strict=True):
            yield replaced(attention, "bias", _constant(self._tensor(table.patches)))

    def _with_angles(self, pe: PositionEmbedding) -> Iterator[Exchange]:
        rope, made = self.model.rope, rotation_of(self._angles(pe))
        if rope is None:
            self._with_nothing(pe)
        else:
            yield replaced(rope, "forward", lambda _: made)

    def _with_nothing(self, pe: PositionEmbedding) -> Iterator[Exchange]:
        raise NotApplicable(f"kind {pe.kind} has no table that this model could be handed")

    @contextmanager
    def change(self, change: Change) -> Iterator[None]:
        """Let the model receive changed positions, at its own size."""
        with ExitStack() as stack:
            for exchange in self._changes(change):
                stack.enter_context(exchange)
            yield

    def _changes(self, change: Change) -> Iterator[Exchange]:
        model = self.model
        if model.rope is not None:
            turned = rotation_of(change.angles(self._angles(self.tables[0])))
            yield replaced(model.rope, "forward", lambda _: turned)
        elif model.config.has_table or model.config.scheme == "fourier":
            yield replaced(model, "over_tokens", self._over_tokens(change))
        elif model.pos_block is not None:
            yield from _of_convolution(model.pos_block[0], change)
        elif model.config.scheme == "none":
            raise NotApplicable("this model has no position embedding")
        else:
            for block in model.each_block():
                yield from _of_attention(block.attn, change)

    def _over_tokens(self, change: Change) -> Callable[[torch.Tensor], torch.Tensor]:
        own, prefix = self.model.over_tokens, self.model.config.num_prefix_tokens
        return lambda table: change.rows(own(table), prefix)

    def _biased(self) -> list[BiasedAttention]:
        blocks = (block.attn for block in self.model.each_block())
        return [attention for attention in blocks if isinstance(attention, BiasedAttention)]

    def _angles(self, pe: PositionEmbedding) -> torch.Tensor:
        """Return the angles as the model has them: for all blocks, or one set a block and head."""
        if pe.tables[0].shape[0] == 1:
            return self._tensor(pe.tables[0].values[0])
        return self._tensor(np.stack([table.values for table in pe.tables]))

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        device = next(self.model.parameters()).device
        return torch.from_numpy(np.array(values, np.float32)).to(device)


_PUT: Final[Mapping[SchemeKind, Callable[[NativeHost, PositionEmbedding], Iterator[Exchange]]]] = {
    VECTORS: NativeHost._with_tables,
    BIAS: NativeHost._with_biases,
    PHASES: NativeHost._with_angles,
    RELATIVE: NativeHost._with_nothing,
    RESPONSE: NativeHost._with_nothing,
    COMPUTED_BIAS: NativeHost._with_biases,
}


def _constant(value: torch.Tensor) -> Callable[[Any], torch.Tensor]:
    return lambda _: value


def _of_attention(attention: nn.Module, change: Change) -> Iterator[Exchange]:
    if isinstance(attention, BiasedAttention):
        own, prefix = attention.joined_bias, attention.num_prefix_tokens
        yield replaced(attention, "joined_bias", lambda grid: change.pairs(own(grid), prefix))
    elif isinstance(attention, RelativeAttention):
        yield from _of_relative(attention, change)


def _of_relative(attention: RelativeAttention, change: Change) -> Iterator[Exchange]:
    """Scale the vectors of patch pairs (row 0 is for pairs with a prefix token); move the pairs."""
    for tables in (attention.query_pos_embedding, attention.value_pos_embedding):
        for embedding in (tables.x_relative_embedding_table, tables.y_relative_embedding_table):
            scaled = embedding.weight.detach().clone()
            scaled[1:] = change.alpha * (scaled[1:].mean(dim=0) if change.mean else scaled[1:])
            yield replaced(embedding, "weight", nn.Parameter(scaled, requires_grad=False))
    relation: Any = attention.relation
    places = change.places(len(relation), attention.num_prefix_tokens).to(relation.device)
    yield replaced(attention, "relation", relation[places][:, places])


def _of_convolution(convolution: nn.Module, change: Change) -> Iterator[Exchange]:
    is_moved = change.seed is not None or change.permutation is not None
    if is_moved or not isinstance(convolution, PositionGenerator):
        raise NotApplicable(
            "PEG reads positions off the arrangement of the patches and holds none that could be "
            "shuffled; --permute-patches shuffles that arrangement"
        )
    own = convolution.forward

    def scaled(patches: torch.Tensor, grid_size: tuple[int, int]) -> torch.Tensor:
        added = own(patches, grid_size) - patches
        if change.mean:
            added = added.mean(dim=1, keepdim=True)
        return patches + change.alpha * added

    yield replaced(convolution, "forward", scaled)
