"""Training: our loop beside a plain one on the same model, images a second.

The plain loop is the usual script: a DataLoader with workers that crops and flips one PIL image
after the other, float32, AdamW as it comes, and the loss fetched every step. The model is s-chh's,
with dropout of attention weights besides: D = 128, 6 layers, 4 heads, MLP ×2, 32×32 images in 4×4
patches, a learned table, batches of 128.
Both loops crop and flip. The images are noise: no speed here hangs on what they show.

Also prints what share of the device's own bfloat16 matrix rate ours reaches, and where its time
goes. Works on a GPU unchanged.

    python benchmarks/training.py [--device auto] [--steps N] [--rounds 3] [--workers N]
        [--save-json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision import transforms

from pe_inspect.data.dataset import Dataset, Split
from pe_inspect.models.config import ViTConfig
from pe_inspect.models.vit import VisionTransformer
from pe_inspect.training.hardware import describe_machine, find_device
from pe_inspect.training.loop import Loop
from pe_inspect.training.recipe import Recipe

BATCH = 128
COUNT = 20_000  # images: a hundred and fifty steps
STEPS = {"cpu": 30, "cuda": 150}
WARM = 5  # steps before any is counted
TARGETS = {"cpu": 2.0, "cuda": 10.0}
SIDE = {"cpu": 1024, "cuda": 8192}  # of the matrices that the rate is measured with

MODEL = ViTConfig(
    (32, 32), (4, 4), num_classes=10, embed_dim=128, depth=6, num_heads=4, mlp_ratio=2.0,
    no_embed_class=True, pos_drop_rate=0.1, proj_drop_rate=0.1, attn_drop_rate=0.1,
)  # fmt: skip
RECIPE = Recipe(
    name="benchmark", data="noise", model=MODEL, batch_size=BATCH, lr=5e-4, weight_decay=1e-3,
    label_smoothing=0.0, clip_grad=0.0, shift=4, flip=True,
)  # fmt: skip


class Pictures(TorchDataset):
    """One PIL image at a time, cropped and flipped."""

    def __init__(self, split: Split) -> None:
        self.images, self.labels = split.images.transpose(0, 2, 3, 1), split.labels
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize((0.5,) * 3, (0.29,) * 3),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


def noise() -> Dataset:
    """CIFAR's shapes."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (COUNT, 3, 32, 32), dtype=np.uint8)
    split = Split(images, random.integers(0, 10, COUNT))
    return Dataset("noise", "noise", split, split, tuple("abcdefghij"))


def plain_steps(dataset: Dataset, device: torch.device, workers: int) -> Iterator[None]:
    """The usual loop."""
    torch.manual_seed(0)
    model = VisionTransformer(MODEL).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=1e-3)
    loader = DataLoader(
        Pictures(dataset.train), BATCH, shuffle=True, num_workers=workers, drop_last=True
    )
    for images, labels in loader:
        logits = model(images.to(device))
        loss = functional.cross_entropy(logits, labels.to(device))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        loss.item()
        yield


def our_steps(loop: Loop) -> Iterator[None]:
    """Ours: an epoch as `pe-inspect train` takes it; a GPU makes many batches of it at once."""
    for _ in loop.epoch(1):
        yield


def timed(steps: Iterator[None], count: int, device: torch.device, *, unseen: int = 0) -> float:
    """Images a second over `count` steps, after some `unseen` ones."""
    for _ in islice(steps, unseen):
        pass
    synchronise(device)
    started = time.perf_counter()
    for _ in islice(steps, count):
        pass
    synchronise(device)
    return count * BATCH / (time.perf_counter() - started)


