"""The folder that a run leaves behind; every file in it is written whole or not at all."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch

from pe_inspect.files import OutputFolder
from pe_inspect.models.vit import VisionTransformer
from pe_inspect.position_embedding import PositionEmbedding

__all__ = ["CONFIG", "METRICS", "WEIGHTS", "RunFolder", "stored_weights"]

WEIGHTS: Final = "model.safetensors"
CONFIG: Final = "config.json"
METRICS: Final = "metrics.csv"
SNAPSHOTS: Final = "evolution"


@dataclass
class RunFolder:
    """Where one run writes; the files of an earlier run into it are replaced.

    Attributes:
        path: the folder.
        force: overwrite files that pe-inspect did not make, too.
        rows: the metrics so far, one mapping an epoch.
        is_begun: whether an earlier run's history was cleared for this one.

    Raises:
        OutputError: the folder cannot be written, or a file would be overwritten that is not ours.
    """

    path: Path
    force: bool = False
    rows: list[Mapping[str, Any]] = field(default_factory=list)
    is_begun: bool = False

    def __post_init__(self) -> None:
        self._folder = OutputFolder(self.path, force=self.force)
        self._folder.claim((WEIGHTS, CONFIG, METRICS))

    def save_weights(self, weights: Mapping[str, torch.Tensor]) -> Path:
        """Write `model.safetensors`."""
        from safetensors.torch import save

        content = save(dict(weights), metadata={"format": "pt"})
        return self._folder.write(WEIGHTS, lambda file: file.write(content))

    def save_config(self, config: Mapping[str, Any]) -> Path:
        """Write `config.json`."""
        content = json.dumps(config, indent=1, ensure_ascii=False).encode()
        return self._folder.write(CONFIG, lambda file: file.write(content + b"\n"))

    def add_metrics(self, row: Mapping[str, Any]) -> Path:
        """Append a row to `metrics.csv`."""
        self.rows.append(row)
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(row), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        content = text.getvalue().encode()
        return self._folder.write(METRICS, lambda file: file.write(content))

    def save_snapshot(self, pe: PositionEmbedding, epoch: int) -> Path:
        """Write `evolution/epoch_003.pe.safetensors`."""
        return pe.save(self.path / SNAPSHOTS / f"epoch_{epoch:03d}.pe.safetensors")

    @property
    def holds_an_earlier_run(self) -> bool:
        """Whether another run's checkpoint lies here, untouched so far."""
        return not self.is_begun and (self.path / WEIGHTS).exists()

    def begin(self) -> None:
        """Remove the metrics and snapshots of an earlier run: two runs are not one history."""
        self.is_begun = True
        (self.path / METRICS).unlink(missing_ok=True)
        for old in (self.path / SNAPSHOTS).glob("epoch_*.pe.safetensors"):
            old.unlink()


def stored_weights(model: VisionTransformer, stored_as: str) -> dict[str, torch.Tensor]:
    """Return the model's state dict on the CPU, in the type that is saved."""
    dtype = {"float32": torch.float32, "float16": torch.float16}[stored_as]
    return {
        key: value.detach().to("cpu", dtype).contiguous()
        for key, value in model.state_dict().items()
    }
