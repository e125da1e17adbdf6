"""What position alone would make of attention: the logits of position vectors among themselves."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from pe_inspect.arrays import Float
from pe_inspect.live.attention_sums import AttentionAccumulator
from pe_inspect.live.capture import Captured
from pe_inspect.live.host import Host
from pe_inspect.live.interception import Attended
from pe_inspect.live.logit_terms import received_by
from pe_inspect.traces import AttentionSums

__all__ = ["position_attention"]


def position_attention(
    host: Host, found: Captured, omega: Float[torch.Tensor, "patches channels"], blocks: list[int]
) -> Iterator[AttentionSums]:
    """Yield, for each block, softmax of LN(ω) W_q W_kᵀ LN(ω)ᵀ over patches, without any image.

    The norm is the block's own with its weight and bias; the biases of q and k are left out. It is
    what happens in the first block, and a proxy behind it.

    Args:
        host: of the model.
        found: one run, for how attention is called.
        omega: the position embedding.
        blocks: numbers of those whose q and k are linear in their input.
    """
    for i in blocks:
        part = host.anatomy.blocks[i]
        if part.norm is None or found.states[i].shape[-1] != omega.shape[-1]:
            continue
        normed = part.norm(omega)[None]
        lead = normed.new_zeros(1, host.num_prefix_tokens, normed.shape[-1])
        tokens = torch.cat((lead, normed), dim=1)
        if tokens.shape[1] != found.states[i].shape[1]:
            continue  # another stage
        given, nothing = (
            received_by(found.calls[i], each) for each in (tokens, torch.zeros_like(tokens))
        )
        sums = AttentionAccumulator(
            part.name, host.grid_size, 0, has_cls=False, is_window=False
        )  # prefix tokens have no position and are no keys here
        sums.add(_difference(given, nothing, host.num_prefix_tokens))
        summed = sums.sums()
        if summed is not None:
            yield summed


def _difference(given: Attended, nothing: Attended, prefix: int) -> Attended:
    (q, k), (none_q, none_k) = given.q_and_k, nothing.q_and_k
    q, k = q - none_q, k - none_k
    return Attended(q[:, :, prefix:], k[:, :, prefix:], None, given.scale)
