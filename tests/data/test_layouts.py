"""CIFAR, Fashion-MNIST and SVHN in torchvision's layouts, against torchvision's own readers."""

from __future__ import annotations

import gzip
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from torchvision import datasets as theirs

from pe_inspect.data import load
from pe_inspect.data.dataset import Dataset
from pe_inspect.data.datasets import fashion_mnist
from pe_inspect.errors import UsageError

RANDOM = np.random.default_rng(0)
Maker = Callable[[Path], None]


@pytest.fixture(autouse=True)
def any_content(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torchvision read files that are not the real ones; and let nobody reach the network."""
    for module in (theirs.cifar, theirs.svhn):
        monkeypatch.setattr(module, "check_integrity", lambda *_: True)

    def unreachable(*_: object, **__: object) -> None:
        raise TimeoutError("the network is away")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)


def noise(*shape: int) -> np.ndarray:
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def pickled(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=2))


def make_cifar100(root: Path) -> None:
    folder = root / "cifar-100-python"
    for name in ("train", "test"):
        labels = RANDOM.integers(0, 3, 5).tolist()
        pickled(
            folder / name,
            {"data": noise(5, 3072), "fine_labels": labels, "coarse_labels": [0] * 5},
        )
    pickled(folder / "meta", {"fine_label_names": list("abc"), "coarse_label_names": ["x"]})


def idx(values: np.ndarray) -> bytes:
    sizes = np.array(values.shape, dtype=">u4").tobytes()
    return bytes((0, 0, 8, values.ndim)) + sizes + values.tobytes()


def make_fashion(root: Path) -> None:
    folder = root / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    for part, count in (("train", 6), ("t10k", 3)):
        (folder / f"{part}-images-idx3-ubyte").write_bytes(idx(noise(count, 28, 28)))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(noise(count) % 10))


def make_svhn(root: Path) -> None:
    for part in ("train", "test"):
        labels = RANDOM.integers(1, 11, (4, 1)).astype(np.uint8)
        savemat(root / f"{part}_32x32.mat", {"X": noise(32, 32, 3, 4), "y": labels})


def message_of(name: str, root: Path) -> str:
    with pytest.raises(UsageError) as caught:
        load(name, root=root)
    return str(caught.value)


def compare(ours: Dataset, train: object, test: object) -> None:
    for split, original in ((ours.train, train), (ours.test, test)):
        assert len(split) == len(original)
        for i, (image, label) in enumerate(original):
            channels_first = np.atleast_3d(np.asarray(image)).transpose(2, 0, 1)
            np.testing.assert_array_equal(split.images[i], channels_first)
            assert split.labels[i] == label


def test_cifar10_is_read_as_torchvision_reads_it(tmp_path: Path, make_cifar10: Maker) -> None:
    make_cifar10(tmp_path)
    ours = load("cifar10", root=tmp_path)
    compare(ours, theirs.CIFAR10(tmp_path), theirs.CIFAR10(tmp_path, train=False))
    assert (ours.label, ours.classes) == ("CIFAR-10", tuple("abcdefghij"))


def test_cifar100_has_its_fine_classes(tmp_path: Path) -> None:
    make_cifar100(tmp_path)
    ours = load("cifar100", root=tmp_path)
    compare(ours, theirs.CIFAR100(tmp_path), theirs.CIFAR100(tmp_path, train=False))
    assert (ours.label, ours.classes) == ("CIFAR-100", ("a", "b", "c"))


def test_fashion_mnist_is_read_as_torchvision_reads_it(tmp_path: Path) -> None:
    make_fashion(tmp_path)
    ours = load("fashion-mnist", root=tmp_path)
    compare(ours, theirs.FashionMNIST(tmp_path), theirs.FashionMNIST(tmp_path, train=False))
    assert ours.classes == tuple(theirs.FashionMNIST(tmp_path).classes)


def test_the_files_of_fashion_mnist_may_be_gzipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_fashion(tmp_path)
    plain = load("fashion-mnist", root=tmp_path)
    for path in (tmp_path / "FashionMNIST" / "raw").iterdir():
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    monkeypatch.setattr(fashion_mnist, "fetch", lambda archive, folder, *_: folder / archive.name)
    packed = load("fashion-mnist", root=tmp_path)
    np.testing.assert_array_equal(plain.train.images, packed.train.images)


def test_svhn_is_read_as_torchvision_reads_it(tmp_path: Path) -> None:
    make_svhn(tmp_path)
    ours = load("svhn", root=tmp_path)
    compare(ours, theirs.SVHN(tmp_path), theirs.SVHN(tmp_path, split="test"))
    assert ours.classes == tuple("0123456789")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("cifar10", "the folder cifar-10-batches-py with data_batch_1, "),
        ("cifar100", "the folder cifar-100-python with train, … into"),
        ("fashion-mnist", "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, "),
        ("svhn", "train_32x32.mat and test_32x32.mat into"),
    ],
)
def test_what_is_not_there_is_explained(name: str, what: str, tmp_path: Path) -> None:
    message = message_of(name, tmp_path)
    assert "could not be downloaded (the network is away). Download it elsewhere and put" in message
    assert what in message
    assert str(tmp_path) in message


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "fashion-mnist", "svhn", "imagenet"])
def test_these_take_no_argument(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} takes nothing after a colon"):
        load(f"{name}:here")


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("evil",)


def test_a_pickle_that_would_run_something_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_cifar10: Maker
) -> None:
    monkeypatch.chdir(tmp_path)
    make_cifar10(tmp_path)
    pickled(tmp_path / "cifar-10-batches-py" / "test_batch", {"data": Evil(), "labels": []})
    message = message_of("cifar10", tmp_path)
    assert "test_batch cannot be read as a file of CIFAR (it names" in message
    assert "mkdir, which CIFAR does not need). Nothing in it was run" in message
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "is no file of CIFAR: it holds a list."),
        ({"labels": [1]}, "holds no images of CIFAR: data must be uint8 (N, 3072)."),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [1]}, "data of (2, 3072) and 1 labels"),
        ({"data": np.zeros((1, 3072), np.uint8), "labels": [12]}, "has class 12, and there are 10"),
    ],
)
def test_a_file_of_another_content_says_what_is_wrong(
    content: object, said: str, tmp_path: Path, make_cifar10: Maker
) -> None:
    make_cifar10(tmp_path)
    pickled(tmp_path / "cifar-10-batches-py" / "data_batch_3", content)
    assert said in message_of("cifar10", tmp_path)


def test_a_truncated_pickle_is_named(tmp_path: Path, make_cifar10: Maker) -> None:
    make_cifar10(tmp_path)
    path = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    path.write_bytes(path.read_bytes()[:99])
    assert f"{path} cannot be read as a file of CIFAR (" in message_of("cifar10", tmp_path)


@pytest.mark.parametrize("content", [b"", bytes(3), bytes(40), idx(noise(4, 28, 28))[:-1]])
def test_a_broken_idx_file_is_named(content: bytes, tmp_path: Path) -> None:
    make_fashion(tmp_path)
    path = tmp_path / "FashionMNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(content)
    assert f"{path} is no IDX file of 3 dimensions" in message_of("fashion-mnist", tmp_path)


def test_images_without_their_labels_are_noticed(tmp_path: Path) -> None:
    make_fashion(tmp_path)
    path = tmp_path / "FashionMNIST" / "raw" / "t10k-labels-idx1-ubyte"
    path.write_bytes(idx(noise(2)))
    assert "has 3 images and 2 labels of test." in message_of("fashion-mnist", tmp_path)


def test_a_gzip_file_that_is_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "x.gz"
    broken.write_bytes(b"no gzip")
    monkeypatch.setattr(fashion_mnist, "fetch", lambda *_: broken)
    assert f"{broken} cannot be read (" in message_of("fashion-mnist", tmp_path)


@pytest.mark.parametrize("content", [b"", b"no matlab at all" * 30])
def test_a_broken_matlab_file_is_named(content: bytes, tmp_path: Path) -> None:
    make_svhn(tmp_path)
    (tmp_path / "test_32x32.mat").write_bytes(content)
    assert "test_32x32.mat cannot be read as a MATLAB file (" in message_of("svhn", tmp_path)


def test_a_matlab_file_of_another_content_is_named(tmp_path: Path) -> None:
    make_svhn(tmp_path)
    savemat(tmp_path / "test_32x32.mat", {"X": noise(3, 3)})
    assert "is no file of SVHN: expected X (32, 32, 3, N)" in message_of("svhn", tmp_path)
