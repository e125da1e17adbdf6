"""Attention logits as sums over parts of the tokens: content, position, constant.

With a norm's own σ held, it is linear; so are q and k of a part, which are read off by running the
attention module on that part and stopping it where it would attend. Rotations are linear too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from pe_inspect.arrays import Float
from pe_inspect.live.attention_sums import tiles
from pe_inspect.live.capture import Call, Captured
from pe_inspect.live.interception import Attended, listening
from pe_inspect.traces import LogitSums

__all__ = ["PARTS", "LogitAccumulator", "linear_norm", "parts_of_input", "received_by"]

PARTS: Final = ("content", "position", "constant")
LEAST_BESIDE: Final = 1e-4  # what differs by less is rounding, and no embedding beside the norm
LARGEST_RESIDUAL: Final = 1e-3  # of the largest logit; beyond it q or k are not linear


def parts_of_input(
    found: Captured,
    block: int,
    norm: nn.Module | None,
    mean: Float[torch.Tensor, "tokens channels"],
    prefix: int,
    omega: Float[torch.Tensor, "patches channels"] | None,
) -> dict[str, torch.Tensor] | None:
    """Return the parts of what a block's attention receives, which sum to it.

    Args:
        found: the tokens of a batch.
        block: its number.
        norm: the norm ahead of its attention.
        mean: the position map that it begins with, prefix tokens first.
        prefix: how many those are.
        omega: the position embedding itself, where this block is the first and it is known.

    Returns:
        Content, position and constant; `None` of a block whose norm is not linear, or comes after.
    """
    x, received = found.states[block], found.received(block)
    linear = None if norm is None else linear_norm(norm, x)
    if linear is None or received is None:
        return None
    normed, constant = linear
    beside = received - normed(x) - constant  # what LaPE adds there; else nothing
    mu = mean[prefix:].mean(dim=0)
    if omega is not None:
        position, still = torch.cat((torch.zeros_like(mean[:prefix]), omega)), torch.zeros_like(mu)
    elif block == 0 and float(beside.abs().max()) > LEAST_BESIDE:
        position, still = torch.zeros_like(mean), torch.zeros_like(mu)
    else:
        position, still = mean - mu, mu
    content = x - position - still
    return {
        "content": normed(content),
        "position": normed(position.expand_as(x)) + beside,
        "constant": normed(still.expand_as(x)) + constant,
    }


class _Heard(Exception):  # it is no error
    """What attention received; raised to stop it there."""

    def __init__(self, attended: Attended) -> None:
        super().__init__()
        self.attended = attended


class LogitAccumulator:
    """Sums of one block.

    Args:
        prefix: tokens ahead of the patches.
    """

    def __init__(self, prefix: int) -> None:
        self.prefix = prefix
        self.terms: torch.Tensor | float = 0.0
        self.bias: torch.Tensor | float = 0.0
        self.square: torch.Tensor | float = 0.0
        self.residual = self.largest = 0.0

    def add(self, call: Call, attended: Attended, parts: Mapping[str, torch.Tensor]) -> None:
        """Add a batch.

        Args:
            call: of the block's attention.
            attended: what it received.
            parts: of the attention's input, by name: they sum to it.
        """
        none_q, none_k = received_by(call, torch.zeros_like(parts["content"])).q_and_k
        queries, keys = [], []
        for name in PARTS:
            q, k = received_by(call, parts[name]).q_and_k
            is_whole = name == "constant"  # which the biases of q and k belong to
            queries.append(q if is_whole else q - none_q)
            keys.append(k if is_whole else k - none_k)
        self._sum(attended.in_double(), torch.stack(queries), torch.stack(keys))

    def _sum(self, attended: Attended, queries: torch.Tensor, keys: torch.Tensor) -> None:
        """Sum term · logit over all pairs, tile by tile: Σ q_a · Σ_k (k_b − mean) logit."""
        prefix = self.prefix
        queries = queries[..., prefix:, :].double() * attended.scale
        keys = keys[..., prefix:, :].double()
        centred = keys - keys.mean(dim=-2, keepdim=True)
        batch, heads, count, _ = attended.shape
        places = torch.arange(prefix, count, device=keys.device)
        for some in tiles(len(places), batch * heads * count * 4):
            logits = attended.logits(places[some])[..., prefix:]
            logits = logits - logits.mean(dim=-1, keepdim=True)
            drawn = torch.einsum("bhqk,pbhkc->pbhqc", logits, centred)
            own = queries[..., some, :]
            self.terms = self.terms + torch.einsum("abhqc,pbhqc->hap", own, drawn).double()
            self.square = self.square + (logits.double() ** 2).sum(dim=(0, 2, 3))
            sum_of_terms = own.sum(dim=0) @ centred.sum(dim=0).transpose(-2, -1)
            if attended.added is not None:
                added = attended.added_to(places[some])[..., prefix:]
                added = added - added.mean(dim=-1, keepdim=True)
                self.bias = self.bias + (added * logits).double().sum(dim=(0, 2, 3))
                sum_of_terms = sum_of_terms + added
            self.residual = max(self.residual, float((sum_of_terms - logits).abs().max()))
            self.largest = max(self.largest, float(logits.abs().max()))

    def sums(self) -> LogitSums | None:
        """Return what a trace holds; `None` where q and k are not linear in their parts."""
        if not isinstance(self.terms, torch.Tensor) or not isinstance(self.square, torch.Tensor):
            return None
        if not self.residual <= LARGEST_RESIDUAL * max(1.0, self.largest):
            return None
        bias = self.bias if isinstance(self.bias, torch.Tensor) else torch.zeros(len(self.terms))
        terms, bias_terms, square = (
            np.asarray(each.double().cpu()) for each in (self.terms, bias, self.square)
        )
        return LogitSums(PARTS, terms, bias_terms, square, self.residual)


def received_by(call: Call, tokens: torch.Tensor) -> Attended:
    """Return what a block's attention receives of other tokens; nothing is attended to."""

    def stop(attended: Attended) -> None:
        raise _Heard(attended)

    try:
        with listening(stop):
            call.on(tokens)
    except _Heard as heard:
        return heard.attended.with_heads(getattr(call.module, "num_heads", 1))
    raise RuntimeError(f"{type(call.module).__name__} attended to nothing")


def linear_norm(
    norm: nn.Module, x: Float[torch.Tensor, "batch tokens channels"]
) -> tuple[Any, torch.Tensor] | None:
    """Return a norm as a linear map of parts of `x` with σ(x) held, and its constant β.

    `None` of what is neither LayerNorm nor RMSNorm.
    """
    weight, eps = getattr(norm, "weight", None), getattr(norm, "eps", None)
    if weight is None or eps is None or weight.ndim != 1:
        return None
    bias = getattr(norm, "bias", None)
    constant = torch.zeros_like(weight) if bias is None else bias
    if isinstance(norm, nn.LayerNorm):
        scale = (x.var(dim=-1, unbiased=False, keepdim=True) + eps).rsqrt()
        return (lambda part: (part - part.mean(-1, keepdim=True)) * scale * weight), constant
    scale = (x.square().mean(dim=-1, keepdim=True) + eps).rsqrt()
    return (lambda part: part * scale * weight), constant
