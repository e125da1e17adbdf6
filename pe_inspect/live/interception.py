"""What attention receives: q and k after norm and rotation, with bias and mask.

The model goes on as it is, by its fused attention where it has one: the arguments are looked at
on their way in. Attention that multiplies and normalises by itself is caught at its softmax.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch.nn import functional

from pe_inspect.arrays import Float, Int, Shaped

__all__ = ["Attended", "listening"]

_SOFTMAXES: Final = ((torch, "softmax"), (torch.Tensor, "softmax"), (functional, "softmax"))
FORBIDDEN: Final = -80.0  # added to a logit; e to that is nothing beside any other
_FEWEST_AXES: Final = 4  # batch, heads, queries, keys


@dataclass(frozen=True, eq=False)
class Attended:
    """One call of attention, as it was received.

    Attributes:
        q: queries; `None` where only the logits were seen.
        k: keys; of fewer heads than `q` where several queries share them.
        added: bias and mask, as added to the logits; `None` for nothing.
        scale: of the product.
        eager: the logits, where the model computes them itself.
        is_folded: whether heads are in the batch, as (batch × heads, tokens, channels) has them.
    """

    q: Float[torch.Tensor, "batch heads queries channels"] | None
    k: Float[torch.Tensor, "batch key_heads keys channels"] | None
    added: Float[torch.Tensor, "..."] | None
    scale: float
    eager: Float[torch.Tensor, "batch heads queries keys"] | None = None
    is_folded: bool = False

    def with_heads(self, heads: int) -> Attended:
        """Return the same with so many heads taken out of the batch, where they are folded in."""
        if not self.is_folded:
            return self
        q, k, added = (
            None if each is None or each.ndim < 3 else each.reshape(-1, heads, *each.shape[-2:])
            for each in (self.q, self.k, self.added)
        )
        return replace(self, q=q, k=k, added=added, is_folded=False)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(batch, heads, queries, keys)."""
        if self.eager is not None:
            batch, heads, queries, keys = self.eager.shape
        elif self.q is None or self.k is None:
            raise ValueError("attention was caught with neither queries and keys nor a map")
        else:
            (batch, heads, queries, _), keys = self.q.shape, self.k.shape[-2]
        return batch, heads, queries, keys

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""
        return _held(self.eager if self.q is None else self.q).device

    @property
    def q_and_k(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Queries and keys.

        Raises:
            ValueError: only the logits were seen.
        """
        return _held(self.q), _held(self.k)

    @property
    def may_forbid(self) -> bool:
        """Whether some keys may be masked."""
        return self.eager is not None or self.added is not None

    def in_double(self) -> Attended:
        """Return the same in float64: of large logits, float32 loses 1e-4 by the product alone."""
        q, k, added = (None if each is None else each.double()
                       for each in (self.q, self.k, self.added))  # fmt: skip
        return replace(self, q=q, k=k, added=added)

    def logits(
        self, queries: Int[torch.Tensor, " some"] | slice = slice(None)
    ) -> Float[torch.Tensor, "batch heads some keys"]:
        """Return the logits of some queries, −∞ where a mask forbids, in float32 at least."""
        if self.eager is not None:
            return self.eager[:, :, queries].float()
        product = self.products(queries)
        return product if self.added is None else product + self.added_to(queries)

    def allowed(
        self, queries: Int[torch.Tensor, " some"] | slice = slice(None)
    ) -> Shaped[torch.Tensor, "..."]:
        """Return which keys some queries may attend to: no mask of −∞, or of Swin's −100."""
        if self.eager is not None:
            logits = self.eager[:, :, queries]
            return logits > logits.amax(dim=-1, keepdim=True) + FORBIDDEN
        if self.added is None:
            return torch.ones((), dtype=torch.bool, device=self.device)
        return self.added_to(queries) > FORBIDDEN

    def products(
        self, queries: Int[torch.Tensor, " some"] | slice = slice(None)
    ) -> Float[torch.Tensor, "batch heads some keys"]:
        """Return scale · q kᵀ of some queries, without bias and mask."""
        q, k = _floats(self.q), _floats(self.k)
        if k.shape[1] != q.shape[1]:
            k = k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)
        return (q[:, :, queries] * self.scale) @ k.transpose(-2, -1)

    def added_to(
        self, queries: Int[torch.Tensor, " some"] | slice = slice(None)
    ) -> Float[torch.Tensor, "..."]:
        """Return bias and mask of some queries, with as many axes as the logits."""
        batch, heads, count, keys = self.shape
        return _floats(self.added).expand(batch, heads, count, keys)[:, :, queries]


