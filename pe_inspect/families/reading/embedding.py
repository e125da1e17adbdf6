"""What every scheme inside the blocks needs: its tensors fit, and the container around them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pe_inspect.errors import AmbiguousCheckpoint, UnfitShapes
from pe_inspect.families.trunk import Trunk
from pe_inspect.kinds.position_embedding import Join, Kind, LayerPE, PositionEmbedding, Relation

__all__ = ["expect_shapes", "num_prefix_tokens", "refuse_misfits", "scheme"]


def num_prefix_tokens(trunk: Trunk) -> int:
    """Return the model's prefix tokens: as said, else as many as the file holds."""
    said = trunk.hints.num_prefix_tokens
    return trunk.prefix_tokens.total if said is None else said


def refuse_misfits(trunk: Trunk, wanted: Mapping[str, str]) -> None:
    """Refuse a file whose tensors act together and do not fit each other; no values are read.

    Args:
        trunk: which holds them.
        wanted: key → its axes: one word has one length in all of them, and a number is a length,
            e.g. `{"fc1.weight": "hidden 2", "fc1.bias": "hidden"}`.

    Raises:
        AmbiguousCheckpoint: they do not fit.
    """
    if misfits := _misfits(trunk, wanted):
        raise AmbiguousCheckpoint(
            f"{trunk.source} holds {misfits}. The file mixes two models, or is damaged."
        )


def expect_shapes(trunk: Trunk, wanted: Mapping[str, str]) -> None:
    """Leave tensors alone that have the names of a scheme and not its shapes.

    Args:
        trunk: which holds them.
        wanted: as for `refuse_misfits`.

    Raises:
        UnfitShapes: they do not fit; another reader may know them.
    """
    if misfits := _misfits(trunk, wanted):
        raise UnfitShapes(f"{misfits}.")


def _misfits(trunk: Trunk, wanted: Mapping[str, str]) -> str:
    """Say what does not fit; nothing where all does."""
    lengths = dict[str, int]()
    if all(_fits(trunk.shape(key), axes.split(), lengths) for key, axes in wanted.items()):
        return ""
    held = ", ".join(f"{trunk.stored_key(key)} {trunk.shape(key)}" for key in wanted)
    axes = ", ".join(f"({each.replace(' ', ', ')})" for each in wanted.values())
    return f"{held}. They act together, and their shapes would be {axes}"


def _fits(shape: tuple[int, ...], axes: list[str], lengths: dict[str, int]) -> bool:
    """Whether a shape has these axes; the length of a word that is met first is kept."""
    return (
        len(shape) == len(axes)
        and 0 not in shape
        and all(
            length == (int(axis) if axis.isdigit() else lengths.setdefault(axis, length))
            for axis, length in zip(axes, shape)
        )
    )


def scheme(
    trunk: Trunk,
    family: str,
    kind: Kind,
    layers: Iterable[LayerPE],
    keys: Iterable[str],
    notes: Iterable[str] = (),
    *,
    join: Join = "layer",
    stored: bool = True,
    relation: Relation | None = None,
) -> PositionEmbedding:
    """Return the embedding of a scheme that acts inside the blocks.

    Args:
        trunk: where it comes from; norms, depth and prefix tokens are its own.
        family: the scheme's name.
        kind: see `PositionEmbedding`.
        layers: the tables, in block order.
        keys: the checkpoint's names of the learned tensors that were used.
        notes: what was inferred.
        join: how it enters.
        stored: false where the file holds none of it.
        relation: how the tables of kind `relative` make the vector of a pair.
    """
    norms, keys = trunk.norms, tuple(keys)
    said = (*dict.fromkeys(notes), *norms.notes, *trunk.missing_blocks)
    return PositionEmbedding(
        family=family,
        kind=kind,
        join=join,
        tables=tuple(layers),
        norms=norms.params,
        notes=said,
        keys=tuple(map(trunk.stored_key, keys)),
        num_prefix_tokens=num_prefix_tokens(trunk),
        depth=trunk.depth,
        num_parameters=sum(trunk.size(key) for key in keys),
        stored=stored,
        patch_size=trunk.patch_size,
        relation=relation or Relation(),
    )
