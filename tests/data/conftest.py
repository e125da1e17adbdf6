"""Small datasets in the layouts of the real ones."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def make_cifar10() -> Callable[[Path], None]:
    """Write CIFAR-10's files with four images each."""

    def make(root: Path) -> None:
        random = np.random.default_rng(0)
        folder = root / "cifar-10-batches-py"
        folder.mkdir(parents=True)
        for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
            pixels = random.integers(0, 256, (4, 3072), dtype=np.uint8)
            content = {"data": pixels, "labels": random.integers(0, 10, 4).tolist()}
            (folder / name).write_bytes(pickle.dumps(content, protocol=2))
        names = pickle.dumps({"label_names": list("abcdefghij")}, protocol=2)
        (folder / "batches.meta").write_bytes(names)

    return make
