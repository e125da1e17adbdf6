"""Images read from the disk: the same interface and the same promises as the device's loader."""

from __future__ import annotations

import multiprocessing
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pe_inspect.data import FileSplit, load
from pe_inspect.data.augmentation import Augmentation
from pe_inspect.data.decoding import central, decoded, random_crop
from pe_inspect.data.loaders import make_loader
from pe_inspect.data.stream_loader import StreamLoader
from pe_inspect.errors import UsageError
from pe_inspect.training.recipe import POLICIES

SIZE = (6, 10)
COUNT = 12
PLAIN = {"mean": (0.0,) * 3, "std": (1 / 255,) * 3}


@pytest.fixture
def files(tmp_path: Path) -> FileSplit:
    """Noise of many sizes; the label is the image's number."""
    random = np.random.default_rng(0)
    paths = []
    for i in range(COUNT):
        pixels = random.integers(0, 256, (20 + i, 31 - i, 3), dtype=np.uint8)
        paths.append(tmp_path / f"{i:02d}.png")
        Image.fromarray(pixels).save(paths[-1])
    return FileSplit(paths, np.arange(COUNT), SIZE)


def loader(files: FileSplit, rank: int = 0, world: int = 1, **options: object) -> StreamLoader:
    augmentation = Augmentation(
        flip=True, policy="trivialaugment", mixup=0.5, cutmix=0.5, erasing=0.3
    )
    common = {**PLAIN, "batch_size": 4, "augmentation": augmentation, "seed": 5}
    settings = {name: options.pop(name, 0) for name in ("workers", "strict")}
    made = StreamLoader(files, rank=rank, world_size=world, **{**common, **options})
    made.workers, made.strict = settings["workers"], bool(settings["strict"])
    return made


def same(one: object, other: object) -> bool:
    return all(
        torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(one, other, strict=True)
    )


def test_an_epoch_is_full_batches_of_the_size_that_was_asked_for(files: FileSplit) -> None:
    batches = list(loader(files, augmentation=Augmentation()).epoch(1))
    assert [tuple(images.shape) for images, _ in batches] == [(4, 3, *SIZE)] * 3
    assert sorted(torch.cat([labels for _, labels in batches]).tolist()) == list(range(COUNT))


def test_an_epoch_can_be_replayed_and_go_on_at_any_batch(files: FileSplit) -> None:
    whole = list(loader(files).epoch(2))
    assert same(whole, loader(files).epoch(2))
    assert same(whole[2:], loader(files).epoch(2, start=2))
    assert not same(whole, loader(files).epoch(3))


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_meets_images_from_the_disk(files: FileSplit, policy: str) -> None:
    augmentation = Augmentation(policy=policy, color_jitter=0.3)
    batches = list(loader(files, augmentation=augmentation).epoch(1))
    assert [tuple(images.shape) for images, _ in batches] == [(4, 3, *SIZE)] * 3
    assert same(batches, loader(files, augmentation=augmentation).epoch(1))


def test_worker_processes_change_nothing(files: FileSplit) -> None:
    assert same(loader(files).epoch(1), loader(files, workers=2).epoch(1))


def test_the_parts_of_two_processes_are_the_batch_of_one(files: FileSplit) -> None:
    whole = list(loader(files).epoch(1))
    parts = zip(loader(files, 0, 2).epoch(1), loader(files, 1, 2).epoch(1))
    joined = [tuple(torch.cat(pair) for pair in zip(*shared)) for shared in parts]
    assert same(whole, joined)


def test_in_order_the_middle_of_every_image_comes_once(files: FileSplit) -> None:
    halves = [list(loader(files, rank, 2).in_order()) for rank in range(2)]
    images = torch.cat([images for half in halves for images, _ in half])
    labels = torch.cat([labels for half in halves for _, labels in half])
    assert labels.tolist() == list(range(COUNT))
    expected = np.asarray(central(decoded(files.files[7]), SIZE, 0.875)).transpose(2, 0, 1)
    np.testing.assert_allclose(images[7], expected, atol=1e-3)


def test_a_broken_image_is_replaced_in_training_and_named(files: FileSplit) -> None:
    files.files[3].write_bytes(b"no image")
    training = loader(files, augmentation=Augmentation())
    labels = torch.cat([labels for _, labels in training.epoch(1)]).tolist()
    assert sorted(labels) == sorted([*range(3), 4, *range(4, COUNT)])
    assert training.notes == [
        f"{files.files[3]} cannot be read as an image (its content is of no known kind); "
        "it was left out"
    ]


def test_a_broken_image_is_left_out_of_an_evaluation(files: FileSplit) -> None:
    for broken in files.files[:5]:
        broken.write_bytes(b"")
    testing = loader(files)
    labels = [labels.tolist() for _, labels in testing.in_order()]
    assert labels == [[5, 6, 7], [8, 9, 10, 11]]
    assert len(testing.notes) == 5


