"""Which device, which precision, and what to call the machine in `config.json`."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, Final

import torch
from torch import nn

from pe_inspect.errors import UsageError
from pe_inspect.models.vit import VisionTransformer
from pe_inspect.version import __version__

__all__ = [
    "compiled", "describe_machine", "exact_algorithms", "find_device", "find_precision",
    "suit_attention", "suits_channels_last", "versions",
]  # fmt: skip

_CXX: Final = ({"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++"),)
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


def suits_channels_last(asked: str, device: torch.device) -> bool:
    """Whether images go channels last; `"auto"` is on GPUs, whose convolutions ask for it.

    A ViT has one convolution: on two CPU cores neither order was measurably faster.
    """
    return asked == "on" or (asked == "auto" and device.type == "cuda")


def compiled(module: nn.Module, asked: str, device: torch.device, *, graphed: bool) -> nn.Module:
    """Return the module through `torch.compile`, or as it is.

    `"auto"` compiles on GPUs, where Triton and a C compiler are there. On a CPU it rarely pays:
    s-chh's model (bfloat16, one thread of a busy machine, torch 2.15) took 43 and 86 s to compile;
    its steps were then 1.2 times as fast without dropout, and 0.7 times as fast with it.

    Args:
        module: called with batches of one shape.
        asked: `"auto"`, `"on"` or `"off"`.
        device: where the module computes.
        graphed: replay CUDA graphs: launching is most of a small model's step.

    Raises:
        UsageError: `"on"`, and what the compiler needs is not here.
    """
    on_gpu = device.type == "cuda"
    lacks = _lacks_to_compile(on_gpu)
    if asked == "off" or (asked == "auto" and (lacks or not on_gpu)):
        return module
    if lacks:
        raise UsageError(
            f"compile is 'on', and torch.compile needs {lacks}: not found here. Install it, or "
            "pass --set compile=auto."
        )
    mode = "reduce-overhead" if graphed and on_gpu else "default"
    result: Any = torch.compile(module, mode=mode, dynamic=False)
    return result  # type: ignore[no-any-return]


def _lacks_to_compile(on_gpu: bool) -> str:
    """Return what `torch.compile` would call and not find, empty where it finds everything."""
    if on_gpu and find_spec("triton") is None:
        return "the package triton"
    variable, language, usual = ("CC", "C", ("gcc", "clang")) if on_gpu else ("CXX", "C++", _CXX)
    chosen = os.environ.get(variable)
    names = (chosen,) if chosen else usual
    if any(shutil.which(name) for name in names):
        return ""
    return f"a {language} compiler ({' or '.join(names)}; {variable} names another)"


@contextmanager
def exact_algorithms(wanted: bool) -> Iterator[None]:
    """Let kernels give the same bytes in every run, where `wanted`; a CPU's do so anyway.

    Source: PyTorch's notes on reproducibility.
    """
    if not wanted:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]


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
