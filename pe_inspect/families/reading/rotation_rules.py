"""How models of transformers turn queries and keys, by the type that their config.json names.

A rule gives the angles of one head at every patch; files store nothing of them.
Sources: the configurations and rotary modules of transformers 5; arXiv:2409.12191 (Qwen2-VL),
arXiv:2410.07073 (Pixtral), arXiv:2508.10104 (DINOv3), arXiv:2506.09985 (V-JEPA 2).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pe_inspect.arrays import Float32
from pe_inspect.errors import AmbiguousCheckpoint

__all__ = ["RotaryRule", "axial_type", "centred_angles", "rule_of", "video_grid"]

Grid = tuple[int, ...]
Angles = Callable[["RotaryRule", float, int, Grid], np.ndarray]

_OF_VISION: Final = re.compile(r"_(?:vision|vit)(?:_(?:model|encoder))?$")
_BASE: Final = 10000.0


@dataclass(frozen=True)
class RotaryRule:
    """One rule of angles.

    Attributes:
        angles: makes (patches, head_dim / 2) of the rule, a base, a head's channels and a grid.
        base: of the frequencies, where the configuration states none.
        pairing: which channels turn together, by its name in `rotation.PAIRINGS`.
        x_first: whether the columns' angles stand ahead of the rows'.
        by_turns: whether the axes alternate from frequency to frequency.
        first: the number of the first row and column.
        note: what is to be known of it besides.
    """

    angles: Angles
    base: float = _BASE
    pairing: str = "half"
    x_first: bool = False
    by_turns: bool = False
    first: int = 0
    note: str = ""

    def at(
        self, base: float | None, head_dim: int, grid: Grid
    ) -> Float32[np.ndarray, "1 patches half_head_dim"]:
        """Return the angles of every patch, in radians.

        Raises:
            AmbiguousCheckpoint: the grid has frames, and the rule is of rows and columns alone.
        """
        if len(grid) > _FLAT and self.angles not in _OF_FRAMES:
            raise AmbiguousCheckpoint(
                f"{'×'.join(map(str, grid))} has frames, and this model turns queries and keys by "
                "row and column of an image alone. Pass --grid-size HxW."
            )
        made = self.angles(self, base or self.base, head_dim, grid)
        return np.asarray(made, np.float32)[None]


def rule_of(config: Mapping[str, Any]) -> RotaryRule | None:
    """Return the rule of a vision tower's configuration, by its type; `None` where none is known.

    A whole model's type is its tower's where the section names none.
    """
    return _RULES.get(_OF_VISION.sub("", str(config.get("model_type"))))


def axial_type(config: Mapping[str, Any]) -> str | None:
    """Return the type of a configuration that says that its model turns by axis."""
    said = config.get("rope_parameters")
    is_axial = isinstance(said, Mapping) and said.get("rope_type") == "axial"
    return str(config.get("model_type")) if is_axial else None


def video_grid(config: Mapping[str, Any]) -> Grid | None:
    """Return (T, H, W) of a model of clips, as V-JEPA 2's configuration gives it."""
    names = ("frames_per_clip", "tubelet_size", "crop_size", "patch_size")
    known = [side for side in map(config.get, names) if isinstance(side, int) and side > 0]
    if len(known) < len(names):
        return None
    frames, tube, image, patch = known
    return frames // tube, image // patch, image // patch


def _places(grid: Grid, first: int) -> list[np.ndarray]:
    """Return the number of every patch along each axis, (patches, 1) each."""
    return [axis.reshape(-1, 1) + first for axis in np.indices(grid)]


def _axial(rule: RotaryRule, base: float, head_dim: int, grid: Grid) -> np.ndarray:
    """A quarter of a head's channels turn by row and a quarter by column, at like frequencies.

    Every frame turns alike.
    """
    per_axis = head_dim // 2
    frequencies = base ** (-np.arange(0, per_axis, 2) / per_axis)
    axes = [place * frequencies for place in _places(grid, rule.first)[-2:]]
    axes = axes[::-1] if rule.x_first else axes
    if rule.by_turns:
        return np.stack(axes, axis=-1).reshape(len(axes[0]), -1)
    return np.concatenate(axes, axis=1)


