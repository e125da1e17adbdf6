"""State dicts and files that several tests of loading share."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch


@pytest.fixture
def vit() -> dict[str, torch.Tensor]:
    """A few tensors under timm's names: a 3×4 grid, one prefix token, two blocks."""
    rng = torch.Generator().manual_seed(7)

    def make(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=rng)

    return {
        "cls_token": make(1, 1, 8),
        "pos_embed": make(1, 13, 8),
        "patch_embed.proj.weight": make(8, 3, 4, 4),
        "blocks.0.norm1.weight": make(8),
        "blocks.0.norm1.bias": make(8),
        "blocks.1.norm1.weight": make(8),
        "blocks.1.norm1.bias": make(8),
        "norm.weight": make(8),
        "head.weight": make(5, 8),
    }


@pytest.fixture
def saved(tmp_path: Path) -> Any:
    """Return a function that saves an object with torch.save and returns the path."""

    def save(value: Any, name: str = "ckpt.pth", **options: Any) -> Path:
        path = tmp_path / name
        torch.save(value, path, **options)
        return path

    return save


@pytest.fixture
def archive(tmp_path: Path) -> Any:
    """Return a function that writes a torch archive around a hand-made pickle."""

    def write(pickled: bytes, storages: dict[str, bytes] | None = None, **members: bytes) -> Path:
        path = tmp_path / "hand_made.pth"
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("archive/data.pkl", pickled)
            for name, content in members.items():
                file.writestr(f"archive/{name}", content)
            for key, content in (storages or {}).items():
                file.writestr(f"archive/data/{key}", content)
            file.writestr("archive/version", b"3\n")
        return path

    return write


@pytest.fixture
def equal() -> Any:
    """Return a function that compares a read tensor with torch's own values, exactly."""

    def compare(read: np.ndarray, expected: torch.Tensor) -> bool:
        is_narrow = expected.is_floating_point() and expected.element_size() < 4
        wide = expected.float() if is_narrow else expected
        values = wide.detach().resolve_conj().resolve_neg().numpy()
        same_kind = read.dtype == values.dtype and read.shape == values.shape
        return same_kind and np.array_equal(read, values, equal_nan=read.dtype.kind in "fc")

    return compare


@pytest.fixture
def npz_bytes() -> Any:
    """Return a function that makes the bytes of an .npz file."""

    def make(compressed: bool = False, **arrays: np.ndarray) -> bytes:
        buffer = io.BytesIO()
        (np.savez_compressed if compressed else np.savez)(buffer, **arrays)
        return buffer.getvalue()

    return make
