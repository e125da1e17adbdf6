"""TorchScript archives: a program and its parameters. The parameters are read; nothing is run.

Modules become nested names: what is under `blocks` under `0` is `blocks.0.…`, as in a state dict.
Source: PyTorch's torch/csrc/jit/docs/serialization.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pe_inspect.loading.checkpoint import StoredTensor
from pe_inspect.loading.formats import Contents, SourceFile, reads
from pe_inspect.loading.formats.pytorch_zip import has_pickle, has_program, unpickled
from pe_inspect.loading.tree import plain_tree

DEEPEST: Final = 32


def is_torchscript(file: SourceFile) -> bool:
    """A `data.pkl`, and code beside it."""
    return has_pickle(file) and has_program(file)


@reads(
    "torchscript",
    name="torchscript",
    suffixes=(".pt", ".pth", ".ts", ".ptl", ".torchscript"),
    when=is_torchscript,
    way="its program holds sizes of its own. Write from a file of its weights, "
    "torch.save(torch.jit.load(PATH).state_dict(), 'weights.pth')",
)
def read_torchscript(file: SourceFile) -> Contents:
    """Walk the pickle of the modules; the code is not looked at.

    Raises:
        UnsafeCheckpoint: the pickle names globals that are neither the program's own nor known.
        UnreadableCheckpoint: the archive is damaged.
    """
    modules, tensors = unpickled(file, _module_of)
    tree = dict(_named(plain_tree(modules, tensors), "", 0))
    note = "the parameters of a TorchScript program; its code was not run"
    return Contents(tree, file.source, notes=(note,))


def _module_of(module: str, name: str) -> Any:
    """The program's classes become records, its typed lists plain ones."""
    from pe_inspect.loading.inert import Record, Replacement

    if module == "__torch__" or module.startswith("__torch__."):
        return Replacement(name, lambda *_: Record(name))
    if module == "torch.jit._pickle" and (name.startswith("build_") or name == "restore_type_tag"):
        return Replacement(name, lambda value, *_: value)
    return None


def _named(node: Any, prefix: str, depth: int) -> Iterator[tuple[str, StoredTensor]]:
    """The tensors of nested modules by dotted names; plain lists of tensors are none of them."""
    for name, part in node.items() if isinstance(node, dict) and depth < DEEPEST else ():
        path = f"{prefix}.{name}" if prefix else str(name)
        if isinstance(part, StoredTensor):
            yield path, part
        else:
            yield from _named(part, path, depth + 1)