def _alternating(rule: RotaryRule, base: float, head_dim: int, grid: Grid) -> np.ndarray:
    """Rows take every other frequency from the first on, columns the rest."""
    frequencies = base ** (-np.arange(0, head_dim, 2) / head_dim)
    rows, columns = _places(grid, rule.first)
    return np.concatenate([rows * frequencies[::2], columns * frequencies[1::2]], axis=1)


def _by_thirds(rule: RotaryRule, base: float, head_dim: int, grid: Grid) -> np.ndarray:
    """Frames, rows and columns turn a third of a head each; what is left over does not turn.

    An image is one frame.
    """
    per_axis = 2 * ((head_dim // 3) // 2)
    frequencies = base ** (-np.arange(0, per_axis, 2) / per_axis)
    whole = grid if len(grid) == len(("T", "H", "W")) else (1, *grid)
    angles = np.concatenate([p * frequencies for p in _places(whole, rule.first)], axis=1)
    return np.pad(angles, ((0, 0), (0, head_dim // 2 - angles.shape[1])))


def _centred(_rule: RotaryRule, base: float, head_dim: int, grid: Grid) -> np.ndarray:
    return centred_angles(base ** (4 * np.arange(head_dim // 4) / head_dim), grid)


def centred_angles(periods: np.ndarray, grid: Grid) -> np.ndarray:
    """Return 2π·coordinate/period, y before x; -1 … 1 over the centres of each axis's patches."""
    centres = (
        (place + 0.5) / side * 2 - 1 for place, side in zip(_places(grid, 0), grid, strict=True)
    )
    return np.concatenate([2 * np.pi * axis / periods for axis in centres], axis=1)


_FLAT: Final = 2  # axes of an image
_OF_FRAMES: Final = (_axial, _by_thirds)
_ROWS_FIRST: Final = RotaryRule(_axial)
_CENTRED: Final = RotaryRule(_centred, base=100.0)
_RULES: Final[dict[str, RotaryRule]] = {
    **dict.fromkeys(
        (
            *("qwen2_vl", "qwen2_5_vl", "qwen2_5_omni", "qwen3_vl", "qwen3_vl_moe"),
            *("qwen3_omni_moe", "qwen3_5", "qwen3_5_moe", "qwen4_exp", "cohere_compass"),
            *("ernie4_5_vl_moe", "exaone4_5", "glm4v", "glm4v_moe", "glm5_next", "glm_ocr"),
            *("paddleocr_vl", "video_llama_3", "dots3_note", "mlcd"),
        ),
        _ROWS_FIRST,
    ),
    "lfm3_vl": RotaryRule(_axial, base=1e6),
    "step3p5": RotaryRule(_axial, x_first=True),
    **dict.fromkeys(("muse_glimmer", "muse_spark"), RotaryRule(_axial, x_first=True, first=1)),
    "kimi_k25": RotaryRule(_axial, x_first=True, by_turns=True),
    "gemma4": RotaryRule(_axial, 100.0, "half of each axis", x_first=True),
    "inkling2": RotaryRule(_axial, pairing="interleaved", x_first=True, first=1),
    "llama4": RotaryRule(_axial, pairing="interleaved", x_first=True, first=1),
    "pixtral": RotaryRule(_alternating),
    **dict.fromkeys(("dinov3", "dinov3_vit", "eomt_dinov3", "sapiens2"), _CENTRED),
    "minimax_m3_vl": RotaryRule(_by_thirds, note="channels beyond three thirds do not turn"),
    "vjepa2": RotaryRule(
        _by_thirds,
        pairing="interleaved",
        note="channels beyond three thirds do not turn; the two channels of a pair turn by angles "
        "of different frequencies, as V-JEPA 2's code has it: the angles are those that it makes",
    ),
}
"""By the type of a model, without the word for its vision tower."""
