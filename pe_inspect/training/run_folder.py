"""The folder that a run leaves behind; every file in it is written whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

import torch

from pe_inspect.checkpoint_files import WEIGHTS
from pe_inspect.errors import OutputError, refused_as
from pe_inspect.files import MANIFEST, OutputFolder, write_atomically
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.models.vit import VisionTransformer
from pe_inspect.training.resume import RESUME

__all__ = ["BEST", "CONFIG", "CURVES", "METRICS", "DrawCurves", "RunFolder", "stored_weights"]

BEST: Final = "best.safetensors"
CURVES: Final = "curves.png"
CONFIG: Final = "config.json"
METRICS: Final = "metrics.csv"
SNAPSHOTS: Final = "evolution"
BESIDE: Final = ".first-files"
BEFORE: Final = "before"  # whole folders of the finished runs that were extended

DrawCurves = Callable[[Sequence[Mapping[str, Any]], IO[bytes]], object]


@dataclass
class RunFolder:
    """Where one run writes; the files of an earlier run are replaced once this one has its own.

    Attributes:
        path: the folder.
        force: overwrite files that pe-inspect did not make, too.
        rows: the metrics so far, one mapping an epoch.
        is_begun: whether this run's files have taken the place of an earlier run's.
        owns_resume: whether the resume file there is this run's, although it is not begun.

    Raises:
        OutputError: the folder cannot be written, or a file would be overwritten that is not ours.
    """

    path: Path
    force: bool = False
    rows: list[Mapping[str, Any]] = field(default_factory=list)
    is_begun: bool = False
    owns_resume: bool = False

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

    def save_curves(self, draw: DrawCurves) -> Path:
        """Write `curves.png`, which `draw` makes of the rows of `metrics.csv`."""
        return self._folder.write(CURVES, lambda file: draw(self.rows, file))

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

    def go_on(self, rows: list[Mapping[str, Any]]) -> None:
        """Take up the history of a finished run, with whatever it left."""
        self.rows, self.is_begun = list(rows), True

    def set_aside(self, epoch: int) -> Path:
        """Keep what a finished run left, before it is gone on from: a folder of its own."""
        kept = self.path / BEFORE / f"epoch_{epoch:03d}"
        for name in (WEIGHTS, CONFIG, METRICS):
            if (self.path / name).exists():
                content = (self.path / name).read_bytes()
                write_atomically(kept / name, partial(_write, content))
        return kept

    def _save_metrics(self) -> Path:
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(self.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        content = text.getvalue().encode()
        return self._folder.write(METRICS, lambda file: file.write(content))

    def save_snapshot(self, pe: PositionEmbedding, epoch: int) -> Path:
        """Write `evolution/epoch_003.pe.safetensors`."""
        return pe.save(self._folder.path / SNAPSHOTS / _snapshot_name(epoch))

    @property
    def holds_an_earlier_run(self) -> bool:
        """Whether another run's checkpoint lies here, untouched so far."""
        is_there = (self.path / WEIGHTS).exists() or self.holds_an_interrupted_run
        return not self.is_begun and is_there

    @property
    def holds_an_interrupted_run(self) -> bool:
        """Whether another run could go on from here."""
        return not (self.is_begun or self.owns_resume) and (self.path / RESUME).exists()

    @contextmanager
    def begun(self) -> Iterator[None]:
        """Write a run's first files, which take the place of an earlier run's all together.

        They are written beside it: where one of them cannot be, the earlier run is as it was.
        Two runs are not one history, so that whatever else the earlier one left is removed.
        """
        beside, place = self.path / BESIDE, self._folder
        shutil.rmtree(beside, ignore_errors=True)  # of a run that was killed
        self._folder, self.is_begun = OutputFolder(beside), True
        try:
            yield
            self._take_place(beside, place)
        except BaseException:
            self.is_begun = False
            raise
        finally:
            self._folder = place
            shutil.rmtree(beside, ignore_errors=True)

    def _take_place(self, beside: Path, place: OutputFolder) -> None:
        """Move the files that lie beside an earlier run's onto them, and remove its others."""
        files = sorted(path.relative_to(beside) for path in beside.rglob("*") if path.is_file())
        files.remove(Path(MANIFEST))
        own = [file.name for file in files if file.name == str(file)]
        place.claim(own)
        for name in own:
            place.remember(name)
        with refused_as(OutputError):
            self._move(files, beside)
            self._remove_all_but(files)

    def _move(self, files: Iterable[Path], beside: Path) -> None:
        """By name, the resume file is the last: until then the earlier run can be gone on with."""
        for folder in {(self.path / file).parent for file in files}:
            folder.mkdir(exist_ok=True)
        for file in files:
            (beside / file).replace(self.path / file)

    def _remove_all_but(self, files: Iterable[Path]) -> None:
        snapshots = (self.path / SNAPSHOTS).glob("epoch_*.pe.safetensors")
        left = {self.path / name for name in (METRICS, CURVES, BEST, RESUME)}.union(snapshots)
        for old in left.difference(self.path / file for file in files):
            old.unlink(missing_ok=True)
        shutil.rmtree(self.path / BEFORE, ignore_errors=True)

    def end(self) -> None:
        """Remove what only a run that is not over needs."""
        (self._folder.path / RESUME).unlink(missing_ok=True)


def _write(content: bytes, file: IO[bytes]) -> None:
    file.write(content)


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