def test_a_strict_loader_stops(files: FileSplit) -> None:
    files.files[3].write_bytes(b"no image")
    with pytest.raises(UsageError, match=r"03\.png cannot be read .* Replace it or remove it\.$"):
        list(loader(files, strict=True).epoch(1))


@pytest.mark.parametrize("workers", [0, 2])
def test_where_no_image_can_be_read_training_stops(files: FileSplit, workers: int) -> None:
    for file in files.files:
        file.write_bytes(b"")
    with pytest.raises(UsageError) as caught:
        list(loader(files, workers=workers).epoch(1))
    assert re.fullmatch(
        r"32 images in a row cannot be read, the last .*\d\d\.png \(its content is of no known "
        r"kind\)\. Replace them or remove them\.",
        str(caught.value),
    )
    assert multiprocessing.active_children() == []


@pytest.mark.subprocess
def test_workers_outlive_the_signals_that_others_send_to_the_whole_group(files: FileSplit) -> None:
    expected = loader(files, workers=2).epoch(1)
    epoch = loader(files, workers=2).epoch(1)
    first = [next(epoch), next(epoch)]  # one of each
    workers = [str(worker.pid) for worker in multiprocessing.active_children()]
    assert len(workers) == 2
    for signal in ("-INT", "-TERM"):
        subprocess.run(["kill", signal, *workers], check=True)
    assert same([*first, *epoch], expected)


LEFT_HALF_READ = """
import sys
from pathlib import Path
import numpy as np
from pe_inspect.data import FileSplit
from pe_inspect.data.stream_loader import StreamLoader

files = FileSplit([Path(file) for file in sys.argv[1:]], np.arange(len(sys.argv) - 1), (6, 10))
loader = StreamLoader(files, mean=(0.0,) * 3, std=(1.0,) * 3, batch_size=2)
loader.workers = 2
epoch = loader.epoch(1)
print(len(next(epoch)[1]))
"""


@pytest.mark.subprocess
def test_workers_end_with_the_program_wherever_an_epoch_stands(files: FileSplit) -> None:
    words = [sys.executable, "-c", LEFT_HALF_READ, *map(str, files.files)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "2\n", "")


def test_the_images_of_a_split_on_the_disk_can_be_had_as_an_array(files: FileSplit) -> None:
    assert files.images.shape == (COUNT, 3, *SIZE)
    assert len(files) == COUNT


def test_the_middle_is_cut_from_an_image_that_covers_the_size() -> None:
    ramp = Image.fromarray(np.tile(np.arange(40, dtype=np.uint8), (20, 1)))  # 20 rows, 40 columns
    middle = np.asarray(central(ramp, (20, 20)))
    np.testing.assert_array_equal(middle[0], np.arange(10, 30))
    np.testing.assert_array_equal(np.asarray(central(ramp, (10, 10), 0.5))[0], np.arange(15, 25))


def test_a_random_crop_has_the_area_and_aspect_that_it_says() -> None:
    sizes = []

    class Spy:
        width, height = 300, 200

        def resize(self, size: object, method: object, box: tuple[int, ...]) -> tuple[int, ...]:
            sizes.append((box[3] - box[1], box[2] - box[0]))
            assert 0 <= box[0] < box[2] <= 300
            assert 0 <= box[1] < box[3] <= 200
            return box

    for seed in range(500):
        random_crop(Spy(), SIZE, 0.2, np.random.default_rng(seed))
    tall, wide = np.array(sizes).T
    area = tall * wide / (300 * 200)
    assert 0.19 < area.min() < 0.25
    assert 0.8 < area.max() < 0.89  # all of the height, and 4:3
    assert (wide / tall).min() > 0.74
    assert (wide / tall).max() < 1.35


def test_a_dataset_streams_where_it_is_asked_to(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            (tmp_path / split / name).mkdir(parents=True)
            Image.new("RGB", (9, 13)).save(tmp_path / split / name / "0.JPEG")
    pets = load(f"imagefolder:{tmp_path}", img_size=(4, 6), stream="on")
    assert isinstance(pets.train, FileSplit)
    assert (pets.img_size, pets.in_chans, pets.mean[0], pets.std[0]) == ((4, 6), 3, 0.485, 0.229)
    assert "2 training images are read from the disk as they are needed" in pets.notes[0]
    reader = make_loader(pets, "train", batch_size=2, augmentation=Augmentation(mixup=1.0))
    assert isinstance(reader, StreamLoader)
    assert reader.notes == list(pets.notes)
    assert reader.workers >= 1
    reader.workers = 0
    assert next(reader.epoch(1))[1].shape == (2, 2)
