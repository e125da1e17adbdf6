"""Fixtures of the command line: run it in this process, on small checkpoints."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from pe_inspect.commands.shell.program import program


@dataclass(frozen=True)
class Outcome:
    """What one command line did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out, parse_constant=_refuse)


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


@pytest.fixture
def run(capsys, monkeypatch) -> Callable[..., Outcome]:
    """Run `pe-inspect ARGUMENTS` as a process would be, with its code and its two streams."""
    for name in ("GITHUB_ACTIONS", "FORCE_COLOR", "PY_COLORS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "100")

    def call(*arguments: object) -> Outcome:
        words = [str(argument) for argument in arguments]
        monkeypatch.setattr("sys.argv", ["pe-inspect", *words])
        with pytest.raises(SystemExit) as stop:
            program()(args=words)
        captured = capsys.readouterr()
        return Outcome(int(stop.value.code or 0), captured.out, captured.err)

    return call


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder, which is the working folder of the test."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def vit(rows=3, columns=4, width=8, depth=2, lape=True) -> dict[str, np.ndarray]:
    """The state dict of a small ViT with a learned table, by timm's names."""
    random = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 1 + rows * columns, width),
        "patch_embed.proj.weight": (width, 3, 16, 16),
    }
    for block in range(depth):
        for name in ("norm1", "norm2", *(["pe_norm"] if lape else [])):
            shapes[f"blocks.{block}.{name}.weight"] = (width,)
            shapes[f"blocks.{block}.{name}.bias"] = (width,)
        shapes[f"blocks.{block}.attn.qkv.weight"] = (3 * width, width)
    shapes.update({"norm.weight": (width,), "norm.bias": (width,), "head.weight": (5, width)})
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture
def save_vit(here):
    """Save a small ViT under a name in the working folder."""

    def save(name: str, **shape: Any) -> Path:
        save_file(vit(**shape), here / name)
        return here / name

    return save


@pytest.fixture
def checkpoint(save_vit):
    """`tiny.safetensors`: LaPE, two blocks, 3×4 patches, which have no square reading."""
    return save_vit("tiny.safetensors")


@pytest.fixture
def similar(checkpoint):
    """The words of one question's command line, where all of them go the same way."""
    return ["similarity", checkpoint, "--grid-size", "3x4", "--dpi", 20]


@pytest.fixture
def two_schemes(here):
    """`two.safetensors`: a learned table at the input and LaPE's relative bias in the blocks."""
    tensors = vit(rows=3, columns=3, lape=False)
    random = np.random.default_rng(1)
    for block in range(2):
        table = random.normal(size=(5 * 5, 2)).astype(np.float32)
        tensors[f"blocks.{block}.attn.relative_position_bias_table"] = table
    save_file(tensors, here / "two.safetensors")
    return "two.safetensors"
