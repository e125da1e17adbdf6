"""The folder that a run leaves behind; every file in it is written whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch

from pe_inspect.errors import OutputError
from pe_inspect.files import OutputFolder
from pe_inspect.models.vit import VisionTransformer
from pe_inspect.position_embedding import PositionEmbedding
from pe_inspect.training.resume import RESUME

__all__ = ["BEST", "CONFIG", "CURVES", "METRICS", "WEIGHTS", "RunFolder", "stored_weights"]

WEIGHTS: Final = "model.safetensors"
BEST: Final = "best.safetensors"
CURVES: Final = "curves.png"
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

    def claim(self) -> None:
        """Stop, before any computing, if the folder cannot take a run's files."""
        self._folder.claim((WEIGHTS, BEST, CONFIG, METRICS, CURVES, RESUME))

    def demand_room(self, size: int) -> None:
        """Stop, before any computing, if the disk has less than `size` bytes left.

        Raises:
            OutputError: it has.
        """
        there = next(p for p in (self.path, *self.path.absolute().parents) if p.exists())
        free = shutil.disk_usage(there).free
        if free < size:
            raise OutputError(
                f"The disk of {self.path} has {_megabytes(free)} left; this run needs about "
                f"{_megabytes(size)}. Make room, or choose another --out."
            )

    def save_weights(self, weights: Mapping[str, torch.Tensor], name: str = WEIGHTS) -> Path:
        """Write `model.safetensors`, or weights of another name."""
        from safetensors.torch import save

        content = save(dict(weights), metadata={"format": "pt"})
        return self._folder.write(name, lambda file: file.write(content))

    def save_resume(self, content: bytes) -> Path:
        """Write `resume.safetensors`."""
        return self._folder.write(RESUME, lambda file: file.write(content))

    def save_curves(self) -> Path:
        """Draw `metrics.csv` as `curves.png`."""
        from pe_inspect.figures._saving import save
        from pe_inspect.figures._style import DPI
        from pe_inspect.figures.training import draw

        figure = draw(self.rows)["curves"]
        return self._folder.write(CURVES, lambda file: save(figure, file, format="png", dpi=DPI))

    def save_config(self, config: Mapping[str, Any]) -> Path:
        """Write `config.json`."""
        content = json.dumps(config, indent=1, ensure_ascii=False).encode()
        return self._folder.write(CONFIG, lambda file: file.write(content + b"\n"))

    def add_metrics(self, row: Mapping[str, Any]) -> Path:
        """Append a row to `metrics.csv`."""
        self.rows.append(row)
        return self._save_metrics()

    def restore_metrics(self, rows: list[Mapping[str, Any]]) -> None:
        """Take up a history that was interrupted: later rows and snapshots are not part of it."""
        self.rows, self.is_begun = list(rows), True
        last = int(rows[-1]["epoch"]) if rows else 0
        for path in (self.path / SNAPSHOTS).glob("epoch_*.pe.safetensors"):
            if path.name > _snapshot_name(last):
                path.unlink()
        if rows:
            self._save_metrics()
        else:
            (self.path / METRICS).unlink(missing_ok=True)

    def _save_metrics(self) -> Path:
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(self.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        content = text.getvalue().encode()
        return self._folder.write(METRICS, lambda file: file.write(content))

    def save_snapshot(self, pe: PositionEmbedding, epoch: int) -> Path:
        """Write `evolution/epoch_003.pe.safetensors`."""
        return pe.save(self.path / SNAPSHOTS / _snapshot_name(epoch))

    @property
    def holds_an_earlier_run(self) -> bool:
        """Whether another run's checkpoint lies here, untouched so far."""
        return not self.is_begun and (self.path / WEIGHTS).exists()

    def begin(self) -> None:
        """Remove the metrics and snapshots of an earlier run: two runs are not one history."""
        self.is_begun = True
        for name in (METRICS, CURVES, BEST, RESUME):
            (self.path / name).unlink(missing_ok=True)
        for old in (self.path / SNAPSHOTS).glob("epoch_*.pe.safetensors"):
            old.unlink()

    def end(self) -> None:
        """Remove what only a run that is not over needs."""
        (self.path / RESUME).unlink(missing_ok=True)


def _snapshot_name(epoch: int) -> str:
    return f"epoch_{epoch:03d}.pe.safetensors"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def stored_weights(model: VisionTransformer, stored_as: str) -> dict[str, torch.Tensor]:
    """Return the model's state dict on the CPU, in the type that is saved."""
    dtype = {"float32": torch.float32, "float16": torch.float16}[stored_as]
    return {
        key: value.detach().to("cpu", dtype).contiguous()
        for key, value in model.state_dict().items()
    }