def _held(tensor: torch.Tensor | None) -> torch.Tensor:
    if tensor is None:
        raise ValueError("attention was caught without the tensor that is asked for")
    return tensor


def _floats(tensor: torch.Tensor | None) -> torch.Tensor:
    held = _held(tensor)
    return held if held.dtype == torch.float64 else held.float()


@contextmanager
def listening(hear: Callable[[Attended], None]) -> Iterator[None]:
    """Tell `hear` of every attention that is computed meanwhile, ahead of its result.

    What `hear` itself computes is not told again. Only one thread may run models meanwhile.
    """
    heard = _Once(hear)
    fused = functional.scaled_dot_product_attention
    fast = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.enter_context(
            _patched(functional, "scaled_dot_product_attention", heard.around_fused(fused))
        )
        for owner, name in _SOFTMAXES:
            eager = heard.around_softmax(getattr(owner, name))
            stack.enter_context(_patched(owner, name, eager))
        torch.backends.mha.set_fastpath_enabled(False)
        stack.callback(torch.backends.mha.set_fastpath_enabled, fast)
        yield


@contextmanager
def _patched(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Replace a function of a module or a method of a class for a while."""
    is_own, before = name in vars(owner), getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if is_own:
            setattr(owner, name, before)
        else:
            delattr(owner, name)


class _Once:
    """Reports every call of attention, but for those that the report itself makes."""

    def __init__(self, hear: Callable[[Attended], None]) -> None:
        self.hear = hear
        self.is_telling = False

    def tell(self, attended: Attended) -> None:
        if self.is_telling:
            return
        self.is_telling = True
        try:
            self.hear(attended)
        finally:
            self.is_telling = False

    def around_fused(self, own: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def fused(query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            mask, scale = _mask_of(query, key, *args, **kwargs), kwargs.get("scale")
            scale = query.shape[-1] ** -0.5 if scale is None else float(scale)
            q, k = _four_axes(query, key)
            self.tell(Attended(q, k, mask, scale, is_folded=query.ndim < _FEWEST_AXES))
            return own(query, key, value, *args, **kwargs)

        return fused

    def around_softmax(self, own: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def softmax(logits: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            axis = args[0] if args else kwargs.get("dim")
            if logits.ndim >= _FEWEST_AXES and axis in (-1, logits.ndim - 1):
                self.tell(Attended(None, None, None, 1.0, _heads_second(logits)))
            return own(logits, *args, **kwargs)

        return softmax


def _mask_of(
    query: torch.Tensor,
    key: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,  # noqa: ARG001  # as torch's function takes them
    is_causal: bool = False,
    **_: Any,
) -> torch.Tensor | None:
    if is_causal:
        shape = (query.shape[-2], key.shape[-2])
        attn_mask = torch.ones(shape, dtype=torch.bool, device=query.device).tril()
    if attn_mask is None or attn_mask.dtype != torch.bool:
        return attn_mask
    nothing = torch.zeros(attn_mask.shape, device=query.device)
    return nothing.masked_fill(~attn_mask, -torch.inf)


def _four_axes(q: torch.Tensor, k: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return q and k with one batch axis: (images, heads, windows, …) has its windows there."""
    if q.ndim == _FEWEST_AXES:
        return q, k
    if q.ndim < _FEWEST_AXES:
        return q[:, None], k[:, None]
    return _heads_second(q), _heads_second(k)


def _heads_second(tensor: torch.Tensor) -> torch.Tensor:
    """Fold the axes between heads and the last two into the batch."""
    if tensor.ndim == _FEWEST_AXES:
        return tensor
    moved = tensor.movedim(1, -3)
    return moved.reshape(-1, *moved.shape[-3:])