def synchronise(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matrix_rate(device: torch.device) -> float:
    """Floating-point operations a second of a large bfloat16 matrix product: the best of ten."""
    side = SIDE[device.type]
    a, b = torch.randn(2, side, side, device=device, dtype=torch.bfloat16)
    times = [seconds(lambda: a @ b, device) for _ in range(10)]
    return 2 * side**3 / min(times)


def seconds(work: Callable[[], Any], device: torch.device) -> float:
    """Wall time of one call."""
    synchronise(device)
    started = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - started


def operations(device: torch.device) -> float:
    """Floating-point operations of an image, forward and backward: matrix products only."""
    model = VisionTransformer(MODEL).to(device)
    images = torch.rand(2, 3, 32, 32, device=device)
    with FlopCounterMode(display=False) as counter:
        model(images).sum().backward()
    return float(counter.get_total_flops()) / len(images)


def phases(loop: Loop, count: int) -> dict[str, float]:
    """Where a step's time goes, in shares; each part is waited for."""
    spent_on(loop, WARM)
    spent = spent_on(loop, count)
    return {name: took / sum(spent.values()) for name, took in spent.items()}


def spent_on(loop: Loop, count: int) -> dict[str, float]:
    """Seconds that each part of `count` steps took, from the beginning of an epoch."""
    spent = dict.fromkeys(("data", "forward", "backward", "optimizer"), 0.0)
    batches = loop.train_images.epoch(2)
    kept: dict[str, Any] = {}

    def fetch() -> None:
        kept["batch"] = next(batches)

    def forward() -> None:
        kept["loss"] = loop._loss(*kept["batch"])

    works = {
        "data": fetch,
        "forward": forward,
        "backward": lambda: kept["loss"].backward(),
        "optimizer": loop.optimizer.step,
    }
    for _ in range(count):
        loop.optimizer.zero_grad(set_to_none=True)
        for name, work in works.items():
            spent[name] += seconds(work, loop.device)
    return spent


def measure(device: torch.device, steps: int, rounds: int, workers: int) -> dict[str, Any]:
    """Take turns, so that a machine that slows down slows both."""
    dataset = noise()
    loop = Loop(RECIPE, dataset, device)
    plain, ours = [], []
    timed(our_steps(loop), WARM, device)
    for _ in range(rounds):
        usual = plain_steps(dataset, device, workers)
        plain.append(timed(usual, steps, device, unseen=WARM))  # its workers have started
        ours.append(timed(our_steps(loop), steps, device))  # all of its batches are made in here
    rate, work = matrix_rate(device), operations(device)
    return {
        "machine": describe_machine(device),
        "load": os.getloadavg()[0],
        "workers": workers,
        "precision": str(loop.dtype).removeprefix("torch."),
        "plain_images_per_second": plain,
        "our_images_per_second": ours,
        "ratio": statistics.median(a / b for a, b in zip(ours, plain)),
        "target": TARGETS[device.type],
        "bfloat16_matrix_rate": rate,
        "operations_per_image": work,
        "share_of_matrix_rate": statistics.median(ours) * work / rate,
        "phases": phases(loop, steps),
    }


def show(result: dict[str, Any]) -> None:
    """Print what was measured."""
    spread = partial(map, "{:,.0f}".format)
    print(f"{result['machine']}, {torch.get_num_threads()} threads, load {result['load']:.1f}")
    print(f"plain loop: {' '.join(spread(result['plain_images_per_second']))} images/s, float32")
    name = result["precision"]
    print(f"ours:       {' '.join(spread(result['our_images_per_second']))} images/s, {name}")
    print(f"ratio:      {result['ratio']:.2f}× (median of rounds; target {result['target']:g}×)")
    print(
        f"matrices:   {result['share_of_matrix_rate']:.1%} of "
        f"{result['bfloat16_matrix_rate'] / 1e9:,.0f} GFLOP/s in bfloat16, at "
        f"{result['operations_per_image'] / 1e6:,.0f} MFLOP an image"
    )
    parts = (f"{name} {share:.0%}" for name, share in result["phases"].items())
    print(f"a step:     {', '.join(parts)}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--steps", type=int, help="at most 150 (default: 30; 150 on a GPU)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=min(os.cpu_count() or 1, 8))
    parser.add_argument("--save-json", type=Path)
    given = parser.parse_args()
    device = find_device(given.device)
    steps = given.steps or STEPS[device.type]
    result = measure(device, steps, given.rounds, given.workers)
    show(result)
    if given.save_json:
        given.save_json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
