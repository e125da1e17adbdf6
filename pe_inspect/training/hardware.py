"""Which device, which precision, and what to call the machine in `config.json`."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from typing import Final

import torch

from pe_inspect._version import __version__
from pe_inspect.errors import UsageError
from pe_inspect.models.vit import VisionTransformer

__all__ = ["describe_machine", "find_device", "find_precision", "suit_attention", "versions"]

_DTYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def find_device(name: str) -> torch.device:
    """Return the device of that name; `"auto"` is the first GPU, else the CPU.

    Raises:
        UsageError: there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(
            f"device {name!r} cannot be used here; {_what_is_there()}. Pass --device auto."
        ) from error


def _what_is_there() -> str:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return f"there are the CPU and {count} CUDA device{'' if count == 1 else 's'}"


def find_precision(name: str, device: torch.device) -> torch.dtype:
    """Return the type of the matrix products; `"auto"` is bfloat16 where the hardware has it."""
    if name != "auto":
        return _DTYPES[name]
    return torch.bfloat16 if _multiplies_bfloat16(device) else torch.float32


def _multiplies_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    asks = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return device.type == "cpu" and asks is not None and bool(asks())


def suit_attention(model: VisionTransformer, device: torch.device, dtype: torch.dtype) -> None:
    """Write attention out where the fused kernel is the slower one: bfloat16 on a CPU.

    Its backward pass took 63 % of a training step there (65 tokens, torch 2.15).
    """
    fused = not (device.type == "cpu" and dtype == torch.bfloat16)
    for block in model.each_block():
        setattr(block.attn, "fused_attn", fused)  # noqa: B010  # final, for TorchScript only


def describe_machine(device: torch.device) -> str:
    """Return e.g. `"2 CPU cores"`, `"1 of 2 CPU cores"`, or the GPU's own name."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    cores, threads = os.cpu_count() or 1, torch.get_num_threads()
    return f"{threads} of {cores} CPU cores" if threads < cores else f"{cores} CPU cores"


def versions() -> dict[str, str]:
    """Return what the run was made with."""
    libraries = {name: version(name) for name in ("torch", "timm", "numpy", "safetensors")}
    return {
        "pe_inspect": __version__,
        "python": platform.python_version(),
        **libraries,
    }
