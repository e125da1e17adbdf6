"""Several processes under torchrun train what one process trains, and only the first one speaks."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pe_inspect.errors import UsageError
from pe_inspect.training.hardware import find_device
from pe_inspect.training.launch import ProcessPlace, launched
from pe_inspect.training.world import joined_world

PACKAGE = Path(__file__).parents[2]
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2")
RECIPE = """
data = "imagefolder:halves"
epochs = 2
batch_size = 8
precision = "float32"
shift = 1
flip = true
ema_decay = 0.5
accumulate = 2
mixup = 0.8
[model]
img_size = [6, 8]
patch_size = [2, 2]
num_classes = 2
embed_dim = 16
depth = 2
num_heads = 2
mlp_ratio = 2.0
scheme = "peg"
peg_position = 1
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "shared.toml"
    path.write_text(RECIPE)
    return path


def started(launcher: tuple[str, ...], *words: str) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE), "OMP_NUM_THREADS": "1"}
    command = [*launcher, "-m", "pe_inspect", "train", *words, "--device", "cpu"]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.subprocess
def test_two_processes_train_what_one_trains(recipe: Path, pictures: Path, tmp_path: Path) -> None:
    words = (str(recipe), "--data", str(pictures), "--out")
    runs = [
        started((sys.executable,), *words, str(tmp_path / "one")),
        started((*TORCHRUN, "--master-port", "29611"), *words, str(tmp_path / "two")),
    ]
    said = [run.communicate(timeout=120) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    out, err = said[1]
    assert out.count("Wrote ") == 5
    assert err.count("Training shared: ") == 1
    assert err.count("epoch 1/2") == 1
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    for key, tensor in one.items():
        torch.testing.assert_close(two[key], tensor, rtol=1e-4, atol=1e-5)
    for alone, shared in zip(*(rows_of(tmp_path / name) for name in ("one", "two"))):
        for column in ("train_loss", "test_loss", "test_accuracy"):
            assert float(shared[column]) == pytest.approx(float(alone[column]), abs=2e-5)
    config = json.loads((tmp_path / "two" / "config.json").read_text())
    assert config["processes"] == 2


@pytest.mark.subprocess
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="asks Linux for children")
def test_a_signal_to_one_process_ends_all_and_the_run_can_go_on(
    recipe: Path, pictures: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "stopped"
    words = (str(recipe), "--data", str(pictures), "--out", str(folder), "--set", "epochs=100000")
    with started((*TORCHRUN, "--master-port", "29612"), *words) as run:
        try:
            deadline = time.monotonic() + 120
            while not (folder / "resume.safetensors").exists() and time.monotonic() < deadline:
                time.sleep(0.1)
            children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
            os.kill(int(children[-1]), signal.SIGTERM)
            _, err = run.communicate(timeout=60)
        finally:
            run.terminate()
    assert run.returncode != 0
    assert err.count("Interrupted. Stopped in epoch") == 1
    assert "Go on with: the same torchrun command with --resume" in err
    assert json.loads((folder / "config.json").read_text())["status"].startswith("interrupted")


def test_the_launchers_words_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    assert launched() == ProcessPlace()
    for name, word in (("RANK", "3"), ("WORLD_SIZE", "4"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, word)
    assert launched() == ProcessPlace(3, 4, 1)
    assert not launched().is_first
    monkeypatch.setenv("RANK", "three")
    with pytest.raises(UsageError, match=r"RANK=three, WORLD_SIZE=4.*what torchrun sets: numbers"):
        launched()


@pytest.mark.parametrize(
    ("device", "local", "said"),
    [
        ("cuda:1", 0, "is one GPU, and torchrun started 4 processes.*Pass --device cuda"),
        ("cuda", 3, "process 4 here, and there are 2 GPUs; pass --nproc-per-node 2"),
    ],
)
def test_every_process_takes_a_gpu_of_its_own(
    monkeypatch: pytest.MonkeyPatch, device: str, local: int, said: str
) -> None:
    monkeypatch.setenv("RANK", str(local))
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_RANK", str(local))
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("pe_inspect.training.world.find_device", lambda name: torch.device(name))
    with pytest.raises(UsageError, match=said), joined_world(device):
        pass


def test_one_process_alone_is_a_world() -> None:
    with joined_world("cpu") as world:
        assert (world.rank, world.size, world.device) == (0, 1, find_device("cpu"))
        assert world.agree(True)
        assert not world.agree(False)
        assert world.mean(torch.tensor([2.0])).tolist() == [2.0]
