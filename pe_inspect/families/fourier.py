"""Fixed sines and cosines of the position, projected by a learned 1×1 convolution: XCiT, EdgeNeXt.

Positions count from 1 and are divided by the side of the grid, so that the embedding exists for
any grid; shown is one that is stated.

Sources: arXiv:2106.09681 (XCiT); arXiv:2206.10589 (EdgeNeXt).
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np

from pe_inspect.arrays import Float, Float32
from pe_inspect.families import Family, families
from pe_inspect.families.reading.tables import nonfinite_note
from pe_inspect.families.reading.tensors import Place
from pe_inspect.families.trunk import Trunk
from pe_inspect.kinds.parts import FamilyFacts
from pe_inspect.kinds.position_embedding import Join, LayerPE, PositionEmbedding

__all__ = ["detect", "extract", "fourier_features"]

NAME: Final = "fourier"

_PROJECTION: Final = re.compile(
    r"(?P<at>(?:.+\.)?)(?P<name>pos_embed|pos_embd|pos_embeder)\.token_projection\.weight"
)
_TEMPERATURE: Final = 10000.0
_EPS: Final = 1e-6


def detect(trunk: Trunk) -> bool:
    """Whether the checkpoint holds such a projection."""
    return bool(_find(trunk))


def extract(trunk: Trunk) -> tuple[PositionEmbedding, ...]:
    """Compute the projected features of a stated grid, (H·W, channels)."""
    found = _find(trunk)
    if not found:
        return ()
    from pe_inspect.families.reading.embedding import scheme
    from pe_inspect.families.reading.named_model import stated_grid

    layers, keys, notes = [], list[str](), list[str]()
    for place, key in found:
        grid, note = stated_grid(trunk, _path(place))
        weight, bias = _projection(trunk, key)
        features = fourier_features(grid, weight.shape[1] // 2)
        values = features @ weight.T.astype(np.float64) + bias
        layers.append(LayerPE(place.layer or "input", values, grid))
        keys += [name for name in (key, _bias(key)) if name in trunk]
        notes += (f"computed {note}", *nonfinite_note(trunk.stored_key(key), weight))
    join: Join = "input" if layers[0].layer == "input" else "layer"
    return (scheme(trunk, NAME, "function", layers, keys, notes, join=join),)


def fourier_features(
    grid_size: tuple[int, int], num_features: int
) -> Float[np.ndarray, "patches both_axes"]:
    """Return sines and cosines of 2π·position/side, rows before columns, in turn.

    Args:
        grid_size: (H, W); positions are 1 … side along each axis.
        num_features: of each axis; feature k has the period of 10000^(2⌊k/2⌋/num_features).
    """
    periods = _TEMPERATURE ** (2 * (np.arange(num_features) // 2) / num_features)
    axes = []
    for side, places_ in zip(grid_size, np.indices(grid_size)):
        turns = (places_.reshape(-1, 1) + 1) / (side + _EPS) * 2 * np.pi / periods
        axes.append(np.where(np.arange(num_features) % 2, np.cos(turns), np.sin(turns)))
    return np.concatenate(axes, axis=1)


def _find(trunk: Trunk) -> list[tuple[Place, str]]:
    found = []
    for place in trunk.places(_PROJECTION):
        key = f"{place.stem}{place.match.string[place.match.end('at') :]}"
        shape = trunk.shape(key)
        if len(shape) == 4 and shape[1] % 4 == 0 and shape[2:] == (1, 1):
            found.append((place, key))
    return found


def _path(place: Place) -> str:
    return f"{place.match['at']}{place.match['name']}.token_projection"


def _bias(key: str) -> str:
    return f"{key.removesuffix('weight')}bias"


def _projection(
    trunk: Trunk, key: str
) -> tuple[Float32[np.ndarray, "channels features"], Float32[np.ndarray, " channels"]]:
    from pe_inspect.families.reading.embedding import expect_shapes

    has_bias = _bias(key) in trunk
    expect_shapes(
        trunk, {key: "channels features 1 1", **({_bias(key): "channels"} if has_bias else {})}
    )
    weight = trunk.float32(key)[:, :, 0, 0]
    bias = trunk.float32(_bias(key)) if has_bias else np.zeros(len(weight), np.float32)
    return weight, bias


families.register(NAME)(
    Family(
        name=NAME,
        looks_for="`pos_embed.token_projection.weight` (channels × 64 × 1 × 1), at the input or "
        "in a block",
        example="XCiT (timm's xcit_nano_12_p8_224), EdgeNeXt (timm's edgenext_xx_small)",
        detect=detect,
        extract=extract,
        facts=FamilyFacts(
            needs_no_change="its waves are computed in units of the image, for any grid",
            sentence="Sines and cosines of the position, through a learned projection",
            source="arXiv:2106.09681 (XCiT): sines and cosines through the stored projection",
            computed_from="places in units of the image",
        ),
    )
)
