"""A bare pickle, as `pickle.dump` writes it: dicts of numpy arrays, as some model zoos publish."""

from __future__ import annotations

import re
from typing import Final

from pe_inspect.loading.byte_source import for_unpickling
from pe_inspect.loading.formats import Contents, SourceFile, reads
from pe_inspect.loading.formats.pytorch_legacy import is_pytorch_legacy
from pe_inspect.loading.formats.safetensors import is_safetensors
from pe_inspect.loading.tree import plain_leaf, plain_tree

SUFFIXES: Final = (".pkl", ".pickle", ".pth", ".pt", ".bin", ".ckpt")


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
    return Contents(plain_tree(value, plain_leaf), file.source, notes=(note,))
