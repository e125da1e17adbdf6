"""Rotary conventions: what the tensors show against what the config says.

Two conventions turn the same angles: pairs of neighbouring channels ("interleaved"), or channel k
with channel k + d/2 ("half"). Weights trained with one are nonsense in the other, and nothing
fails. Source: huggingface/pytorch-image-models PR 2692, where a DINOv3 in NaFlexViT silently
became axial and interleaved.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pe_inspect.diagnosis.checks import on_file
from pe_inspect.diagnosis.held_tables import trunk_of
from pe_inspect.families.reading.arch import looks_like_dinov3
from pe_inspect.finding import Finding
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["rotary_convention", "rotary_temperature"]

TEMPERATURE_TOLERANCE: Final = 0.1  # relative; bfloat16 periods put θ of 100 off by 5 %
_MIXED: Final = ("rope.freqs", "freqs")
_SINES: Final = "rope.freqs_sin"


@dataclass(frozen=True)
class _Shown:
    """What the tensors show: the sort of rotation, the pairing, and which of them shows it."""

    sort: str
    half: bool | None
    by: str


@on_file("rotary-convention")
def rotary_convention(checkpoint: Checkpoint) -> Iterator[Finding]:
    """A config whose rotary embedding is not the one that the tensors show."""
    said, shown = _config_says(checkpoint), _tensors_show(checkpoint)
    if not said or shown is None:
        if said.get("rope_type") == "mixed":
            yield _without_frequencies(checkpoint)
        return
    wrong: list[tuple[str, Any, Any]] = []
    if (sort := said.get("rope_type")) is not None and sort != shown.sort:
        wrong.append(("rope_type", sort, shown.sort))
    half = said.get("rope_rotate_half", said.get("rotate_half"))
    if half is not None and shown.half is not None and bool(half) != shown.half:
        wrong.append(("rope_rotate_half", half, shown.half))
    if wrong:
        yield _contradiction(shown, wrong)


def _config_says(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return what a config.json, or arguments in the file, say of the rotation."""
    found: dict[str, Any] = {}
    for settings in (checkpoint.metadata.get("args"), checkpoint.metadata.get("config")):
        if isinstance(settings, Mapping):
            found |= _rotation_settings(settings)
    if found.get("rope_mixed_mode"):
        found.setdefault("rope_type", "mixed")
    return found


def _rotation_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    names = ("rope_type", "rope_rotate_half", "rotate_half", "rope_mixed_mode")
    found = {name: settings[name] for name in names if settings.get(name) is not None}
    for inner in settings.values():
        if isinstance(inner, Mapping):
            found = {**_rotation_settings(inner), **found}
    return found


def _tensors_show(checkpoint: Checkpoint) -> _Shown | None:
    trunk = trunk_of(checkpoint)
    names = trunk.names
    if "rope_embed.periods" in names:
        return _Shown("dinov3", True, "rope_embed.periods")
    mixed = next((name for name in _MIXED if name in names), None)
    if mixed is not None and len(checkpoint.shape(names[mixed])) in (3, 4):
        return _Shown("mixed", False, mixed)
    if _SINES in names:
        return _Shown("axial", _pairs_halves(checkpoint, names[_SINES]), _SINES)
    if looks_like_dinov3(trunk):
        return _Shown("dinov3", True, "registers, layer scale and no table, as only DINOv3 has")
    return None


def _pairs_halves(checkpoint: Checkpoint, key: str) -> bool | None:
    """Whether a table of sines holds each angle twice at half its width, or side by side."""
    sines = np.asarray(checkpoint.tensor(key), dtype=np.float32)
    width = sines.shape[-1]
    if width % 2:
        return None
    halves = np.array_equal(sines[..., : width // 2], sines[..., width // 2 :])
    pairs = np.array_equal(sines[..., ::2], sines[..., 1::2])
    return halves if halves != pairs else None


def _contradiction(shown: _Shown, wrong: list[tuple[str, Any, Any]]) -> Finding:
    says = " and ".join(f"{name}={said!r}" for name, said, _ in wrong)
    are = ", ".join(f"{name}={is_!r}" for name, _, is_ in wrong)
    return Finding(
        "rotary-convention",
        "config.json",
        f"The config says {says}; the tensors are those of {are} (shown by {shown.by}).",
        "A model built from this config turns q and k in another way than it was trained with: it "
        "loads without a word and its features are degraded.",
        f"Set {are} in the config (timm's model_args), or build the model by its own name: "
        "timm:vit_small_patch16_dinov3 and not a generic NaFlexViT.",
        {name: {"config": said, "tensors": is_} for name, said, is_ in wrong},
        "error",
    )


def _without_frequencies(checkpoint: Checkpoint) -> Finding:
    return Finding(
        "rotary-convention",
        "config.json",
        f"The config says rope_type='mixed', whose frequencies are learned, and "
        f"{checkpoint.source} holds no rope.freqs.",
        "The model would turn q and k by frequencies that were never trained.",
        "Load a file that holds rope.freqs (the original repository calls it freqs), or build the "
        "model with rope_type='axial' if that is what was trained.",
        {"rope_type": "mixed", "rope.freqs": False},
        "error",
    )


@on_file("rotary-temperature", codes=("rotary-convention",))
def rotary_temperature(checkpoint: Checkpoint) -> Iterator[Finding]:
    """DINOv3's stored periods against the base that the config says."""
    key, said = trunk_of(checkpoint).names.get("rope_embed.periods"), checkpoint.hints.rope_theta
    if key is None or said is None:
        return
    periods = np.asarray(checkpoint.tensor(key), dtype=np.float64).ravel()
    if len(periods) < 2 or not (periods > 0).all():
        return
    steps = np.arange(len(periods)) / len(periods)
    base = float(np.exp(np.polyfit(steps, np.log(periods), 1)[0]))
    if abs(base / said - 1) > TEMPERATURE_TOLERANCE:
        yield Finding(
            "rotary-convention",
            checkpoint.stored_key(key),
            f"{checkpoint.stored_key(key)} runs over a base of {base:.0f}; the config says "
            f"rope_theta={said:g}.",
            "A model that computes its periods from the config turns q and k by other angles than "
            "it was trained with.",
            f"Set rope_theta to {base:.0f} in the config.",
            {"base": base, "rope_theta": said, "tolerance": TEMPERATURE_TOLERANCE},
            "error",
        )
