"""A bare pickle, as `pickle.dump` writes it: dicts of numpy arrays, as some model zoos publish."""

from __future__ import annotations

import re
from typing import Any, Final

from pe_inspect.loading.byte_source import for_unpickling
from pe_inspect.loading.checkpoint import StoredTensor
from pe_inspect.loading.formats import Contents, SourceFile, reads
from pe_inspect.loading.formats.pytorch_legacy import is_pytorch_legacy
from pe_inspect.loading.formats.safetensors import is_safetensors
from pe_inspect.loading.tree import plain_leaf, plain_tree

PADDLE: Final = "StructuredToParameterName@@"
"""What paddle.save puts among the arrays of a model."""
SUFFIXES: Final = (".pdparams", ".pkl", ".pickle", ".pth", ".pt", ".bin", ".ckpt")


def is_pickle(file: SourceFile) -> bool:
    """A protocol from 2 to 5, or a global at the start of an older one."""
    has_protocol = re.match(rb"\x80[\x02-\x05]", file.head) is not None
    is_old = re.match(rb"\(?[ci][\w.]+\n[\w.]+\n", file.head) is not None
    is_other = is_pytorch_legacy(file) or is_safetensors(file)
    return (has_protocol and not is_other) or is_old


@reads("pickle", name="pytorch", suffixes=SUFFIXES, when=is_pickle)
def read_pickle(file: SourceFile) -> Contents:
    """Walk the pickle; numpy arrays in it become tensors.

    Raises:
        UnsafeCheckpoint: the pickle names a global that is not on the list.
        UnreadableCheckpoint: the pickle is truncated or damaged.
    """
    from pe_inspect.loading.trusted_pickle import read_trusted
    from pe_inspect.loading.unpickler import load_plain

    if file.trust_pickle:
        return read_trusted(file, is_torch=False)
    with for_unpickling(file.source) as pickled:
        value = load_plain(pickled, str(file))
    note = "a bare pickle, not a file of torch.save: the numpy arrays in it were read"
    tree = plain_tree(value, plain_leaf)
    if isinstance(tree, dict) and tree.pop(PADDLE, None) is not None:
        note = "Paddle's parameters, whose matrices are inputs × outputs; the arrays were read"
    return Contents(_unpaired(tree), file.source, notes=(note,))


def _unpaired(tree: Any) -> Any:
    """Paddle may keep its own name beside an array: `(name, array)` is the array."""
    if not isinstance(tree, dict):
        return tree
    return {
        key: part[1] if _is_pair(part) and isinstance(part[1], StoredTensor) else part
        for key, part in tree.items()
    }


def _is_pair(part: Any) -> bool:
    return isinstance(part, list) and len(part) == 2 and isinstance(part[0], str)
