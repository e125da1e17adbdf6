"""The parts of a live model by what they do, found by watching it run once.

A block is the element of a list that attention is computed in, whatever library built it; its
norm is the last one that ran in it ahead of attention; the final norm is the first one after the
last block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import nn

from pe_inspect.arrays import Float
from pe_inspect.live.interception import Attended, listening

__all__ = ["Anatomy", "BlockParts", "anatomy_of", "tokens_of"]

_LISTS: Final = (nn.ModuleList, nn.Sequential)
_IMAGE_AXES: Final = 4  # (batch, rows, columns, channels)


@dataclass(frozen=True, eq=False)
class BlockParts:
    """One block of a live model.

    Attributes:
        name: `blocks.0`, `blocks.1`, … in the order that they run in.
        path: its name inside the model.
        block: the module.
        norm: what attention receives comes from it; `None` where a block attends first.
        attention: the module that computes attention.
        tokens: how many tokens leave it.
        grid_size: (rows, columns) of its tokens where their shape says so.
    """

    name: str
    path: str
    block: nn.Module
    norm: nn.Module | None
    attention: nn.Module
    tokens: int
    grid_size: tuple[int, int] | None


@dataclass(frozen=True, eq=False)
class Anatomy:
    """A live model's blocks and norms; any may be missing.

    Attributes:
        blocks: in the order that they run in.
        final_norm: the first norm behind the last block.
        first_norm: what normalises all tokens ahead of the first block, as CLIP does.
        projection: the last convolution ahead of the first block, which makes tokens of patches.
    """

    blocks: tuple[BlockParts, ...]
    final_norm: nn.Module | None
    first_norm: nn.Module | None = None
    projection: nn.Module | None = None

    @property
    def entry(self) -> nn.Module:
        """The module that first receives all tokens with their positions."""
        return self.first_norm or self.blocks[0].block


@dataclass(frozen=True, eq=False)
class _Ran:
    path: str
    module: nn.Module
    shape: tuple[int, ...]


def tokens_of(output: Any) -> Float[torch.Tensor, "batch tokens channels"]:
    """Return a block's output as tokens, row-major where it is laid out as an image."""
    first: torch.Tensor = output if isinstance(output, torch.Tensor) else output[0]
    return first.flatten(1, 2) if first.ndim == _IMAGE_AXES else first


def anatomy_of(model: nn.Module, run: Callable[[], Any]) -> Anatomy:
    """Return the parts of a model.

    Args:
        model: in evaluation mode.
        run: runs it once on some image.
    """
    ran: list[_Ran | str] = []  # what finished, and the attention that began, in order
    paths = {module: path for path, module in model.named_modules()}
    open_paths: list[str] = []

    def hear(attended: Attended) -> None:  # noqa: ARG001  # that it happened is enough
        ran.append(open_paths[-1] if open_paths else "")

    with _watched(paths, open_paths, ran), listening(hear), torch.no_grad():
        run()
    return _Reading(model, ran).anatomy()


@contextmanager
def _watched(
    paths: dict[nn.Module, str], open_paths: list[str], ran: list[_Ran | str]
) -> Iterator[None]:
    def enter(module: nn.Module, _: Any) -> None:
        open_paths.append(paths[module])

    def leave(module: nn.Module, _: Any, output: Any) -> None:
        open_paths.pop()
        first = output[0] if isinstance(output, tuple) and output else output
        shape = tuple(first.shape) if isinstance(first, torch.Tensor) else ()
        ran.append(_Ran(paths[module], module, shape))

    with ExitStack() as stack:
        for module in paths:
            stack.callback(module.register_forward_pre_hook(enter).remove)
            stack.callback(module.register_forward_hook(leave).remove)
        yield


class _Reading:
    """The parts of a model, read off the order in which its modules ran."""

    def __init__(self, model: nn.Module, ran: Sequence[_Ran | str]) -> None:
        self.modules = dict(model.named_modules())
        self.ran = ran

    def anatomy(self) -> Anatomy:
        found: dict[str, BlockParts] = {}
        for when, event in enumerate(self.ran):
            block = self.block_of(event) if isinstance(event, str) else None
            if block is not None and block not in found:
                found[block] = self.parts(f"blocks.{len(found)}", block, when)
        blocks = tuple(found.values())
        return Anatomy(
            blocks, self.final_norm(list(found)), self.first_norm(blocks), self.projection(blocks)
        )

    def first_norm(self, blocks: tuple[BlockParts, ...]) -> nn.Module | None:
        """Return the last norm ahead of the first block, where it is over all of its tokens."""
        before = reversed(self.before(blocks))
        tokens = (e for e in before if e.shape[1:2] == (blocks[0].tokens,))
        return next((e.module for e in tokens if _is_norm(e.module) and len(e.shape) == 3), None)

    def projection(self, blocks: tuple[BlockParts, ...]) -> nn.Module | None:
        """Return the last convolution ahead of the first block."""
        before = (e.module for e in reversed(self.before(blocks)))
        return next((module for module in before if isinstance(module, nn.Conv2d)), None)

    def before(self, blocks: tuple[BlockParts, ...]) -> list[_Ran]:
        """Return what ran ahead of the first block, in order."""
        found: list[_Ran] = []
        for event in self.ran if blocks else ():
            if not isinstance(event, _Ran) or event.path.startswith(f"{blocks[0].path}."):
                break
            found.append(event)
        return found

    def block_of(self, attention: str) -> str | None:
        """Return the innermost ancestor that is an element of a list."""
        path = attention
        while path:
            parent, _, _ = path.rpartition(".")
            if isinstance(self.modules.get(parent), _LISTS):
                return path
            path = parent
        return None

    def parts(self, name: str, path: str, when: int) -> BlockParts:
        attention: Any = self.ran[when]
        before = [event for event in self.ran[:when] if isinstance(event, _Ran)]
        norms = [
            event.module
            for event in before
            if _is_norm(event.module)
            and event.path.startswith(f"{path}.")
            and not event.path.startswith(f"{attention}.")
        ]
        left = next(e for e in self.ran[when:] if isinstance(e, _Ran) and e.path == path)
        is_image = len(left.shape) == _IMAGE_AXES
        return BlockParts(
            name, path, left.module, norms[-1] if norms else None, self.modules[attention],
            left.shape[1] * left.shape[2] if is_image else left.shape[1],
            (left.shape[1], left.shape[2]) if is_image else None,
        )  # fmt: skip

    def final_norm(self, blocks: list[str]) -> nn.Module | None:
        """Return the first norm of the last block's width that ran after it."""
        if not blocks:
            return None
        ends = [i for i, e in enumerate(self.ran) if isinstance(e, _Ran) and e.path == blocks[-1]]
        last: Any = self.ran[ends[-1]]
        after = (e for e in self.ran[ends[-1] + 1 :] if isinstance(e, _Ran))
        norms = (e for e in after if _is_norm(e.module) and e.shape[-1:] == last.shape[-1:])
        return next((event.module for event in norms), None)


def _is_norm(module: nn.Module) -> bool:
    """Whether a module normalises tokens over their channels, and not over a batch or groups."""
    if isinstance(module, (nn.modules.batchnorm._NormBase, nn.GroupNorm)):
        return False
    return isinstance(module, (nn.LayerNorm, nn.RMSNorm)) or "Norm" in type(module).__name__
