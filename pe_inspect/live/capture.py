"""One run of a live model, with the tokens at every place of its residual stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from pe_inspect.arrays import Float
from pe_inspect.live.anatomy import tokens_of
from pe_inspect.live.host import Host
from pe_inspect.live.interception import Attended, listening

__all__ = ["Call", "Captured", "captured"]


@dataclass(frozen=True, eq=False)
class Call:
    """How an attention module was called, so that it can be called again on other tokens."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def on(self, tokens: torch.Tensor) -> Any:
        """Call it again on other tokens, laid out as those were."""
        tokens = tokens.reshape(len(tokens), *self.tokens.shape[1:])
        if self.args:
            count = sum(1 for given in self.args if given is self.args[0])  # MHA: q, k and v
            return self.module(*([tokens] * count), *self.args[count:], **self.kwargs)
        first = next(iter(self.kwargs))
        return self.module(**{**self.kwargs, first: tokens})

    @property
    def tokens(self) -> torch.Tensor:
        """What it was called on."""
        first: torch.Tensor = self.args[0] if self.args else next(iter(self.kwargs.values()))
        return first


@dataclass(eq=False)
class Captured:
    """The tokens of one batch.

    Attributes:
        states: h_0 … h_L, and behind the last norm: (batch, tokens, channels) each.
        calls: of every block's attention.
        normed: what every block's norm gave.
    """

    states: list[Float[torch.Tensor, "batch tokens channels"]] = field(default_factory=list)
    calls: dict[int, Call] = field(default_factory=dict)
    normed: dict[int, torch.Tensor] = field(default_factory=dict)

    def received(self, block: int) -> Float[torch.Tensor, "batch tokens channels"] | None:
        """Return what a block's attention receives; in windows, what its norm gives."""
        state = self.states[block]
        given = self.calls[block].tokens if block in self.calls else None
        if given is not None and given.shape == state.shape:
            return given
        normed = self.normed.get(block)
        return None if normed is None else tokens_of(normed)


@torch.no_grad()
def captured(
    host: Host, images: torch.Tensor, hear: Callable[[int, Attended], object] | None = None
) -> Captured:
    """Run a model on a batch.

    Args:
        host: of the model.
        images: normalised.
        hear: is told of every block's attention, by the number of the block.
    """
    recorder = _Recorder(host, hear)
    is_heard = nullcontext() if hear is None else listening(recorder.told)
    with recorder.hooked(), is_heard:
        host.run(images)
    found, norm = recorder.found, host.anatomy.final_norm
    found.states.append(found.states[-1] if norm is None else norm(found.states[-1]))
    return found


class _Recorder:
    """The hooks of one run; each is made for the block of a number."""

    def __init__(self, host: Host, hear: Callable[[int, Attended], object] | None) -> None:
        self.blocks, self.hear = host.anatomy.blocks, hear
        self.found = Captured()
        self.current = -1

    def told(self, attended: Attended) -> None:
        if self.hear is not None and self.current >= 0:
            heads = getattr(self.blocks[self.current].attention, "num_heads", 1)
            self.hear(self.current, attended.with_heads(heads))

    @contextmanager
    def hooked(self) -> Iterator[None]:
        with ExitStack() as stack:
            for i, part in enumerate(self.blocks):
                entering, calling = self.entering(i), self.calling(i)
                hooks = [
                    part.block.register_forward_pre_hook(entering, with_kwargs=True),
                    part.block.register_forward_hook(self.leaving(i)),
                    part.attention.register_forward_pre_hook(calling, with_kwargs=True),
                ]
                if part.norm is not None:
                    hooks.append(part.norm.register_forward_hook(self.norming(i)))
                for hook in hooks:
                    stack.callback(hook.remove)
            yield

    def entering(self, index: int) -> Callable[..., None]:
        def enter(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            first = args[0] if args else next(iter(kwargs.values()))
            self.found.states.append(tokens_of(first))
            self.current = index

        return enter

    def leaving(self, index: int) -> Callable[..., None]:
        def leave(_: nn.Module, __: Any, output: Any) -> None:
            self.current = -1
            if index == len(self.blocks) - 1:
                self.found.states.append(tokens_of(output))

        return leave

    def calling(self, index: int) -> Callable[..., None]:
        def call(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self.found.calls.setdefault(index, Call(module, args, kwargs))

        return call

    def norming(self, index: int) -> Callable[..., None]:
        return lambda _, __, output: self.found.normed.update({index: output})
