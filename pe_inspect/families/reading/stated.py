"""What flags and a config.json state of the model, held against its tensors.

Where they contradict each other, neither is obeyed without a word: both sides are said, and the
user decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families.reading.bias_tables import find_bias_tables
from pe_inspect.families.reading.grid import x
from pe_inspect.families.reading.names import in_order
from pe_inspect.families.reading.tokens import is_spectrogram_s
from pe_inspect.families.trunk import Trunk
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = [
    "computes_rotations",
    "notes_on_flags",
    "refuse_other_arch",
    "refuse_other_heads",
    "refuse_other_model",
    "refuse_other_patch",
]

_WEIGHT: Final = re.compile(r".+[./](?:weight|scale|gamma)")


def computes_rotations(trunk: Trunk) -> bool:
    """Whether a config.json of transformers names a rotary model that stores nothing."""
    if not (config := trunk.vision_config):
        return False
    from pe_inspect.families.reading.rotation_rules import axial_type, rule_of

    return rule_of(config) is not None or axial_type(config) is not None


def refuse_other_model(trunk: Trunk) -> None:
    """Compare the depth and the width that a config.json states with those of the weights.

    Raises:
        AmbiguousCheckpoint: they differ; both are said.
    """
    found = "; ".join(_differences(trunk))
    if found:
        raise AmbiguousCheckpoint(
            f"config.json contradicts the weights of {trunk.source}: {found}. One of the two "
            "is of another model: put the right config.json beside the weights, or give the "
            "weight file without it."
        )


def _differences(trunk: Trunk) -> Iterator[str]:
    hints = trunk.hints
    if not any(name.startswith("blocks.") for name in trunk.blocks):
        return  # a pyramid's stages differ in width, and configurations count them variously
    if trunk.hints.is_of_config("depth") and hints.depth != (blocks := trunk.depth):
        yield f"it says {hints.depth} blocks, they have {blocks}"
    if trunk.hints.is_of_config("embed_dim"):
        width = _width(trunk)
        if width and hints.embed_dim != width:
            yield f"it says embed_dim {hints.embed_dim}, they have {width}"


def _width(trunk: Trunk) -> int | None:
    """The width of the first block's first norm."""
    for each in trunk.matching_in_blocks(_WEIGHT):
        shape = trunk.shape(each.key)
        if len(shape) == 1 and trunk.place(each.bare) == ("blocks.0", "norm1"):
            return shape[0]
    return None


def refuse_other_patch(trunk: Trunk) -> None:
    """Compare a patch size that a flag or a config.json states with a kernel that is a patch.

    Raises:
        AmbiguousCheckpoint: they differ; both are said. Or patches overlap on a spectrogram.
    """
    said, kernel = trunk.hints.patch_size, trunk.patch_kernel
    is_said, who = trunk.hints.is_flag("patch_size"), trunk.hints.origin("patch_size")
    if said is None or not (is_said or trunk.hints.is_of_config("patch_size")):
        return
    if kernel is not None and said != kernel:
        raise AmbiguousCheckpoint(
            f"{who} says patches of {x(said)} pixels, and the kernel that makes them in "
            f"{trunk.source} is {x(kernel)}. "
            + (f"Leave {who} out." if is_said else "One of the two is of another model.")
        )
    if is_said and is_spectrogram_s(trunk):
        raise AmbiguousCheckpoint(
            f"{who} says patches of {x(said)} pixels, and those of {trunk.source} overlap on "
            f"a spectrogram. Leave {who} out, and pass a size in patches: --grid HxW."
        )


def notes_on_flags(trunk: Trunk) -> tuple[str, ...]:
    """Return a note where the patch size as said is not the file's, and neither is wrong."""
    said, first = trunk.hints.patch_size, trunk.first_kernel
    taken, who = trunk.patch_size, trunk.hints.origin("patch_size")
    if said is None or said == first:
        return ()
    if trunk.patch_kernel is not None:
        return (f"patch size {x(first or said)} from the kernel; {who} says {x(said)}",)
    if taken is not None and taken != said:
        return (f"patches lie {x(taken)} pixels apart; {who} says {x(said)}",)
    if first is not None:
        return (f"patch size {x(said)} from {who}; the first kernel is {x(first)}",)
    is_unchecked = trunk.hints.is_flag("patch_size") and len(trunk) > 1
    return (f"patch size {x(said)} from {who}: no kernel shows it",) if is_unchecked else ()


def refuse_other_arch(trunk: Trunk) -> None:
    """Compare the blocks of the architecture that `--arch` names with those of the file.

    Only a flag is looked up: importing timm costs seconds.

    Raises:
        AmbiguousCheckpoint: depth or width differ; both are said.
        UsageError: timm has no such architecture.
    """
    blocks = trunk.depth
    if not trunk.hints.is_flag("arch") or not blocks:
        return
    from pe_inspect.families.reading.arch import build, timm_name

    named = Trunk(Checkpoint.from_state_dict(build(timm_name(trunk.hints)).state_dict()))
    if named.depth != blocks:
        _refuse_arch(trunk, f"{named.depth or 'no'} blocks", str(blocks))
    for theirs, ours in zip(_widths(named), _widths(trunk)):
        if theirs != ours:
            _refuse_arch(trunk, f"embed_dim {theirs}", str(ours))


def _refuse_arch(trunk: Trunk, named: str, own: str) -> None:
    raise AmbiguousCheckpoint(
        f"--arch {trunk.hints.arch} has {named}, {trunk.source} has {own}. "
        "Name the architecture that the file is of."
    )


def _widths(trunk: Trunk) -> list[int]:
    """Return the width of each block's first norm, in block order."""
    found = dict[str, int]()
    for bare, key in trunk.names.items():
        (layer, name), shape = trunk.place(bare), trunk.shape(key)
        if layer and name == "norm1" and len(shape) == 1:
            found.setdefault(layer, shape[0])
    return [found[layer] for layer in sorted(found, key=in_order)]


def refuse_other_heads(trunk: Trunk) -> None:
    """Compare `--num-heads` with the heads of the bias tables, and with the width.

    Raises:
        AmbiguousCheckpoint: no table has so many, or they do not divide the width.
    """
    said = trunk.hints.num_heads
    if said is None or not trunk.hints.is_flag("num_heads"):
        return
    heads = sorted({table.heads for table in find_bias_tables(trunk)})
    width = _attention_width(trunk)
    if heads and said not in heads:
        found = f"the bias tables of {trunk.source} have {', '.join(map(str, heads))}"
    elif not heads and width and width % said:
        found = f"the attention of {trunk.source} is {width} wide, which {said} do not divide"
    else:
        return
    raise AmbiguousCheckpoint(f"--num-heads says {said} heads; {found}. Leave --num-heads out.")


def _attention_width(trunk: Trunk) -> int | None:
    """Return the channels of all heads of the first block; `None` of a pyramid."""
    names = trunk.names
    if not any(name.startswith("blocks.") for name in trunk.blocks):
        return None
    if (key := names.get("blocks.0.attn.qkv.weight")) is not None:
        return trunk.shape(key)[0] // 3
    return next(iter(_widths(trunk)), None)
